"""The exact clustering: equal to every way tried one by one."""

import itertools

import numpy as np
import pytest

from neurokit.errors import InputError
from neurokit.walls.clustering import WAYS, _tables, cluster, objective


def every_way():
    """All groupings as numbers of groups of four, by recursion over the first free point; `[2627625, 4]`."""
    number = {four: at for at, four in enumerate(itertools.combinations(range(16), 4))}
    rows = []
    for a in itertools.combinations(range(1, 16), 3):
        rest = [point for point in range(16) if point not in (0, *a)]
        first = number[(0, *a)]
        for b in itertools.combinations(range(1, 12), 3):
            two = (rest[0], *(rest[i] for i in b))
            eight = [point for point in rest if point not in two]
            pairs = _splits(eight, number)
            rows.append((first, number[two], pairs))
    heads = np.array([(a, b) for a, b, _ in rows], np.int16).repeat(35, 0)
    return np.concatenate([heads, np.concatenate([pairs for _, _, pairs in rows])], 1)


_SPLITS = [
    ((0, *some), tuple(i for i in range(1, 8) if i not in some)) for some in itertools.combinations(range(1, 8), 3)
]


def _splits(eight, number, known={}):  # noqa: B006 - kept between calls: 12,870 eights, 75,075 askers
    key = tuple(eight)
    if key not in known:
        known[key] = np.array(
            [(number[tuple(eight[i] for i in a)], number[tuple(eight[i] for i in b)]) for a, b in _SPLITS], np.int16
        )
    return known[key]


@pytest.mark.slow
def test_it_is_the_best_of_all_ways_on_20_walls():
    ways = every_way()
    assert len(ways) == WAYS
    fours = np.array(list(itertools.combinations(range(16), 4)))
    for seed in range(20):
        draw = np.random.default_rng(seed)
        points = draw.normal(size=(16, 3 + seed))
        centre = points[fours].mean(1, keepdims=True)
        cost = ((points[fours] - centre) ** 2).sum((1, 2))
        total = cost[ways].sum(1)
        found = cluster(points)
        best = ways[total.argmin()]
        assert found.objective == pytest.approx(total.min(), rel=1e-12)
        assert {tuple(fours[at]) for at in best} == set(found.groups)


def test_the_tables_hold_every_way_three_times():
    tables = _tables()
    assert tables.first.shape == (12870, 35)
    assert len(tables.left) * 35 * 35 == 3 * WAYS  # four groups are two pairs in three ways
    eights = (1 << np.array(list(itertools.combinations(range(16), 8)))).sum(1)
    assert (eights[tables.left] + eights[tables.right] == 2**16 - 1).all()


def test_the_objective_is_the_sum_of_squares_to_the_means_and_planted_groups_are_it():
    draw = np.random.default_rng(3)
    places = draw.permutation(16)
    points = draw.normal(size=(16, 5)) * 0.01
    points[places] += np.eye(5)[:4].repeat(4, 0) * 9
    found = cluster(points)
    assert set(found.groups) == {tuple(sorted(places[at : at + 4].tolist())) for at in range(0, 16, 4)}
    wanted = sum(((points[list(g)] - points[list(g)].mean(0)) ** 2).sum() for g in found.groups)
    assert found.objective == pytest.approx(wanted, rel=1e-12)
    squared = ((points[:, None] - points) ** 2).sum(-1)
    assert objective(squared, found.groups) == found.objective


def test_equal_points_and_bad_ones():
    assert cluster(np.ones((16, 2))).objective == 0.0
    for bad, said in ((np.ones((15, 2)), r"\[15, 2\]"), (np.ones(16), r"\[16\]"), (np.full((16, 2), np.nan), "finite")):
        with pytest.raises(InputError, match=said):
            cluster(bad)


def test_no_swap_of_two_points_is_better():
    for seed in range(5):
        points = np.random.default_rng(seed).normal(size=(16, 6))
        squared = ((points[:, None] - points) ** 2).sum(-1)
        found = cluster(points)
        for a, b in itertools.combinations(range(16), 2):
            turned = [[{a: b, b: a}.get(point, point) for point in group] for group in found.groups]
            assert objective(squared, turned) >= found.objective - 1e-12

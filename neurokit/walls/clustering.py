"""Sixteen points in four groups of four: the best of all 2,627,625 ways."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from neurokit.errors import InputError

POINTS, SIZE, HALF = 16, 4, 8
WAYS = 2_627_625  # 16! / (4!^4 4!)


@dataclass(frozen=True)
class Clustering:
    """Four groups of four points.

    Attributes:
        groups: Numbers of the points of each group, rising; groups by their first points.
        objective: Sum of squared distances of points to the means of their groups.
    """

    groups: tuple[tuple[int, ...], ...]
    objective: float


def cluster(vectors: np.ndarray) -> Clustering:
    """Returns the grouping of smallest within-group sum of squares, the objective of balanced k-means.

    The sum of squares of a group of four is a quarter of the sum of its six squared distances, so a grouping is a sum
    over groups: the best two groups of every eight points are found first (12,870 x 35 sums), then the best two eights
    (6,435 sums). Every way is looked at, so nothing is approximated; of equal ones the first counts.

    Args:
        vectors: One row a point, `[16, F]`.

    Raises:
        InputError: If the shape is another, or a number is not finite.
    """
    vectors = np.asarray(vectors, np.float64)
    if vectors.ndim != 2 or vectors.shape[0] != POINTS or vectors.shape[1] < 1:
        raise InputError(f"points are {list(vectors.shape)}", expected=f"[{POINTS}, F]")
    if not np.isfinite(vectors).all():
        raise InputError("a point has a number that is not finite", expected="finite numbers")
    apart = vectors[:, None] - vectors
    return cluster_distances((apart * apart).sum(-1))


def cluster_distances(squared: np.ndarray) -> Clustering:
    """Returns the grouping of smallest within-group sum of squares by squared distances `[16, 16]`."""
    tables = _tables()
    costs = squared[tables.four[:, :, None], tables.four[:, None, :]].sum((1, 2)) / (2 * SIZE)
    split = costs[tables.first] + costs[tables.second]  # [12870, 35]
    best = split.min(1)
    half = int((best[tables.left] + best[tables.right]).argmin())
    groups = []
    for eight in (tables.left[half], tables.right[half]):
        at = int(split[eight].argmin())
        groups += [tables.four[tables.first[eight, at]], tables.four[tables.second[eight, at]]]
    ordered = tuple(sorted(tuple(int(point) for point in group) for group in groups))
    return Clustering(ordered, objective(squared, ordered))


def objective(squared: np.ndarray, groups: Sequence[Sequence[int]]) -> float:
    """Returns the within-group sum of squares of a grouping, by squared distances."""
    return float(sum(squared[np.ix_(list(group), list(group))].sum() / (2 * len(group)) for group in groups))


@dataclass(frozen=True)
class _Tables:
    """All groups of four, `[1820, 4]`; of every eight points the ways to split them; pairs of eights."""

    four: np.ndarray
    first: np.ndarray
    second: np.ndarray
    left: np.ndarray
    right: np.ndarray


@functools.cache
def _tables() -> _Tables:
    four = np.array(list(itertools.combinations(range(POINTS), SIZE)))
    eight = np.array(list(itertools.combinations(range(POINTS), HALF)))
    number_of_four = np.zeros(1 << POINTS, np.int16)
    number_of_four[(1 << four).sum(1)] = np.arange(len(four))
    number_of_eight = np.zeros(1 << POINTS, np.int16)
    bits = (1 << eight).sum(1)
    number_of_eight[bits] = np.arange(len(eight))
    # The half with the first of the eight points stands for both.
    halves = np.array([(0, *rest) for rest in itertools.combinations(range(1, HALF), SIZE - 1)])
    first = (1 << eight[:, halves]).sum(-1)
    left = np.flatnonzero(bits & 1)
    right = number_of_eight[(1 << POINTS) - 1 - bits[left]]
    return _Tables(four, number_of_four[first], number_of_four[bits[:, None] - first], left, right)

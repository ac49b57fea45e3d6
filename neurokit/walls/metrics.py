"""How right predicted groups are: the metrics of the OCW data set, and the Wasserstein distance freed of the order."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurokit.errors import InputError
from neurokit.tasks.libraries import sklearn_metrics
from neurokit.walls.files import GROUPS, SIZE, Groups, Prediction, Wall, check_groups, check_words, same


@dataclass(frozen=True)
class WallScore:
    """How right one prediction is.

    Attributes:
        wall: Name of the wall.
        wasserstein: As published, 0 to 1: wrong groups are paired by position, so it depends on their order.
        wasserstein_matched: The smallest of it over all orders of the predicted groups and all numberings of the right
            ones; an own addition, not to be compared with published figures.
        ami: Adjusted mutual information.
        ari: Adjusted Rand index.
        fms: Fowlkes-Mallows score.
        correct_groups: Groups that are right, 0 to 4.
        solved: Whether all four are.
    """

    wall: str
    wasserstein: float
    wasserstein_matched: float
    ami: float
    ari: float
    fms: float
    correct_groups: int
    solved: bool


@dataclass(frozen=True)
class Score:
    """How right the predictions of many walls are: means, and counts.

    Attributes:
        walls: Number of walls.
        wasserstein: Mean, as published.
        wasserstein_matched: Mean of the best-matched form.
        ami: Mean adjusted mutual information.
        ari: Mean adjusted Rand index.
        fms: Mean Fowlkes-Mallows score.
        correct_groups: Right groups of all walls.
        solved: Walls whose groups are all right.
    """

    walls: int
    wasserstein: float
    wasserstein_matched: float
    ami: float
    ari: float
    fms: float
    correct_groups: int
    solved: int

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return asdict(self)


def score_wall(wall: Wall, groups: Groups) -> WallScore:
    """Scores predicted groups as the OCW data set does (task 1, grouping).

    Words are compared without case. The labels 0 to 3 are the right groups, a word that is not on the wall is a label
    of its own.

    Args:
        wall: The wall, with its right groups.
        groups: The predicted ones, four of four.

    Raises:
        InputError: If the wall has no right groups, or the prediction is not four groups of four words.
        MissingRuntimeError: If scikit-learn is not installed.
    """
    if not wall.groups:
        raise InputError(f"wall {wall.name!r} has no right groups", expected="groups with gt_words")
    where = f"the prediction of wall {wall.name!r}"
    check_groups(groups, where)
    check_words([word for group in groups for word in group], where)
    labels = _labels(wall, groups)
    metrics = sklearn_metrics("walls")
    truth, number = [label for group in labels for label in group], np.repeat(np.arange(GROUPS), SIZE)
    right = sum(len(set(group)) == 1 and group[0] < GROUPS for group in labels)
    return WallScore(
        wall.name,
        _wasserstein(labels, range(GROUPS)),
        _matched(labels),
        float(metrics.adjusted_mutual_info_score(truth, number)),
        float(metrics.adjusted_rand_score(truth, number)),
        float(metrics.fowlkes_mallows_score(truth, number)),
        right,
        right == GROUPS,
    )


def score_walls(walls: Sequence[Wall], predictions: Sequence[Prediction]) -> tuple[Score, list[WallScore]]:
    """Scores the predictions of walls; each wall has one, in any order.

    Raises:
        InputError: If a wall has none, or a prediction no wall.
    """
    by_name = {one.name: one.groups for one in predictions}
    lacking = [wall.name for wall in walls if wall.name not in by_name]
    strange = sorted(set(by_name) - {wall.name for wall in walls})
    if lacking or strange or not walls:
        what = f"wall {lacking[0]!r} has no prediction" if lacking else f"a prediction is of wall {strange[:1]}"
        raise InputError(what, expected="one prediction for each wall")
    rows = [score_wall(wall, by_name[wall.name]) for wall in walls]
    names = ("wasserstein", "wasserstein_matched", "ami", "ari", "fms")
    means = {name: float(np.mean([getattr(row, name) for row in rows])) for name in names}
    correct, solved = sum(row.correct_groups for row in rows), sum(row.solved for row in rows)
    return Score(len(rows), **means, correct_groups=correct, solved=solved), rows


def _labels(wall: Wall, groups: Groups) -> list[list[int]]:
    known = {same(word): at for at, group in enumerate(wall.groups) for word in group}
    for group in groups:
        for word in sorted(map(same, group)):
            known.setdefault(word, max(GROUPS, 1 + max(known.values())))
    return [[known[word] for word in sorted(map(same, group))] for group in groups]


def _wasserstein(labels: Sequence[Sequence[int]], numbers: Sequence[int]) -> float:
    """Wrong groups are paired with the right ones that are left, by position; a distance counts at most 1."""
    named = [[numbers[label] if label < GROUPS else label for label in group] for group in labels]
    whole = [[at] * SIZE for at in range(GROUPS)]
    wrong = [group for group in named if group not in whole]
    left = [group for group in whole if group not in named]
    return sum(min(_distance(a, b), 1.0) for a, b in zip(wrong, left, strict=True)) / GROUPS


def _matched(labels: Sequence[Sequence[int]]) -> float:
    """Equal pairs need not be taken out first: by the triangle inequality a best pairing has them."""
    orders = np.array(list(itertools.permutations(range(GROUPS))))
    invented = np.tile(np.arange(GROUPS, GROUPS * (SIZE + 1)), (len(orders), 1))
    named = np.concatenate([orders, invented], 1)[:, np.array(labels)]  # [numberings, groups, words]
    costs = np.abs(named[:, :, None] - np.arange(GROUPS)[:, None]).mean(-1).clip(max=1.0)  # [numberings, groups, right]
    return float(costs[:, np.arange(GROUPS), orders].sum(-1).min() / GROUPS)


def _distance(a: Sequence[int], b: Sequence[int]) -> float:
    """Returns the Wasserstein distance of two lists of equally many labels."""
    return float(np.abs(np.sort(a) - np.sort(b)).mean())

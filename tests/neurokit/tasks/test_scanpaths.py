"""Scanpaths against plain dynamic programming, scikit-learn and paths worked out by hand."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurokit.errors import InputError
from neurokit.tasks import TASKS
from neurokit.tasks import scanpath_scores as scores

TASK = TASKS.get("scanpaths")
strings = st.lists(st.integers(0, 3), min_size=1, max_size=7)


def _best(a, b, worth):
    """The best alignment by trying every one."""

    @cache
    def best(i, j):
        if i == len(a) or j == len(b):
            return 0.0
        return max(best(i + 1, j), best(i, j + 1), worth(a[i], b[j]) + best(i + 1, j + 1))

    return best(0, 0)


@given(strings, strings)
def test_sequence_score_and_scanmatch_by_trying_every_alignment(a, b):
    left, right = (np.array([[c, 2 * c] for c in s]) for s in (a, b))
    longer = max(len(a), len(b))
    assert scores.sequence_score(left, right) == pytest.approx(_best(a, b, lambda p, q: float(p == q)) / longer)

    def worth(p, q):
        return 3.5 - abs(p - q) * 5**0.5

    assert scores.scanmatch(left, right) == pytest.approx(_best(a, b, worth) / (3.5 * longer))
    assert scores.scanmatch(left, left) == pytest.approx(1.0)


def test_durations_repeat_cells():
    places = np.array([[0, 0], [3, 1]])
    assert scores.over_time(places, np.array([0.21, 0.05]), 0.1).tolist() == [[0, 0], [0, 0]]
    assert scores.over_time(places, np.array([0.1, 0.3]), 0.1)[:, 0].tolist() == [0, 3, 3, 3]


def test_area_under_the_curve_against_scikit_learn():
    from sklearn.metrics import roc_auc_score

    rng = np.random.default_rng(0)
    values = np.round(rng.random((12, 20)), 2)  # with ties
    fixated = np.stack([rng.integers(0, 20, 15), rng.integers(0, 12, 15)], axis=1)
    there = np.zeros((12, 20), bool)
    there[fixated[:, 1], fixated[:, 0]] = True
    found = scores.area_under_curve(values, fixated)
    assert found == pytest.approx(roc_auc_score(there.ravel(), values.ravel()))
    with pytest.raises(InputError, match="every cell"):
        scores.area_under_curve(np.zeros((1, 1)), np.zeros((1, 2), int))


def test_normalised_saliency_by_hand():
    values = np.zeros((2, 4))
    values[0, 1] = 8.0  # mean 1, deviation sqrt(7)
    assert scores.normalised_saliency(values, np.array([[1, 0], [2, 1]])) == pytest.approx((7 - 1) / 2 / 7**0.5)
    assert scores.normalised_saliency(np.ones((2, 2)), np.array([[0, 0]])) == 0.0
    path = np.array([[0.25, 0.5, 0.2]])
    peak = scores.fixation_map(path, (1.0, 1.0), (4, 2), 0.1)
    wanted = [
        [np.exp(-((x - 0.25) ** 2 + (y - 0.5) ** 2) / 0.02) for x in (0.125, 0.375, 0.625, 0.875)] for y in (0.25, 0.75)
    ]
    np.testing.assert_allclose(peak, wanted)


def test_a_path_ends_where_the_model_says_so():
    places = [[10.0, 20.0], [30.0, 40.0]]
    logits = np.array([[[2, 1, 0], [0, 3, 1], [0, 0, 5], [9, 0, 0]]], float)
    path = TASK.predict({"y": logits}, {"places": places})
    assert path[0, :2].tolist() == [[10.0, 20.0, 0.0], [30.0, 40.0, 0.0]]
    assert (path[0, 2:, 2] == -1).all()
    assert len(TASK.answer(path[0], {})["fixations"]) == 2
    free = TASK.predict({"xy": np.ones((1, 3, 2)), "stop": np.array([[-1.0, 2.0, -3.0]])}, {"end": "stop"})
    assert free[0, :, 2].tolist() == [0.0, -1.0, -1.0]
    with pytest.raises(InputError, match="no output 'end'"):
        TASK.predict({"xy": np.ones((1, 3, 2))}, {"end": "end"})
    with pytest.raises(InputError, match="for places"):
        TASK.predict({"y": logits[..., :2]}, {"places": places})


def test_the_right_path_scores_best_and_observers_are_averaged():
    right = np.array([[0.1, 0.1, 0.2], [0.5, 0.6, 0.3], [0.9, 0.2, 0.1]])
    back = right[::-1]
    found = TASK.score(right[None], right[None], {})
    assert found["scanmatch"].value == found["sequence_score"].value == pytest.approx(1.0)
    assert found["nss"].value > 3
    assert found["auc"].value > 0.99
    both = TASK.score(right[None], np.stack([right, back])[None], {})
    alone = TASK.score(right[None], back[None], {})
    assert alone["sequence_score"].value == pytest.approx(1 / 3)
    assert both["sequence_score"].value == pytest.approx((1 + 1 / 3) / 2)
    silent = np.full((1, 3, 3), -1.0)
    nothing = {name: value.value for name, value in TASK.score(silent, right[None], {}).items()}
    assert nothing == {"scanmatch": 0.0, "sequence_score": 0.0, "nss": 0.0, "auc": 0.5}
    with pytest.raises(InputError, match="holds no fixation"):
        TASK.score(right[None], silent, {})

"""What scores choose, and how often two of them choose the same."""

import numpy as np
import pytest

from neurokit.tasks.choice import agreement_of


def test_maps_are_compared_place_by_place():
    scores = np.zeros((2, 3, 4, 5), np.float32)
    scores[:, 1] = 1
    other = scores.copy()
    other[0, 2, 0, :3] = 2  # three of forty places choose the third class
    assert agreement_of(other, scores) == pytest.approx(37 / 40)
    # Along the width, which the last axis is, no place chooses anything.
    assert agreement_of(other[0, 1], scores[0, 1]) == 1.0


def test_samples_are_compared_by_their_classes():
    rows = np.array([[0.1, 0.9], [0.8, 0.2]])
    assert agreement_of(rows, rows[:, ::-1]) == 0.0
    assert agreement_of(np.stack([rows, rows]), np.stack([rows, rows[::-1]])) == 0.5


@pytest.mark.parametrize("shape", [(4,), (4, 1), (4, 1, 3, 3), (2, 3, 4, 5, 6)])
def test_outputs_without_classes_have_none(shape):
    assert agreement_of(np.ones(shape), np.ones(shape)) is None


def test_outputs_of_other_shapes_have_none():
    assert agreement_of(np.ones((4, 3)), np.ones((4, 2))) is None

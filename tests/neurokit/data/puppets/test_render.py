"""The synthetic puppets: what is drawn, how sets differ, and that they are no gift to a linear model."""

import numpy as np
import pytest

from neurokit.data.puppets import CLASSES, PuppetShapes, render
from neurokit.data.puppets.pen import Pen
from neurokit.data.puppets.scene import banded, rasterise
from neurokit.errors import InputError


@pytest.fixture(scope="module")
def train():
    return render("train", 60, 32)


@pytest.fixture(scope="module")
def test():
    return render("test", 20, 32)


def test_arguments_give_the_same_pictures_and_seed_split_and_strokes_others():
    base = render("train", 3, 32, seed=4)[0]
    assert np.array_equal(base, render("train", 3, 32, seed=4)[0])
    for other in (render("train", 3, 32, seed=5), render("test", 3, 32, seed=4)):
        assert not any((base == picture).all((1, 2)).any() for picture in other[0])
    assert not np.array_equal(base, render("train", 3, 32, seed=4, strokes="cutouts")[0])


def test_the_dataset_holds_every_class_and_says_that_it_is_synthetic():
    shapes = PuppetShapes("test", per_class=2, size=48, seed=1)
    assert len(shapes) == 30
    assert shapes.images.shape == (30, 1, 48, 48)
    assert [shapes[at][1] for at in range(30)] == [label for label in range(15) for _ in range(2)]
    assert tuple(sorted(CLASSES)) == CLASSES  # folders come in alphabetical order
    assert len(set(CLASSES)) == 15
    assert "synthetic" in shapes.name
    assert "synthetic" in shapes.labelled().name


def test_turns_and_sizes_of_the_two_sets_touch_nowhere():
    rng = np.random.default_rng(0)
    odd, even = (banded(rng, 4000, -36, 36, odd) for odd in (True, False))
    edges = np.linspace(-36, 36, 7)
    assert set(np.digitize(odd, edges)) == {2, 4, 6}
    assert set(np.digitize(even, edges)) == {1, 3, 5}


def test_every_picture_shows_a_shadow_and_a_wall(train):
    dark = (train[0] <= 90).mean((1, 2))
    assert (dark > 0.02).all()
    assert np.median(dark) < 0.5


def _least_squares(x, y, x_test):
    """A linear model on pixels: ridge regression to one-hot classes, in float64."""
    design, held = (np.concatenate([v.reshape(len(v), -1), np.ones((len(v), 1))], 1) for v in (x, x_test))
    right = design.T @ np.eye(15)[y]
    best = [held @ np.linalg.solve(design.T @ design + ridge * np.eye(design.shape[1]), right) for ridge in (30, 300)]
    return [scores.argmax(1) for scores in best]


def test_a_linear_model_of_the_pixels_does_better_than_chance_and_worse_than_60_percent(train, test):
    x, x_test = ((images > 90).astype(np.float64) for images in (train[0], test[0]))
    right = [(chosen == test[1]).mean() for chosen in _least_squares(x, train[1], x_test)]
    assert 0.2 < max(right) < 0.6


def test_a_stroke_has_the_area_of_its_capsule():
    pen = Pen(np.random.default_rng(0), 2, wobble=0.0)
    pen.stroke([(0.2, 0.3), (0.7, 0.3)], [0.1, 0.1])
    filled = rasterise([pen.outlines[0][0]], [True], 200)
    expected = 2 * 0.1 * 0.5 + np.pi * 0.1**2
    assert filled.mean((1, 2)) == pytest.approx(expected, rel=0.03)


def test_a_polygon_is_filled_where_the_crossing_rule_says_so():
    corners = np.array([[0.1, 0.1], [0.9, 0.2], [0.6, 0.5], [0.8, 0.9], [0.2, 0.8]])
    filled = rasterise([corners[None]], [True], 64)[0] > 0.5
    centre = (np.arange(64) + 0.5) / 64
    x, y = np.meshgrid(centre, centre)
    inside = np.zeros_like(x, dtype=bool)
    for (x0, y0), (x1, y1) in zip(corners, np.roll(corners, -1, 0), strict=True):
        inside ^= ((y0 > y) != (y1 > y)) & (x < (x1 - x0) * (y - y0) / (y1 - y0) + x0)
    assert (filled != inside).mean() < 0.02  # pixels on the edge


def test_a_hole_takes_shadow_away():
    pen = Pen(np.random.default_rng(0), 1, wobble=0.0)
    pen.blob((0.5, 0.5), 0.3, 0.3)
    pen.blob((0.5, 0.5), 0.1, 0.1, shadow=False)
    filled = rasterise([outline for outline, _ in pen.outlines], [dark for _, dark in pen.outlines], 64)[0]
    assert filled[32, 32] == 0
    assert filled[32, 16] == 1


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split": "val"}, "split is 'val'"),
        ({"strokes": "crayon"}, "strokes is 'crayon'"),
        ({"per_class": 0}, "per_class is 0"),
        ({"size": 8}, "size is 8"),
        ({"size": 64.0}, "size is 64.0"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": True}, "seed is True"),
    ],
)
def test_what_cannot_be_drawn_is_named(given, said):
    with pytest.raises(InputError, match=said):
        render(**given)

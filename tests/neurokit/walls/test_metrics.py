"""Metrics of walls: the released code's numbers in both orders, and what must not depend on the order."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.errors import InputError
from neurokit.walls.files import Prediction, Wall, predictions_json, read_predictions, read_walls
from neurokit.walls.metrics import score_wall, score_walls

ORACLE = json.loads((Path(__file__).parents[2] / "data" / "attention_tools" / "ocw.json").read_text())
ORDERS = {"outputs": (0, 1, 2, 3), "outputs_with_predicted_groups_in_order_3_1_0_2": (3, 1, 0, 2)}
FIELDS = {
    "WD": "wasserstein",
    "AMI": "ami",
    "ARI": "ari",
    "FMS": "fms",
    "correct_groups": "correct_groups",
    "full_wall": "solved",
}


def walls():
    return [
        Wall(w["wall_id"], tuple(x for g in w["ground_truth"] for x in g), tuple(map(tuple, w["ground_truth"])))
        for w in ORACLE["walls"]
    ]


def predictions(order):
    return [Prediction(w["wall_id"], tuple(tuple(w["predicted"][at]) for at in order)) for w in ORACLE["walls"]]


@pytest.mark.parametrize("key", ORDERS)
def test_all_metrics_of_all_walls_are_the_released_codes(key):
    total, rows = score_walls(walls(), predictions(ORDERS[key]))
    for row, wanted in zip(rows, ORACLE[key]["granular"], strict=True):
        for name, ours in FIELDS.items():
            assert getattr(row, ours) == pytest.approx(wanted[name], abs=1e-9), (row.wall, name)
    for name, ours in FIELDS.items():
        assert getattr(total, ours) == pytest.approx(ORACLE[key]["global"][name], abs=1e-9)


def test_the_matched_form_depends_on_no_order_and_is_at_most_the_published_one():
    one = score_walls(walls(), predictions((0, 1, 2, 3)))[1]
    other = score_walls(walls(), predictions((3, 1, 0, 2)))[1]
    assert [row.wasserstein_matched for row in one] == [row.wasserstein_matched for row in other]
    assert all(row.wasserstein_matched <= row.wasserstein for row in [*one, *other])
    assert [row.wasserstein_matched for row in one[:3]] == [0.0, 0.125, 0.375]
    assert any(row.wasserstein_matched < row.wasserstein for row in other)


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(16)), st.permutations(range(4)), st.permutations(range(4)))
def test_the_metrics_do_not_look_at_case_or_order(places, groups, numbers):
    words = [f"w{at}" for at in range(16)]
    truth = tuple(tuple(words[4 * at : 4 * at + 4]) for at in range(4))
    guess = tuple(tuple(words[place] for place in places[4 * at : 4 * at + 4]) for at in range(4))
    plain = score_wall(Wall("a", tuple(words), truth), guess)
    turned = score_wall(
        Wall("a", tuple(words), tuple(truth[at] for at in numbers)),
        tuple(tuple(word.upper() for word in reversed(guess[at])) for at in groups),
    )
    for name in ("wasserstein_matched", "ami", "ari", "fms", "correct_groups", "solved"):
        assert getattr(plain, name) == pytest.approx(getattr(turned, name), abs=1e-12)


def published(words, groups=None):
    groups = groups or [words[at : at + 4] for at in range(0, 16, 4)]
    table = {
        f"group_{at + 1}": {
            "group_id": f"x_{at}",
            "gt_words": group,
            "gt_connection": f"c{at}",
            "human_performance": {"grouping": at % 2, "connection": 0},
        }
        for at, group in enumerate(groups)
    }
    return {"wall_id": "46fa44", "season": 1, "episode": 1, "words": words, "gt_connections": [], "groups": table}


def test_the_published_form_is_read(tmp_path):
    words = [f"Word {at}" for at in range(16)]
    file = tmp_path / "train.json"
    file.write_text(json.dumps({"season_to_walls_map": {"1": 30}, "dataset": [published(words)]}))
    (wall,) = read_walls(file)
    assert (wall.name, wall.words, wall.groups[3]) == ("46fa44", tuple(words), tuple(words[12:]))
    assert (wall.connections, wall.solved_by_people) == (("c0", "c1", "c2", "c3"), (False, True, False, True))
    guess = [Prediction("46fa44", wall.groups[::-1])]
    (tmp_path / "p.json").write_text(predictions_json(guess))
    assert read_predictions(tmp_path / "p.json") == guess


WORDS = [f"w{at}" for at in range(16)]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ({"dataset": [published(WORDS[:15])]}, "15 words"),
        ({"dataset": [published([*WORDS[:15], "W0"])]}, "'W0' twice"),
        ({"dataset": [published([*WORDS[:15], " "])]}, "empty word"),
        ({"dataset": [published(WORDS, [WORDS[:5], WORDS[5:8], WORDS[8:12], WORDS[12:]])]}, r"groups of \[5, 3"),
        ({"dataset": [published(WORDS, [["x", *WORDS[1:4]], *[WORDS[a : a + 4] for a in (4, 8, 12)]])]}, "other words"),
        ({"dataset": [published(WORDS), published(WORDS)]}, "'46fa44' twice"),
        ({"dataset": []}, "no wall"),
        ({"walls": []}, "dataset: Field required"),
        ({"dataset": [{"wall_id": "a", "words": [1] * 16}]}, "words"),
        ("text", "valid dictionary"),
    ],
)
def test_what_is_no_wall_is_refused_in_a_line(tmp_path, data, said):
    (tmp_path / "w.json").write_text(json.dumps(data))
    with pytest.raises(InputError, match=said):
        read_walls(tmp_path / "w.json")


def test_predictions_that_fit_no_wall(tmp_path):
    wall = Wall("a", tuple(WORDS), tuple(tuple(WORDS[at : at + 4]) for at in range(0, 16, 4)))
    with pytest.raises(InputError, match="'a' has no prediction"):
        score_walls([wall], [])
    with pytest.raises(InputError, match="'b'"):
        score_walls([wall], [Prediction("a", wall.groups), Prediction("b", wall.groups)])
    with pytest.raises(InputError, match=r"groups of \[4, 4, 4\]"):
        score_wall(wall, wall.groups[:3])
    with pytest.raises(InputError, match="'w0' twice"):
        score_wall(wall, (wall.groups[0], *wall.groups[:3]))
    with pytest.raises(InputError, match="no right groups"):
        score_wall(Wall("a", tuple(WORDS)), wall.groups)
    (tmp_path / "p.json").write_text("[{")
    with pytest.raises(InputError, match="no JSON"):
        read_predictions(tmp_path / "p.json")
    assert np.isfinite(score_wall(wall, wall.groups).ami)

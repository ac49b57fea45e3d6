"""Names of connections: ROUGE-1 as torchmetrics has it, exact match without case, and what is refused."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.cli import main
from neurokit.errors import InputError
from neurokit.walls.files import Prediction, Wall
from neurokit.walls.naming import name_walls, rouge_1

NAMES = ("Famous Johns", "Trees", "___ of the Rings", "Types of cheese")


def wall(name="w", connections=NAMES):
    groups = tuple(tuple(f"{group}{at}" for at in range(4)) for group in "abcd")
    return Wall(name, tuple(word for group in groups for word in group), groups, connections)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(*[st.lists(st.sampled_from(["The", "the", "ring", "Rings!", "of", "2nd", "-", "été"]), min_size=1)] * 2)
def test_rouge_is_that_of_another_library(predicted, right):
    text = pytest.importorskip("torchmetrics.functional.text.rouge")
    a, b = " ".join(predicted), " ".join(right)
    wanted = text.rouge_score(a, b, rouge_keys="rouge1", use_stemmer=False)["rouge1_fmeasure"]
    assert rouge_1(a, b) == pytest.approx(float(wanted), abs=1e-6)


def test_scores_are_means_of_walls():
    one = Prediction("w", connections=(" famous johns", "plants", "of the rings", "cheese types"))
    other = Prediction("v", connections=NAMES)
    total, rows = name_walls([wall(), wall("v")], [other, one])
    assert rows[0].exact_match == (True, False, False, False)
    assert rows[0].rouge1 == pytest.approx((1.0, 0.0, 1.0, 0.8))
    assert rows[1].exact_match == (True,) * 4
    assert total.exact_match == pytest.approx((0.25 + 1) / 2)
    assert total.rouge1 == pytest.approx((0.7 + 1) / 2)


def test_what_does_not_fit_is_one_line():
    for walls, found, said in (
        ([wall()], [Prediction("w", connections=NAMES[:3])], "has 3 connections"),
        ([wall()], [Prediction("w")], "no predicted connections"),
        ([wall()], [Prediction("w", connections=NAMES), Prediction("x", connections=NAMES)], "wall \\['x'\\]"),
        ([wall(connections=())], [Prediction("w", connections=NAMES)], "has no connections"),
    ):
        with pytest.raises(InputError, match=said):
            name_walls(walls, found)


def test_the_command_scores_names_alone_or_beside_groups(tmp_path, capsys):
    one = wall()
    groups = {
        f"group_{at}": {"gt_words": list(words), "gt_connection": name}
        for at, (words, name) in enumerate(zip(one.groups, NAMES, strict=True))
    }
    (tmp_path / "walls.json").write_text(json.dumps([{"wall_id": "w", "words": one.words, "groups": groups}]))
    predictions = {"wall_id": "w", "predicted_connections": [name.upper() for name in NAMES]}
    line = ["walls", str(tmp_path / "walls.json"), "--predictions", str(tmp_path / "found.json")]
    (tmp_path / "found.json").write_text(json.dumps([predictions]))
    assert main(line) == 0
    assert capsys.readouterr().out == "connections of 1 walls: exact match 1.0000, ROUGE-1 1.0000\n"
    (tmp_path / "found.json").write_text(json.dumps([predictions | {"predicted_groups": one.groups}]))
    assert main([*line, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["naming"] == {"walls": 1, "exact_match": 1.0, "rouge1": 1.0}
    assert said["score"]["solved"] == 1
    (tmp_path / "found.json").write_text(json.dumps([{"wall_id": "w"}]))
    assert main(line) == 2
    assert "4 groups of 4" in capsys.readouterr().err

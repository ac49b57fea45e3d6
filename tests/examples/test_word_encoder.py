"""The encoder that learns topics: what it learned leaves in its file and solves walls that spelling does not."""

import importlib.util
import json
from pathlib import Path

import pytest

import neurokit as nk
from neurokit.cli import main
from neurokit.walls.encoder import exported_encoder
from neurokit.walls.metrics import score_walls
from neurokit.walls.solve import solve

FILE = Path(__file__).parents[2] / "examples" / "word_encoder.py"


@pytest.fixture(scope="module")
def made():
    spec = importlib.util.spec_from_file_location("word_encoder", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_words_are_of_one_topic_and_walls_hold_four_of_four(made):
    topics = made.lexicon()
    words = [word for topic in topics for word in topic]
    assert len(set(words)) == made.TOPICS * made.WORDS
    for wall in made.walls(5):
        for group, name in zip(wall.groups, wall.connections, strict=True):
            assert set(group) < set(topics[int(name.split()[1])])


@pytest.mark.slow
def test_the_exported_encoder_solves_what_the_untrained_one_does_not(made, tmp_path, monkeypatch, capsys):
    made.save(made.train(), tmp_path / "words")
    monkeypatch.setenv(made.FOLDER, str(tmp_path / "words"))
    out = tmp_path / "encoder"
    assert main(["export", f"{FILE}:encoder", "--target", "onnx", "--out", str(out)]) == 0
    capsys.readouterr()
    assert main(["walls", str(tmp_path / "words" / "walls.json"), "--encoder", str(out), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["score"]
    assert said["walls"] == 100
    assert said["solved"] >= 95
    plain = nk.lower(nk.capture(nk.load("ngram_encoder")), "onnx", tmp_path / "plain")
    walls = made.walls(100)
    assert score_walls(walls, solve(walls, exported_encoder(plain)))[0].solved <= 5

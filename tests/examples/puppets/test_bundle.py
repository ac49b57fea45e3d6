"""The folder of the page: what it holds, and what it refuses, in clear words."""

from __future__ import annotations

import json
import re

import pytest

from neurokit.errors import InputError, MissingRuntimeError, UnsupportedError


@pytest.fixture
def no_runtime(bundling, monkeypatch, tmp_path):
    """Stand-ins for the runtime's files: what is written beside them needs none."""
    (tmp_path / "ort").mkdir()
    for name in bundling.RUNTIME_FILES:
        (tmp_path / "ort" / name).write_text("")
    monkeypatch.setattr(bundling, "RUNTIME", tmp_path / "ort")


def test_the_worker_keeps_every_file(bundling, no_runtime, artifacts, tmp_path):
    """What is not kept is missing without a network."""
    out = tmp_path / "page"
    cards = bundling.bundle(list(artifacts.values()), out)
    kept = json.loads(re.search(r"FILES = (\[.*\]);", (out / "sw.js").read_text())[1])
    there = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert set(kept) == there - {"sw.js", "page.json"} | {"./"}
    assert {card["file"] for card in cards} <= set(kept)
    assert json.loads((out / "models.json").read_text())["models"] == cards


def test_another_network_is_another_version(bundling, no_runtime, artifacts, tmp_path):
    """Else a browser would go on with the network that it has."""

    def version(names, out):
        bundling.bundle([artifacts[name] for name in names], out)
        return re.search(r'VERSION = "(\w+)"', (out / "sw.js").read_text())[1]

    same = version(["onnx"], tmp_path / "a"), version(["onnx"], tmp_path / "a")
    assert same[0] == same[1] != version(["onnx-int8"], tmp_path / "a")


def test_a_strange_folder_is_left_alone(bundling, no_runtime, artifacts, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds something else"):
        bundling.bundle([artifacts["onnx"]], tmp_path / "mine")
    assert (tmp_path / "mine" / "letter.txt").read_text() == "dear"


def test_without_the_runtime_it_says_how_to_get_it(bundling, artifacts, tmp_path, monkeypatch):
    monkeypatch.setattr(bundling, "RUNTIME", tmp_path / "nothing")
    with pytest.raises(MissingRuntimeError, match="npm ci"):
        bundling.bundle([artifacts["onnx"]], tmp_path / "page")
    assert not (tmp_path / "page").exists()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"target": "onnx-scan"}, "of the target onnx-scan"),
        ({"graphs": "tokens"}, r"takes int64 \['B', 7\]"),
        ({"graphs": "free"}, r"takes uint8 \['B', 1, 'H', 64\]"),
    ],
)
def test_what_takes_no_image_is_refused(bundling, no_runtime, artifacts, tmp_path, change, words):
    ports = {"tokens": {"shape": ("B", 7), "dtype": "int64"}, "free": {"shape": ("B", 1, "H", 64)}}
    artifact = artifacts["onnx"]
    graph = artifact.manifest.graphs[0]
    if "graphs" in change:
        port = graph.inputs[0].model_copy(update=ports[change["graphs"]])
        change = {"graphs": (graph.model_copy(update={"inputs": (port,)}),)}
    other = type(artifact)(artifact.path, artifact.manifest.model_copy(update=change))
    with pytest.raises(UnsupportedError, match=words):
        bundling.bundle([other], tmp_path / "page")


def test_mistakes_in_the_command_end_in_a_line(serving, bundling, no_runtime, artifacts, tmp_path, capsys):
    assert serving.main([str(tmp_path / "nowhere"), "--out", str(tmp_path / "page")]) == 2
    assert "nowhere" in capsys.readouterr().err
    ready = [str(artifacts["onnx"].path), "--out", str(tmp_path / "page")]
    assert serving.main([*ready, "--port", "70000"]) == 2
    assert serving.main([*ready, "--no-serve"]) == 0
    assert "small_puppets, onnx" in capsys.readouterr().out

"""The page of an explanation: its pictures, in a browser on a phone and in the dark, and the command that writes it."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from neurokit.cli import main
from neurokit.page.explanation import overlay

MODEL = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, 1, 1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 3))
"""


def test_the_map_colours_what_it_covers_and_nothing_else():
    picture = np.full((8, 8), 200, np.uint8)
    heat = np.zeros((2, 2))
    heat[0, 1] = 1.0
    drawn = overlay(picture, heat).astype(int)
    side = len(drawn)
    assert drawn[-1, 0].tolist() == [200, 200, 200]
    red, _, blue = drawn[0, side - 1]
    assert red > 200 > blue + 100
    assert (overlay(picture, np.zeros((2, 2))) == 200).all()


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page, by the command, and what that printed as JSON."""
    import contextlib
    import io

    folder = tmp_path_factory.mktemp("explain")
    (folder / "model.py").write_text(MODEL)
    rng = np.random.default_rng(0)
    np.savez(folder / "data.npz", x=rng.random((12, 1, 10, 10), dtype=np.float32), y=np.arange(12) % 3)
    html = folder / "why.html"
    command = ["explain", f"{folder}/model.py:net", "--input-shape", "1,10,10", "--data", f"{folder}/data.npz"]
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        assert main([*command, "--html", str(html), "--json"]) == 0
    return html, json.loads(out.getvalue()), command


def test_the_command_counts(written):
    _, said, _ = written
    confusion = np.array(said["confusion"])
    assert confusion.sum(1).tolist() == [4, 4, 4]
    assert said["accuracy"]["value"] == np.trace(confusion) / 12
    assert sum(pair["count"] for pair in said["pairs"]) == 12 - np.trace(confusion)


def test_mistakes_end_in_a_line(written, tmp_path, capsys):
    _, _, command = written
    assert main([*command[:-1], str(tmp_path / "none.npz"), "--html", str(tmp_path / "a.html")]) == 2
    assert main([*command, "--html", str(tmp_path / "a.html"), "--embedding", "umap"]) == 2
    assert "pca or tsne" in capsys.readouterr().err
    assert not (tmp_path / "a.html").exists()


def test_in_a_browser(written, chromium, tmp_path):
    html, said, _ = written
    spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Browser(chromium, tmp_path / "profile") as browser:
        browser.resize(390, 844, phone=True)
        dark = [{"name": "prefers-color-scheme", "value": "dark"}]
        browser.call("Emulation.setEmulatedMedia", features=dark)
        browser.open(html.as_uri())
        assert browser.evaluate("document.documentElement.scrollWidth") <= 390
        sizes = browser.evaluate("[...document.images].map(i => i.complete && i.naturalWidth)")
        assert sizes
        assert set(sizes) == {192}
        assert browser.evaluate("document.querySelectorAll('.plot .mark').length") == 12
        wrong = 12 - int(np.trace(np.array(said["confusion"])))
        assert browser.evaluate("document.querySelectorAll('.plot .ring').length") == wrong
        background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        assert sum(map(int, background[4:-1].split(","))) < 150
        assert browser.errors == []
        assert [url for url in browser.requests if not url.startswith("data:")] == [html.as_uri()]

"""Models of the edge zoo on one page, in a real browser: metric, size, latency and joules of each."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.slow
def test_the_zoo_on_one_page(chromium, tmp_path):
    pytest.importorskip("timm")
    names = ("ear_unet", "macmd_b0", "ecapa_tdnn_512", "emotionic")
    command = [sys.executable, str(ROOT / "benchmarks" / "edge_zoo_page.py"), str(tmp_path), *names, "--steps", "40"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr[-2000:]
    spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Browser(chromium, tmp_path / "profile") as browser:
        browser.resize(1280, 900)
        browser.open((tmp_path / "zoo.html").as_uri())
        assert browser.errors == []
        heads = browser.evaluate("[...document.querySelectorAll('#figures thead th')].map(h => h.textContent.trim())")
        text = browser.evaluate("document.querySelector('#figures').textContent")
        hidden = browser.evaluate("(s => s.scrollWidth - s.clientWidth)(document.querySelector('.scroll'))")
        marks = browser.evaluate("document.querySelectorAll('svg.plot .mark').length")
        dark = {"name": "prefers-color-scheme", "value": "dark"}
        browser.call("Emulation.setEmulatedMedia", features=[dark])
        paper = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert paper == "rgb(22, 22, 22)"
    assert "analytic" in text
    assert hidden == 0  # metrics of three tasks, and no scrolling sideways
    for head in ("metric", "p50", "energy", "size"):
        assert any(head in found for found in heads), heads
    for metric in ("dice", "eer", "weighted_f1"):
        assert f"{metric} " in text
    for name in ("ear_unet_small", "macmd_small", "ecapa_tdnn_small", "emotionic_small"):
        assert name in text
    assert marks > 0

"""A folder of pictures, a trained CNN and a trained SNN: one `deploy` each, its page in a browser, a board over ssh."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from neurokit.cli import main

PHONE, WIDE = (390, 844, True), (1280, 844, False)


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    place = Path(__file__).parents[1] / "page" / "browser.py"
    spec = importlib.util.spec_from_file_location("browser", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="module")
def trained(digits):
    """The folder of `digits`, with a spiking network's weights beside the CNN's."""
    import torch

    from neurokit.models.spiking_cnn.train import train_digits

    folder, _ = digits
    module, right = train_digits(seconds=20)
    torch.save(module.state_dict(), folder / "snn.pt")
    (folder / "prep.toml").write_text('[[step]]\nname = "Grayscale"\n[[step]]\nname = "ToDtype"\nscale = true\n')
    assert right > 0.9
    return folder


def deployed(folder, kind, out, capsys, *more):
    model = {"cnn": f"{folder}/cnn.py:net", "snn": "spiking_cnn"}[kind]
    words = ["deploy", model, "--weights", f"{folder}/{kind}.pt", "--data", f"{folder}/digits", "--out", str(out)]
    words += ["--preprocess", f"{folder}/prep.toml", "--seconds", "0.1", "--json", *more]
    status = main(words)
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return json.loads(shown.out)


def read(browser, page, answer):
    """Reads the first screen at both widths, dark and on paper."""
    background = "getComputedStyle(document.body).backgroundColor"
    for width, height, phone in (WIDE, PHONE):
        browser.resize(width, height, phone)
        browser.open(Path(page).resolve().as_uri())
        lines = browser.evaluate("[...document.querySelectorAll('#answer p')].map(line => line.textContent)")
        assert lines[: len(answer)] == answer
        assert browser.evaluate("document.getElementById('answer').getBoundingClientRect().bottom") < height
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        light = browser.evaluate(background)
        browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
        assert browser.evaluate(background) != light
        browser.call("Emulation.setEmulatedMedia", features=[])
    assert browser.pdf().count(b"/Type /Page\n") <= 4
    assert browser.errors == []


@pytest.mark.slow  # trains and lowers to everything that this machine can make
@pytest.mark.parametrize("kind", ["cnn", "snn"])
def test_one_command_makes_a_decision(kind, trained, browser, tmp_path, capsys):
    made = deployed(trained, kind, tmp_path / "out", capsys)
    verified = {row["form"] for row in made["rows"] if row["parity"] not in ("", "failed") and "p50" in row["figures"]}
    assert {"onnx", "openvino"} <= verified  # figures of so short a run do not count, and are there with their reason
    assert ("onnx-int8" if kind == "cnn" else "c") in {row["form"].split()[0] for row in made["rows"]}
    assert all(row["reason"] for row in made["rows"] if row["status"] in ("failed", "invalid"))
    assert any(row["simulated"] for row in made["rows"])
    read(browser, made["page"], made["answer"])


@pytest.mark.slow  # sessions of an ssh server, each with a python of its own
@pytest.mark.parametrize("kind", ["cnn", "snn"])
def test_a_board_over_ssh_is_on_the_first_screen(kind, trained, browser, tmp_path, capsys, sshd):
    options = [word for option in sshd for word in ("--ssh-option", option)]
    there = ["--device", "127.0.0.1", "--python", sys.executable, "--target", "onnx", "--chip", "none", *options]
    made = deployed(trained, kind, tmp_path / "out", capsys, *there)
    (there,) = (row for row in made["rows"] if row["device"] == "127.0.0.1")
    assert there["figures"]["p50"]["value"] > 0
    assert "127.0.0.1" in str(made["best"])
    assert "on 127.0.0.1" in made["answer"][0]
    read(browser, made["page"], made["answer"])

"""Digits as people have them: pictures in class folders, a trained CNN and a trained SNN beside them."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

NET = """from torch import nn

from neurokit import ModelSpec, TensorSpec


def build():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.ReLU(), nn.Flatten(),
        nn.Linear(256, 10),
    ).eval()


def net():
    return ModelSpec("cnn", build, (TensorSpec("digit", (1, 8, 8)),), classes=tuple("0123456789"))
"""
SAMPLES = 60
PHONE, WIDE = (390, 844, True), (1280, 844, False)


def train(images, labels):
    space = {}
    exec(NET, space)
    module = space["build"]().train()
    optimiser = torch.optim.Adam(module.parameters(), 1e-2)
    for _ in range(5):
        for batch in torch.randperm(len(images)).split(64):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(module(images[batch]), labels[batch]).backward()
            optimiser.step()
    return module.eval()


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """A folder with `digits/CLASS/NUMBER.png`, `cnn.py`, `cnn.pt`, and the share that the CNN gets right."""
    from neurokit.data.digits import load_digits

    folder, data = tmp_path_factory.mktemp("deploy"), load_digits()
    pictures = (data.test_images[:SAMPLES] * 255).round().to(torch.uint8)
    for number, (picture, label) in enumerate(zip(pictures, data.test_labels, strict=False)):
        place = folder / "digits" / str(int(label)) / f"{number:03}.png"
        place.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.asarray(picture[0])).save(place)
    (folder / "cnn.py").write_text(NET)
    module = train(data.train_images, data.train_labels)
    torch.save(module.state_dict(), folder / "cnn.pt")
    with torch.no_grad():
        right = (module(pictures.float() / 255).argmax(1) == data.test_labels[:SAMPLES]).float().mean()
    return folder, float(right)


@pytest.fixture(scope="session")
def browser(chromium, tmp_path_factory):
    place = Path(__file__).parents[1] / "page" / "browser.py"
    spec = importlib.util.spec_from_file_location("browser", place)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        yield opened


@pytest.fixture(scope="session")
def trained(digits):
    """The folder of `digits`, with a spiking network's weights beside the CNN's."""
    import torch

    from neurokit.models.spiking_cnn.train import train_digits

    folder, _ = digits
    module, right = train_digits(seconds=60, epochs=6)
    torch.save(module.state_dict(), folder / "snn.pt")
    (folder / "prep.toml").write_text('[[step]]\nname = "Grayscale"\n[[step]]\nname = "ToDtype"\nscale = true\n')
    assert right > 0.9
    return folder


@pytest.fixture
def read(browser):
    """Reads the first screen of a page in a browser and holds it to the answer that the command gave."""
    return lambda page, answer: read_page(browser, page, answer)


def read_page(browser, page, answer):
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

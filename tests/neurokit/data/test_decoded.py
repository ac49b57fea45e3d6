"""A picture is decoded once, and again when its file changes or memory for it is needed."""

import os

import numpy as np
import pytest
from PIL import Image, ImageFile

from neurokit.data import decoded as pictures
from neurokit.data.labelled import Labelled
from neurokit.data.sets import SampleFiles
from neurokit.spec import ModelSpec, TensorSpec


@pytest.fixture
def loads(monkeypatch):
    monkeypatch.setattr(pictures, "_kept", type(pictures._kept)())
    monkeypatch.setattr(pictures, "_bytes", 0)
    seen, load = [], ImageFile.ImageFile.load

    def counted(self):
        if getattr(self, "tile", None):
            seen.append(self.filename)
        return load(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load", counted)
    return seen


def save(path, value, size=8):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((size, size), value, np.uint8)).save(path)


def test_a_set_is_decoded_once_however_often_it_is_read(loads, tmp_path):
    for number in range(6):
        save(tmp_path / "set" / "ab"[number % 2] / f"{number}.png", 10 * number)
    spec = ModelSpec("m", None, (TensorSpec("x", (1, 8, 8)),), classes=("a", "b"))
    for _ in range(2):
        files = SampleFiles.find(tmp_path / "set", spec, None)
        read = files.labelled()
        assert isinstance(read, Labelled)
        files.digest()
        files.inputs()
    assert len(loads) == 6
    assert np.allclose(np.sort(read.x[:, 0, 0, 0] * 255), np.arange(6) * 10)


def test_a_changed_file_is_decoded_again_and_memory_is_bounded(loads, tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    save(path, 10)
    first = pictures.decoded(path)
    first.putpixel((0, 0), 99)  # a caller's own
    assert pictures.decoded(path).getpixel((0, 0)) == 10
    save(path, 20)
    os.utime(path, ns=(1, 1))
    assert pictures.decoded(path).getpixel((0, 0)) == 20
    assert len(loads) == 2
    monkeypatch.setattr(pictures, "MOST_BYTES", 10 * 8 * 8 * 4)
    for number in range(20):
        save(tmp_path / f"{number}.png", number)
        pictures.decoded(tmp_path / f"{number}.png")
    assert len(pictures._kept) == 10
    save(tmp_path / "large.png", 1, size=64)
    pictures.decoded(tmp_path / "large.png")
    assert len(pictures._kept) == 10

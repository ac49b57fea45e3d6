"""Malformed data, weights, numbers and places for `neurokit train`: one clear line each, and no folder is made."""

import os
import resource
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from neurokit.errors import OutputError
from neurokit.training.api import _check_place

from .doors import MODELS, _png
from .edits import Pickled, spread

pytest.importorskip("pytorch_lightning", reason='needs pip install "neurokit-edge[train]"')


def saved(make):
    return lambda: torch.save(make(), "w.pt")


def itself():
    made = {}
    made["1.weight"] = made
    return made


def layer(weight):
    return lambda: torch.save({"1.weight": weight, "1.bias": torch.zeros(2)}, "w.pt")


def file_of(name, content):
    return lambda: Path(name).write_bytes(content)


PLAIN = torch.zeros(2, 64)
WEIGHTS = {
    "a checkpoint that contains itself": saved(itself),
    "sparse": layer(PLAIN.to_sparse()),
    "without data": layer(PLAIN.to("meta")),
    "complex": layer(PLAIN.to(torch.complex64)),
    "whole numbers": layer(PLAIN.to(torch.int64)),
    "another shape": layer(PLAIN.t().contiguous()),
    "not numbers": layer(PLAIN * float("nan")),
    "code": saved(Pickled),
    "a pipe": lambda: os.mkfifo("w.pt"),
    "a folder": lambda: Path("w.pt").mkdir(),
    "words": file_of("w.pt", b"hello"),
}
GIVEN = {
    "no epochs": ("--epochs", "0"),
    "epochs without an end": ("--epochs", "1000000000000"),
    "batches without an end": ("--batch", "1000000000000"),
    "no rate": ("--lr", "nan"),
    "devices without an end": ("--devices", "1000000000"),
    "a seed of many digits": ("--seed", "1" + "0" * 30),
    "data of the whole disk": ("--data", "/"),
    "data without an end": ("--data", "/dev/zero"),
    "data of no UTF-8": ("--data", "d\udcff"),
    "pictures without an end": ("--data", "puppets:1000000000000"),
    "a folder that is the root": ("--out", "/"),
    "a folder of a long name": ("--out", "o" * 300),
    "a folder in a file": ("--out", "m.py/x"),
}


@pytest.fixture
def train(tmp_path, refused):
    (tmp_path / "m.py").write_text(MODELS)
    for at in range(8):
        _png(tmp_path / "d" / "ab"[at % 2] / f"{at}.png", at)
    first = ("train", "m.py:picture", "--no-cache", "--recipe", "scratch", "--data", "d", "--out", "out")
    return lambda *more: refused(*first, *more)


@pytest.mark.parametrize("name", spread(WEIGHTS, 2))
def test_weights(train, name):
    WEIGHTS[name]()
    train("--weights", "w.pt")
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", spread(GIVEN, 2))
def test_what_is_given(train, name):
    train(*GIVEN[name])


@contextmanager
def full_after(size):
    """Lets no file grow beyond a size, as a full disk does."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("size", [1, pytest.param(200, marks=pytest.mark.slow), 500])
def test_a_full_disk(train, size):
    """TensorBoard's events are the first to find no room, or the checkpoint is."""
    with full_after(size):
        said = train()
    assert "free some space" in said
    assert ("error: out cannot be written: the disk is full" in said) == (size < 500)


def test_what_ended_in_its_first_epoch_is_no_folder_of_somebody_elses(tmp_path):
    (tmp_path / "out/tensorboard").mkdir(parents=True)
    (tmp_path / "out/.last.ckpt.partial-1").write_text("cut")
    _check_place(tmp_path / "out", False, False)
    (tmp_path / "out/notes.txt").touch()
    with pytest.raises(OutputError, match="no training of neurokit"):
        _check_place(tmp_path / "out", False, False)

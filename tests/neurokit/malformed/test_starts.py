"""What a state starts from, in a file of the artifact that is damaged and sealed again; and files that are too long."""

import gzip
import io
import os
import shutil

import numpy as np
import pytest

import neurokit as nk
from neurokit import cli
from neurokit.cli._data import read_arrays_of
from neurokit.data.volumes import read_volume
from neurokit.errors import InputError

from .edits import Pickled, seal, spread

MODEL = """
import torch
from spikingjelly.activation_based import neuron
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.lif = neuron.LIFNode(v_threshold=0.4, step_mode="m")
        self.first, self.last = nn.Linear(6, 5), nn.Linear(5, 3)
        self.start = nn.Parameter(torch.rand(5) * 0.3)

    def forward(self, x):
        self.lif.v = self.start.expand(x.shape[1], 5).clone()
        return self.last(self.lif(self.first(x)))

net = lambda: Net().eval()
"""


def _saved(array, **how):
    held = io.BytesIO()
    np.save(held, array, **how)
    return held.getvalue()


STARTS = {
    "empty": b"",
    "of another shape": _saved(np.zeros(7, np.float32)),
    "text": b"hello",
    "strings": _saved(np.array(["a"] * 5)),
    "of another type": _saved(np.zeros(5)),
    "pickle": _saved(np.array([Pickled()], dtype=object), allow_pickle=True),
    "complex": _saved(np.zeros(5, np.complex64)),
    "one number": _saved(np.float32(1)),
    "more than there is": _saved(np.zeros(5, np.float32))[:-4],
}


@pytest.fixture(scope="module")
def started(tmp_path_factory):
    folder = tmp_path_factory.mktemp("started")
    (folder / "m.py").write_text(MODEL)
    captured = nk.capture(nk.load(f"{folder}/m.py:net", (6,), 4))
    nk.lower(captured, "onnx-step", folder / "a", verified=False)
    np.save(folder / "x.npy", np.ones((4, 6), np.float32))
    return folder


@pytest.mark.parametrize("name", spread(STARTS))
def test_what_a_state_starts_from(started, tmp_path, refused, name):
    """Such a run ended as an unexpected error; an empty file was taken for Ctrl-D."""
    shutil.copytree(started / "a", tmp_path / "a")
    (place,) = (tmp_path / "a").glob("*.npy")
    place.write_bytes(STARTS[name])
    seal(tmp_path / "a")
    refused("run", "a", started / "x.npy")
    refused("verify", "a")
    assert not (tmp_path / "executed").exists()


def test_the_end_of_a_file_is_not_the_users(monkeypatch, capsys):
    def ended(*_arguments):
        raise EOFError("no data left in file")

    monkeypatch.setattr("neurokit.artifact.Artifact.load", ended)
    assert cli.main(["verify", "."]) == 2
    said = capsys.readouterr().err
    assert "interrupted" not in said
    assert "no data left in file" in said


def test_a_model_file_of_gigabytes_is_not_read(tmp_path, refused):
    with (tmp_path / "m.py").open("wb") as file:
        file.truncate(3 << 30)
    refused("export", "m.py:net", "--out", "out")


def test_a_place_that_cannot_be_written_is_told_before_any_work(sound, tmp_path, refused, monkeypatch):
    allowed = os.access
    monkeypatch.setattr(os, "access", lambda place, mode: mode == os.R_OK and allowed(place, mode))
    monkeypatch.setattr("neurokit.bench.run.run_here", lambda *_a, **_k: pytest.fail("it was measured first"))
    for option in ("--out", "--history"):
        assert "no permission" in refused("bench", sound / "a", "--seconds", "5", option, tmp_path / "new.json")


@pytest.mark.parametrize("damage", ["its end", "a byte", "more"])
def test_a_compressed_volume_is_read_to_its_end(tmp_path, damage):
    """The sum over a file stands behind what was read of it."""
    nibabel = pytest.importorskip("nibabel")
    place = tmp_path / "v.nii.gz"
    nibabel.save(nibabel.Nifti1Image(np.random.default_rng(0).random((8, 8, 8), dtype=np.float32), np.eye(4)), place)
    assert read_volume(place, (1, 8, 8, 8)).shape == (1, 8, 8, 8)
    content = gzip.decompress(place.read_bytes())
    packed = bytearray(gzip.compress(content, 0))
    if damage == "its end":
        del packed[-9:]
    elif damage == "a byte":
        packed[-20] ^= 1
    else:
        packed = gzip.compress(content + bytes(2**27), 1)
    place.write_bytes(packed)
    with pytest.raises((OSError, EOFError)):
        read_volume(place, (1, 8, 8, 8))


def test_calibration_data_of_text(tmp_path):
    np.savez(tmp_path / "c.npz", x=np.array(["a"]))
    with pytest.raises(InputError, match="holds <U1"):
        read_arrays_of(tmp_path / "c.npz", "--calibration")


def test_a_file_that_is_no_history_is_told_before_any_work(sound, tmp_path, refused, monkeypatch):
    monkeypatch.setattr("neurokit.bench.run.run_here", lambda *_a, **_k: pytest.fail("it was measured first"))
    (tmp_path / "h.jsonl").write_text('{"a":')
    assert "h.jsonl, line 1: no entry of a history" in refused("bench", sound / "a", "--history", "h.jsonl")

"""Networks of token ids: edited artifacts sealed again, and ids that no table has."""

import shutil

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec

from .edits import edited_head, field, put, seal


class Words(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.fc, self.lif = nn.Embedding(20, 8), nn.Linear(8, 6), neuron.LIFNode(step_mode="m")

    def forward(self, ids):
        return self.lif(self.fc(4 * self.rows(ids)))


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """A sound artifact of token ids, in float and exact numerics."""
    folder = tmp_path_factory.mktemp("words")
    ports = (TensorSpec("ids", (5,), "int64", low=0, high=19),)
    spec = ModelSpec("words", lambda: Words().eval(), ports, time_steps=4)
    for numerics in ("float", "exact"):
        nk.lower(nk.capture(spec), "onnx", folder / numerics, numerics=numerics)
    return folder


PORT = "graphs.0.inputs.0"
EDITS = {
    "dtype float": field(f"{PORT}.dtype", "float32"),
    "dtype int32": field(f"{PORT}.dtype", "int32"),
    "dtype unknown": field(f"{PORT}.dtype", "token"),
    "ids below the table": field(f"{PORT}.low", -7),
    "ids beyond the table": field(f"{PORT}.high", 10**6),
    "ids beyond int64": field(f"{PORT}.high", 2.0**70),
    "low above high": field(f"{PORT}.low", 50),
    "range of text": field(f"{PORT}.high", "many"),
    "another length": field(f"{PORT}.shape", [4, "B", 9]),
    "another name": field(f"{PORT}.name", "words"),
}
VECTORS = {
    "ids outside": put("in0", np.full((4, 2, 5), 10**9)),
    "ids negative": put("in0", np.full((4, 2, 5), -30)),
    "ids of floats": put("in0", np.zeros((4, 2, 5), dtype=np.float32)),
    "ids of objects": put("in0", np.array(["a"])),
    "ids of another shape": put("in0", np.zeros((3, 3), dtype=np.int64)),
    "inputs unnamed": edited_head(lambda head: {**head, "inputs": []}),
}


@pytest.mark.parametrize("numerics", ["float", "exact"])
@pytest.mark.parametrize("name", [*EDITS, *VECTORS])
def test_edited_and_sealed_again(words, tmp_path, refused, name, numerics):
    shutil.copytree(words / numerics, tmp_path / "a")
    (EDITS.get(name) or VECTORS[name])(tmp_path / "a")
    seal(tmp_path / "a")
    refused("verify", "a")


SAMPLES = {
    "beyond the table": np.full((4, 5), 20),
    "far beyond": np.full((4, 5), 2**62),
    "negative": np.full((4, 5), -25),
    "the last row by its negative place": np.full((4, 5), -1),
    "fractions": np.full((4, 5), 0.5, dtype=np.float32),
    "text": np.array([["a"] * 5]),
    "another length": np.zeros((4, 6), dtype=np.int64),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_ids_that_no_table_has(words, tmp_path, refused, name):
    shutil.copytree(words / "float", tmp_path / "a")
    np.save(tmp_path / "ids.npy", SAMPLES[name])
    refused("run", "a", "ids.npy")

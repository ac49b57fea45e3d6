"""A TensorRT engine of a model with two inputs and a free length: its profile is the axis' bounds."""

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit import Dim, ModelSpec, TensorSpec
from neurokit.errors import MissingRuntimeError
from neurokit.export.tensorrt import library as trt_library

try:
    trt_library.load()
    MISSING = ""
except MissingRuntimeError as error:
    MISSING = error.what


class Pooled(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed, self.head = nn.Embedding(9, 4), nn.Linear(4, 3)

    def forward(self, ids, mask):
        x = self.embed(ids) * mask[..., None].to(torch.float32)
        return {"pooled": x.sum(1), "scores": self.head(x)}


@pytest.mark.skipif(bool(MISSING), reason=MISSING)
def test_the_profile_has_the_bounds_of_the_axis(tmp_path):
    length = Dim("S", min=2, max=32, multiple=2)
    ports = (TensorSpec("ids", (length,), "int64", "L", high=8), TensorSpec("mask", (length,), "bool", "L", low=1))
    captured = nk.capture(ModelSpec("pooled", lambda: Pooled().eval(), ports))
    artifact = nk.lower(captured, "tensorrt", tmp_path / "a")
    profile = artifact.manifest.target_info["profile"]
    assert profile["ids"] == profile["mask"]
    assert (profile["ids"][0], profile["ids"][2]) == ([1, 2], [8, 32])
    assert artifact.manifest.parity["verdict"] in ("exact", "within tolerance")

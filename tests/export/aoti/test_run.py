"""What a package is handed: values as they lay in memory when it was compiled."""

import glob

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.export.aoti.run import PackageSession
from neurokit.spec import ModelSpec, StateSpec, TensorSpec


def test_a_part_of_something_larger_is_handed_on_in_the_order_of_its_axes():
    whole = torch.arange(24.0).reshape(2, 3, 4)
    given = PackageSession.placed(object.__new__(PackageSession), whole[:, :, -1])
    assert given.is_contiguous()
    assert torch.equal(given, whole[:, :, -1])


def unpacked():
    """Returns what PyTorch's loader has unpacked and is there."""
    return glob.glob("/tmp/??????/**/data/aotinductor", recursive=True)


class Sums(nn.Module):
    """Sums over frames so far; the state is the last of them, a part of the output."""

    def forward(self, x, total):
        y = total.unsqueeze(2) + x.cumsum(2)
        return y, y[:, :, -1]


@pytest.mark.slow
def test_a_state_that_is_a_part_of_an_output_goes_on(tmp_path):
    spec = ModelSpec("sums", Sums, (TensorSpec("x", (3, 4), layout="CL"),), states=(StateSpec("total", (3,)),))
    artifact = nk.lower(nk.capture(spec), "aoti", tmp_path / "sums", form="step")
    x = np.random.default_rng(0).random((2, 3, 12), dtype=np.float32)
    before = set(unpacked())
    with nk.open(artifact) as runner:
        assert set(unpacked()) <= before, "a killed process would leave its weights"
        runner.reset(2)
        found = np.concatenate([runner.step(part) for part in np.split(x, 3, 2)], 2)
    np.testing.assert_allclose(found, x.cumsum(2), rtol=1e-5)

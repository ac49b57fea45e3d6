"""3-D convolutions a slab at a time are those of PyTorch, and take little memory."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.capture.sides import program_in_double
from neurokit.capture.slabs import conv3d


@pytest.mark.parametrize("kernel", [1, 2, 3])
@pytest.mark.parametrize("stride", [1, 2, (3, 1, 2)])
@pytest.mark.parametrize("padding", [0, 1, (2, 0, 1)])
@pytest.mark.parametrize(("dilation", "groups"), [(1, 1), (1, 2), ((2, 1, 1), 1)])
def test_slabs_are_the_convolution(kernel: int, stride, padding, dilation, groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 4, 7, 6, 5, generator=generator).double()
    weight = torch.randn(6, 4 // groups, kernel, kernel, kernel, generator=generator).double()
    bias = torch.randn(6, generator=generator).double()
    whole = torch.conv3d(x, weight, bias, stride, padding, dilation, groups)
    for most in (1, 20_000):  # a plane at a time, and several
        slabs = conv3d(x, weight, bias, stride, padding, dilation, groups, most=most)
        torch.testing.assert_close(slabs, whole, rtol=1e-13, atol=1e-13)


@pytest.mark.parametrize("padding", ["same", "valid"])
def test_named_paddings_and_samples_without_a_batch_are_computed_whole(padding: str) -> None:
    x, weight = torch.ones(4, 5, 5, 5).double(), torch.ones(2, 4, 3, 3, 3).double()
    assert torch.equal(conv3d(x, weight, None, 1, padding, most=1), torch.conv3d(x, weight, None, 1, padding))


def test_a_program_in_float64_computes_its_convolutions_so() -> None:
    net = nn.Sequential(nn.Conv3d(2, 3, 3, padding=1), nn.ReLU(), nn.Conv3d(3, 2, 2, stride=2, bias=False)).eval()
    program = nk.capture(nk.ModelSpec("volumes", lambda: net, (nk.TensorSpec("x", (2, 6, 6, 6)),))).program
    wide = program_in_double(program.module())
    assert [node.target for node in wide.graph.nodes if "conv" in str(node.target)] == [conv3d, conv3d]
    x = torch.rand(2, 2, 6, 6, 6).double()
    with torch.no_grad():
        torch.testing.assert_close(wide(x)[0], net.double()(x), rtol=1e-13, atol=1e-13)


PEAK = """
import resource, torch
from neurokit.capture.slabs import conv3d
x, weight = torch.zeros(1, 64, 48, 48, 48).double(), torch.zeros(8, 64, 3, 3, 3).double()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with torch.no_grad():
    conv3d(x, weight, padding=1)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_patches_of_a_slab_alone_are_held() -> None:
    """All patches of this one are 1.4 GiB side by side."""
    done = subprocess.run([sys.executable, "-c", PEAK], capture_output=True, text=True, check=True)
    assert int(done.stdout) * 1024 < 2**29

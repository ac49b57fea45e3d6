"""Compiling packages: memory of tensor descriptors, and on a GPU an exact package on int8 kernels."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch._inductor.codegen.cuda.device_op_overrides import CUDADeviceOpOverrides

import neurokit as nk
from neurokit.export.aoti import compile as compiling
from neurokit.spec import ModelSpec, TensorSpec

from ..nets import dyadic


def _lent(size):
    """Returns what a kernel's launcher in C++ lends for its descriptors, bytes a program."""
    from torch._inductor.codegen.common import TritonScratchWorkspace

    lines, name = CUDADeviceOpOverrides().cpp_scratch(7, TritonScratchWorkspace(size, lambda: "uint8"), "global")
    return next(line for line in lines if "_size[]" in line) if size else lines[0], name


def test_descriptors_of_every_program_of_a_grid_have_memory():
    before = CUDADeviceOpOverrides.cpp_scratch
    with compiling._scratch_of_the_grid():
        sizes = "int64_t global_scratch_7_size[] = {int64_t{384} * grid_0 * grid_1 * grid_2};"
        assert _lent(384) == (sizes, "global_scratch_7")
        assert _lent(0) == ("CUdeviceptr global_scratch_7 = 0;", "global_scratch_7")
    assert CUDADeviceOpOverrides.cpp_scratch is before


def wide_net():
    """Two convolutions of 64 channels, which the int8 kernels of a GPU take."""
    torch.manual_seed(3)
    net = nn.Sequential(
        layer.Conv2d(2, 64, 3, padding=1),
        neuron.IFNode(),
        layer.Conv2d(64, 64, 3, padding=1),
        neuron.LIFNode(tau=2.0),
        layer.Conv2d(64, 64, 3, stride=2, padding=1),
        neuron.IFNode(),
        layer.Flatten(),
        layer.Linear(64 * 49, 10),
    )
    functional.set_step_mode(net, "m")
    return dyadic(net).eval()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="int8 kernels in a package need a GPU")
@pytest.mark.parametrize(("numerics", "precision"), [("exact", "float32"), ("float", "float32"), ("float", "float16")])
def test_packages_on_a_gpu_are_verified(numerics, precision, tmp_path):
    spec = ModelSpec("wide", wide_net, (TensorSpec("x", (2, 14, 14), low=0.0, high=1.0),), time_steps=4)
    options = {"numerics": numerics, "precision": precision, "device": "cuda", "batch": 2}
    artifact = nk.lower(spec, "aoti", tmp_path / "a", verified=False, **options)
    report = nk.verify(artifact)
    assert report.passed, report.notes
    kernels = [row["kernel"] for row in artifact.manifest.target_info["kernels"]]
    if numerics == "exact" or precision == "float16":
        assert "spike_conv_lif" in kernels
    if numerics == "exact":
        assert report.verdict == "exact"

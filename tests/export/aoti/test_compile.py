"""Compiling packages: memory of tensor descriptors, and on a GPU an exact package on int8 kernels."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn
from torch._inductor.codegen.cuda.device_op_overrides import CUDADeviceOpOverrides

import neurokit as nk
from neurokit.errors import UnsupportedError
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


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("no such operator", "no such operator"),
        (
            "C++ compile error\n\nCommand:\ng++ x.cpp\n\nOutput:\nx.cpp: At top:\nx.cpp:3:1: error: no member 'm'\n",
            "C++ compile error: x.cpp:3:1: error: no member 'm'",
        ),
        (
            "C++ compile error\n\ng++: fatal: Killed signal terminated",
            "C++ compile error: g++: fatal: Killed signal terminated",
        ),
        ("", "RuntimeError"),
    ],
)
def test_what_the_compiler_says_is_the_line_that_names_the_cause(text, wanted, monkeypatch):
    def refuse(*given, **options):
        raise RuntimeError(text)

    program = torch.export.export(torch.nn.ReLU(), (torch.ones(2),), strict=False)
    monkeypatch.setattr("torch._inductor.aot_compile", refuse)
    with pytest.raises(UnsupportedError) as caught:
        compiling.compiled(program, {}, {})
    assert str(caught.value).splitlines()[0].endswith(f"does not compile the program: {wanted}")


def test_instruction_sets_are_tried_again_for_the_next_package():
    from torch._inductor import cpu_vec_isa

    usual = cpu_vec_isa.valid_vec_isa_list
    with compiling._without_vectors():
        assert not cpu_vec_isa.pick_vec_isa()
    assert cpu_vec_isa.valid_vec_isa_list is usual

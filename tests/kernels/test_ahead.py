"""The neuron as PTX for other runtimes: what the text holds, what assemblers make of it, every bit of its results."""

from __future__ import annotations

import ctypes
import itertools
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neurokit.errors import MissingRuntimeError
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.lif import reference
from neurokit.kernels.lif.ahead import BLOCK, WARPS, constants_of, lif_code
from neurokit.neurons.device_code import NEURON_CODE, DeviceCode, NeuronCall

compiled = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
NEURONS = {
    "if": NeuronCall("if_", 0.0, 0.75, 0.0),
    "if soft": NeuronCall("if_", 0.0, 1.0, None),
    "lif": NeuronCall("lif", 2.0, 1.0, 0.0),
    "lif tau 3": NeuronCall("lif", 3.0, 1.0, 0.0),
    "lif soft": NeuronCall("lif", 1.7, 0.6, None),
    "lif rest": NeuronCall("lif", 3.0, 1.0, -0.25, decay_input=False),
    "plif": NeuronCall("plif", 0.30000001192092896, 1.0, 0.0),
    "plif undecayed": NeuronCall("plif", 0.30000001192092896, 0.5, 0.125, decay_input=False),
}
TYPES = list(itertools.product((False, True), (False, True)))


def calls(steps: int | None, aligned: bool):
    """Every neuron, each with another pair of types."""
    for call, (half_input, half_spikes) in zip(NEURONS.values(), itertools.cycle(TYPES)):
        yield replace(call, half_input=half_input, half_spikes=half_spikes, steps=steps, aligned=aligned)


def triton_tool(name: str) -> str:
    triton = pytest.importorskip("triton")
    return str(Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / name)


@compiled
def test_the_text_holds_what_the_contract_says():
    pytest.importorskip("triton")
    entries = set()
    for call in calls(steps=4, aligned=True):
        code = lif_code(call)
        head = re.search(r"\.visible \.entry (\w+)\((.*?)\)", code.ptx, re.DOTALL)
        assert head.group(1) == code.entry
        parameters = re.findall(r"\.param (\.u64 \.ptr|\.u32)", head.group(2))
        assert parameters == [".u64 .ptr", ".u64 .ptr", ".u32", ".u32", ".u64 .ptr", ".u64 .ptr"]
        assert head.group(2).count(".param") == 6
        assert (code.threads, code.neurons) == (32 * WARPS, BLOCK)
        assert f".reqntid {code.threads}" in code.ptx
        assert ".target sm_80\n" in code.ptx
        assert "/" not in re.sub(r"//.*", "", code.ptx)  # no path of this machine
        entries.add(code.entry)
    # A power of two multiplies by its reciprocal, anything else divides: no two neurons above are one kernel.
    assert len(entries) == len(NEURONS)


@compiled
def test_the_code_is_the_same_where_launches_overlap(monkeypatch, tmp_path):
    """On a GPU of capability 9.0 the kernel waits for the one before it: an instruction that others do not have."""
    tl = pytest.importorskip("triton.language")
    from neurokit.kernels.common import triton as shared

    call = NeuronCall("lif", 2.0, 1.0, 0.0, steps=4)
    wanted = lif_code(call)
    monkeypatch.setattr(shared, "PROCESSORS", tl.constexpr(132))
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    assert lif_code.__wrapped__(call) == wanted
    assert shared.PROCESSORS == 132


@compiled
def test_no_sum_is_contracted():
    """Whatever assembles the text: only an instruction that says how it rounds may not be joined with another."""
    pytest.importorskip("triton")
    for call in itertools.chain(calls(None, False), calls(4, True)):
        ptx = lif_code(call).ptx
        arithmetic = re.findall(r"\b(?:add|sub|mul|div|fma|mad)[.\w]*\.f32\b", ptx)
        assert arithmetic
        assert {op for op in arithmetic if ".rn" not in op or "ftz" in op} == set()
        assert not [op for op in arithmetic if op.startswith(("fma", "mad"))]


@compiled
@pytest.mark.parametrize(
    "capability", ["80", "90", "120", *(pytest.param(other, marks=pytest.mark.slow) for other in ("86", "89", "100"))]
)
def test_ptxas_assembles_it(capability, tmp_path):
    """At its defaults, which contract what may be contracted; the machine code is read back."""
    ptxas = triton_tool("ptxas-blackwell" if int(capability) >= 100 else "ptxas")
    for call in [*calls(steps=4, aligned=True)][::2]:
        code = lif_code(call)
        (tmp_path / "k.ptx").write_text(code.ptx)
        cubin = tmp_path / "k.cubin"
        subprocess.run([ptxas, f"--gpu-name=sm_{capability}", "-o", cubin, tmp_path / "k.ptx"], check=True)
        sass = subprocess.run([triton_tool("nvdisasm"), "-c", cubin], capture_output=True, text=True).stdout
        assert "FADD" in sass, call
        divides = call.op == "lif" and call.leak != 2.0  # a division is a sequence of fused operations
        assert ("FFMA" in sass) == divides, call


@compiled
def test_vectors_where_the_size_allows_them():
    pytest.importorskip("triton")
    call = NeuronCall("lif", 2.0, 1.0, 0.0, steps=4, aligned=True)
    # Four neurons a thread: one vector each step, and one of the membranes.
    assert len(re.findall(r"ld\.global[.\w]*\.v4\.b32", lif_code(call).ptx)) == 4 + 1
    assert len(re.findall(r"st\.global[.\w]*\.v4\.b32", lif_code(call).ptx)) == 4 + 1
    loose = NeuronCall("lif", 2.0, 1.0, 0.0, steps=4, aligned=False)
    assert ".v4.b32" not in lif_code(loose).ptx


@pytest.mark.skipif(not INTERPRET, reason="the interpreter is not on; test_interpreter runs this")
def test_the_interpreter_compiles_nothing():
    with pytest.raises(MissingRuntimeError, match="interpreter"):
        lif_code(NeuronCall("lif", 2.0, 1.0, 0.0))


def expected(call: NeuronCall, x: torch.Tensor, v0: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The definition in plain PyTorch on the CPU."""
    decay = torch.tensor(call.leak) if call.op == "plif" else None
    tau = call.leak if call.op == "lif" else None
    spikes, v, _ = reference.forward(
        x.cpu(), v0.cpu(), None, None, None, decay, tau, call.v_threshold, call.v_reset, call.decay_input, "same"
    )
    return spikes.to(torch.float16 if call.half_spikes else torch.float32), v


def operands(call: NeuronCall, steps: int, neurons: int, device: torch.device):
    """Currents round the threshold, some of them exact ties, and outputs that no kernel has written."""
    draw = torch.Generator().manual_seed(steps * 1000 + neurons)
    x = torch.randn(steps, neurons, generator=draw) + 0.4
    x[:, ::3] = (x[:, ::3] * 8).round() / 8
    v0 = torch.randn(neurons, generator=draw) * 0.3
    x = x.half() if call.half_input else x
    spikes = torch.full((steps, neurons), 77.0, dtype=torch.float16 if call.half_spikes else torch.float32)
    return [tensor.to(device) for tensor in (x, v0, spikes, torch.full((neurons,), torch.nan))]


SHAPES = [(1, 1), (1, 5000), (3, 33), (4, 1024), (5, 2064), (8, 96), (13, 1025)]


@pytest.mark.needs_kernel
@pytest.mark.parametrize("name", list(NEURONS))
def test_kernel_gives_the_definitions_bits(name, device):
    """As Triton itself launches it, on a GPU or under the interpreter."""
    from neurokit.kernels.lif.triton import lif_sequence_kernel

    for (steps, neurons), free in itertools.product(SHAPES, (True, False)):
        call = replace(NEURONS[name], steps=None if free else steps, half_input=bool(steps % 2))
        x, v0, spikes, v = operands(call, steps, neurons, device)
        lif_sequence_kernel[(-(-neurons // BLOCK),)](x, v0, steps, neurons, spikes, v, **constants_of(call))
        for ours, theirs in zip((spikes, v), expected(call, x, v0), strict=True):
            assert torch.equal(ours.cpu(), theirs), (steps, neurons, free)


class Driver:
    """CUDA's driver, and nothing above it: loads the text, finds the entry, launches it with a list of arguments."""

    def __init__(self) -> None:
        torch.zeros(1, device="cuda")  # makes the context
        self.cuda = ctypes.CDLL("libcuda.so.1")

    def check(self, status: int) -> None:
        assert status == 0, f"CUDA error {status}"

    def launch(self, code: DeviceCode, grid: int, arguments: list[torch.Tensor | int]) -> None:
        module, function = ctypes.c_void_p(), ctypes.c_void_p()
        self.check(self.cuda.cuModuleLoadData(ctypes.byref(module), code.ptx.encode()))
        self.check(self.cuda.cuModuleGetFunction(ctypes.byref(function), module, code.entry.encode()))
        held = [ctypes.c_uint64(a.data_ptr()) if isinstance(a, torch.Tensor) else ctypes.c_int32(a) for a in arguments]
        pointers = (ctypes.c_void_p * len(held))(*(ctypes.addressof(value) for value in held))
        torch.cuda.synchronize()
        sizes = (grid, 1, 1, code.threads, 1, 1, 0)
        self.check(self.cuda.cuLaunchKernel(function, *sizes, None, pointers, None))
        torch.cuda.synchronize()
        self.check(self.cuda.cuModuleUnload(module))


@pytest.mark.gpu
@compiled
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA GPU")
@pytest.mark.parametrize("name", list(NEURONS))
def test_the_drivers_launch_gives_the_definitions_bits(name):
    """The text, compiled by the driver for this GPU, with the arguments that a TensorRT plugin gets."""
    driver = Driver()
    assemble = NEURON_CODE.get("lif")
    cases = zip(itertools.product(SHAPES, (True, False)), itertools.cycle(TYPES))
    for ((steps, neurons), free), (half_input, half_spikes) in cases:
        call = replace(
            NEURONS[name],
            steps=None if free else steps,
            aligned=neurons % 16 == 0,
            half_input=half_input,
            half_spikes=half_spikes,
        )
        x, v0, spikes, v = operands(call, steps, neurons, torch.device("cuda"))
        code = assemble(call)
        driver.launch(code, -(-neurons // code.neurons), [x, v0, steps, neurons, spikes, v])
        for ours, theirs in zip((spikes, v), expected(call, x, v0), strict=True):
            assert torch.equal(ours.cpu(), theirs), (steps, neurons, free, half_input, half_spikes)

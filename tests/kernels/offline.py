"""Compiles what an operator would launch, for a GPU that is not there: Triton brings its own assembler."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch

from neurokit.kernels.ahead import launched_in_order
from neurokit.kernels.common.descriptors import Boxes

_OPS = (
    "block_sparse_attention",
    "depthwise",
    "estimate_blocks",
    "gate_lif",
    "lif",
    "pack",
    "pool_lif",
    "rescale_keys",
    "sdsa_lif",
    "search_blocks",
    "select_blocks",
    "sparse_decode",
    "spike_conv_lif",
    "spike_gemv_lif",
    "spike_linear_lif",
    "spike_stats",
)
_TYPES = {
    torch.float64: "fp64",
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "i8",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint8: "u8",
}
_OPTIONS = ("num_warps", "num_stages")


def source_of(kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], floats: str = "fp32") -> Any:
    """Returns a launch as Triton compiles it.

    Args:
        kernel: The kernel.
        args: Its arguments.
        kwargs: More of them, by name.
        floats: Type of numbers with a point: "fp32" of a launch from Python, "fp64" of one that a compiler has traced.
    """
    from triton.compiler import ASTSource

    if kernel.is_gluon():
        from neurokit.kernels.common.gluon_source import Source as ASTSource
    values = dict(zip(kernel.arg_names, args, strict=False)) | kwargs
    signature, constants, attributes = {}, {}, {}
    for index, parameter in enumerate(kernel.params):
        value = values[parameter.name]
        if parameter.is_constexpr or (isinstance(value, int) and value == 1):
            signature[parameter.name] = "constexpr"
            constants[parameter.name] = value
        elif isinstance(value, Boxes):
            signature[parameter.name] = f"tensordesc<{_TYPES[value.tensor.dtype]}{list(value.shape)}>"
        elif isinstance(value, torch.Tensor):
            signature[parameter.name] = "*" + _TYPES[value.dtype]
            attributes[(index,)] = [["tt.divisibility", 16]]
        elif isinstance(value, int):
            signature[parameter.name] = "i32" if value < 2**31 else "i64"
            if value % 16 == 0:
                attributes[(index,)] = [["tt.divisibility", 16]]
        else:
            signature[parameter.name] = floats
    return ASTSource(kernel, signature, constants, attributes)


def target_of(capability: int) -> Any:
    """Returns a GPU to compile for, by its compute capability."""
    from triton.backends.compiler import GPUTarget

    return GPUTarget("cuda", capability, 32)


class Compiled:
    """One compiled launch: the kernel's name, its assembly and what the assembler said of it."""

    def __init__(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], capability: int) -> None:
        import triton

        options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        self.name = kernel.__name__
        with launched_in_order(kernel) if capability < 90 else nullcontext():
            source = source_of(kernel, args, kwargs)
            self.binary = triton.compile(source, target=target_of(capability), options=options)
        self.ptx: str = self.binary.asm["ptx"]

    def count(self, pattern: str) -> int:
        """Returns how often a pattern occurs in the PTX."""
        return len(re.findall(pattern, self.ptx))


class Launch:
    """One launch that is not compiled: what it was given, and what Triton makes of it first."""

    def __init__(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], capability: int) -> None:
        self.options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        self.kernel, self.args, self.kwargs, self.capability = kernel, args, kwargs, capability
        self.name = kernel.__name__

    @property
    def given(self) -> dict[str, Any]:
        """Its arguments by name."""
        return dict(zip(self.kernel.arg_names, self.args, strict=False)) | self.kwargs

    @property
    def switches(self) -> tuple[tuple[str, bool], ...]:
        """Its constants that are true or false."""
        return tuple(sorted((name, value) for name, value in self.given.items() if isinstance(value, bool)))

    def traced(self, floats: str) -> str:
        """Returns Triton's own representation, unoptimised; numbers with a point are "fp32" or "fp64"."""
        from triton._C.libtriton import ir
        from triton.compiler import make_backend

        target = target_of(self.capability)
        backend, context = make_backend(target), ir.context()
        ir.load_dialects(context)
        backend.load_dialects(context)
        options = backend.parse_options(self.options)
        calls, modules = backend.get_codegen_implementation(options), backend.get_module_map()
        source = source_of(self.kernel, self.args, self.kwargs, floats)
        return str(source.make_ir(target, options, calls, modules, context))


@contextmanager
def capture(capability: int, kind: type = Compiled) -> Iterator[list[Any]]:
    """Context in which operators on CPU tensors compile for a GPU instead of running; outputs stay unwritten.

    Args:
        capability: Compute capability of the GPU, 90 for 9.0.
        kind: What is made of every launch: Compiled or Launch.
    """
    done: list[Any] = []

    def launch(kernel: Any) -> Any:
        class Grid:
            def __getitem__(self, grid: object) -> Callable[..., None]:
                return lambda *args, **kwargs: done.append(kind(kernel, args, kwargs, capability))

        return Grid()

    with ExitStack() as stack:
        for name in _OPS:
            module = importlib.import_module(f"neurokit.kernels.{name}.op")
            stack.enter_context(mock.patch.object(module, "launch", launch))
            stack.enter_context(mock.patch.object(module, "use_triton", return_value=True))
        boxes = importlib.import_module("neurokit.kernels.spike_conv_lif.boxes")
        rows = importlib.import_module("neurokit.kernels.spike_conv_lif.rows")
        for module in (boxes, rows):
            stack.enter_context(mock.patch.object(module, "described", launch))
        stack.enter_context(mock.patch.object(boxes, "capability", return_value=divmod(capability, 10)))
        yield done


@contextmanager
def named() -> Iterator[None]:
    """Context in which PyTorch says of a GPU that is not there what launch parameters are looked up by."""
    answers = {
        "get_device_capability": (9, 0),
        "get_device_name": "none that is there",
        "get_device_properties": mock.Mock(multi_processor_count=132),
    }
    with ExitStack() as stack:
        for name, answer in answers.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, return_value=answer))
        yield


def launches_of(kernel: Any) -> list[Launch]:
    """Returns the first launch of a registered kernel's examples for each set of its switches."""
    with capture(90, Launch) as done:
        for example in kernel.examples(torch.device("cpu"), torch.float16):
            kernel.function(*example.args, **example.kwargs)
    return list({(one.name, one.switches): one for one in reversed(done)}.values())

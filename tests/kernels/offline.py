"""Compiles what an operator would launch, for a GPU that is not there: Triton brings its own assembler."""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

_OPS = (
    "block_sparse_attention",
    "depthwise",
    "estimate_blocks",
    "lif",
    "pack",
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
    torch.float32: "fp32",
    torch.float16: "fp16",
    torch.bfloat16: "bf16",
    torch.int8: "i8",
    torch.int32: "i32",
    torch.int64: "i64",
    torch.uint8: "u8",
}
_OPTIONS = ("num_warps", "num_stages")


class Compiled:
    """One compiled launch: the kernel's name, its assembly and what the assembler said of it."""

    def __init__(self, kernel: Any, args: tuple[Any, ...], kwargs: dict[str, Any], capability: int) -> None:
        import triton
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource

        options = {name: kwargs.pop(name) for name in _OPTIONS if name in kwargs}
        values = dict(zip(kernel.arg_names, args, strict=False)) | kwargs
        signature, constants, attributes = {}, {}, {}
        for index, parameter in enumerate(kernel.params):
            value = values[parameter.name]
            if parameter.is_constexpr or (isinstance(value, int) and value == 1):
                signature[parameter.name] = "constexpr"
                constants[parameter.name] = value
            elif isinstance(value, torch.Tensor):
                signature[parameter.name] = "*" + _TYPES[value.dtype]
                attributes[(index,)] = [["tt.divisibility", 16]]
            elif isinstance(value, int):
                signature[parameter.name] = "i32" if value < 2**31 else "i64"
                if value % 16 == 0:
                    attributes[(index,)] = [["tt.divisibility", 16]]
            else:
                signature[parameter.name] = "fp32"
        source = ASTSource(kernel, signature, constants, attributes)
        self.name = kernel.__name__
        self.binary = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
        self.ptx: str = self.binary.asm["ptx"]

    def count(self, pattern: str) -> int:
        """Returns how often a pattern occurs in the PTX."""
        return len(re.findall(pattern, self.ptx))


@contextmanager
def capture(capability: int) -> Iterator[list[Compiled]]:
    """Context in which operators on CPU tensors compile for a GPU instead of running; outputs stay unwritten."""
    done: list[Compiled] = []

    def launch(kernel: Any) -> Any:
        class Grid:
            def __getitem__(self, grid: object) -> Callable[..., None]:
                return lambda *args, **kwargs: done.append(Compiled(kernel, args, kwargs, capability))

        return Grid()

    with ExitStack() as stack:
        for name in _OPS:
            module = importlib.import_module(f"neurokit.kernels.{name}.op")
            stack.enter_context(mock.patch.object(module, "launch", launch))
            stack.enter_context(mock.patch.object(module, "use_triton", return_value=True))
        boxes = importlib.import_module("neurokit.kernels.spike_conv_lif.boxes")
        stack.enter_context(mock.patch.object(boxes, "launch", launch))
        stack.enter_context(mock.patch.object(boxes, "capability", return_value=divmod(capability, 10)))
        yield done

"""Tensor descriptors that a launch is given: the host makes them, where a kernel takes about 1.1 us for each.

On an H200 a kernel that reads two boxes and writes one takes 4.3 us with descriptors of its own making and 1.8 us with
the host's (100 programs, replayed from a CUDA graph; plain pointers: 1.0 us).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

from neurokit.errors import InputError
from neurokit.kernels._compat import INTERPRET, launch

with suppress(ImportError):  # what torch.compile writes, and finds in its cache, names this without importing it
    import_module("triton.tools.tensor_descriptor")

# A box's rows are laid out in shared memory by their bytes; a longer one is several, which AOTInductor's descriptors
# are not, and one of fewer rows has another layout, of which its helper does not know (PyTorch 2.11).
_ROW_BYTES = (32, 64, 128)
_FEWEST_ROWS = 8


@dataclass(frozen=True)
class Boxes:
    """A tensor that a kernel reads, or writes, by boxes.

    Attributes:
        tensor: Up to five axes, the last one dense, the other strides multiples of 16 bytes.
        shape: Of a box; powers of two.
    """

    tensor: Tensor
    shape: tuple[int, ...]


def host_makes(shape: tuple[int, ...], itemsize: int) -> bool:
    """Returns whether every way into a kernel makes the same descriptor of such boxes."""
    return shape[-1] * itemsize in _ROW_BYTES and math.prod(shape[:-1]) >= _FEWEST_ROWS


class Described:
    """A kernel some of whose arguments are `Boxes`: `Described(kernel)[grid](x=Boxes(...), ...)`."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel

    def __getitem__(self, grid: Any) -> Callable[..., Any]:
        return lambda **arguments: self._run(grid, arguments)

    def _run(self, grid: Any, arguments: dict[str, Any]) -> Any:
        blocks = {name: value.shape for name, value in arguments.items() if isinstance(value, Boxes)}
        if not INTERPRET and _traced():
            for name, shape in blocks.items():
                if not host_makes(shape, arguments[name].tensor.itemsize):
                    raise InputError(
                        f"{name} is given in boxes of {list(shape)}", expected="rows of 32, 64 or 128 bytes, 8 or more"
                    )
            plain = {name: value.tensor if name in blocks else value for name, value in arguments.items()}
            return _tracer(blocks).call_triton_kernel(launch(self._kernel)[grid], (), plain, None)
        make = _maker(self._kernel)
        given = {name: make(value) if name in blocks else value for name, value in arguments.items()}
        overlaps = {} if INTERPRET else {"launch_pdl": True}  # the kernel waits itself for those before it
        return launch(self._kernel)[grid](**given, **overlaps)


def described(kernel: Any) -> Described:
    """Returns the kernel in a form that takes `Boxes` and that torch.compile can trace through."""
    return Described(kernel)


def _maker(kernel: Any) -> Callable[[Boxes], Any]:
    """Returns what makes a descriptor of boxes for a kernel of Triton or of Gluon."""
    if not INTERPRET and kernel.is_gluon():
        from triton.experimental.gluon.nvidia.hopper import TensorDescriptor as GluonDescriptor

        from neurokit.kernels.common.gluon_source import layout_of

        def make(boxes: Boxes) -> Any:
            layout = layout_of(boxes.shape, 8 * boxes.tensor.itemsize)
            return GluonDescriptor.from_tensor(boxes.tensor, list(boxes.shape), layout)

        return make
    from triton.tools.tensor_descriptor import TensorDescriptor

    return lambda boxes: TensorDescriptor.from_tensor(boxes.tensor, list(boxes.shape))


def _traced() -> bool:
    from torch._library.triton import is_wrap_triton_enabled

    return bool(is_wrap_triton_enabled())


def _tracer(blocks: dict[str, tuple[int, ...]]) -> Any:
    """Returns PyTorch's tracer of a launch, which hands on the boxes: its own (2.11) does so in dynamo alone."""
    from torch._higher_order_ops import triton_kernel_wrap

    class Tracer(triton_kernel_wrap.TracingTritonHOPifier):
        def call_HOP(self, variable: Any, grids: Any, combined_args: dict[str, Any], tx: None) -> None:  # noqa: N802
            kwargs, constants = self.store_non_graphable_args(combined_args)
            return triton_kernel_wrap.triton_kernel_wrapper_mutation(
                kernel_idx=variable.kernel_idx,
                constant_args_idx=constants,
                grid=grids,
                tma_descriptor_metadata={name: ("stable", (shape,)) for name, shape in blocks.items()},
                kwargs=kwargs,
            )

    return Tracer()

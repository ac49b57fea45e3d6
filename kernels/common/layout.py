"""How a tensor lies in memory, as far as the kernels care."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.nn import Parameter


def is_dense(tensor: Tensor) -> bool:
    """Returns whether the tensor fills one block of memory without gaps or overlap, in any order of its axes."""
    expected = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size == 1:
            continue
        if stride != expected:
            return False
        expected *= size
    return True


def power_of_two(number: int) -> int:
    """Returns the smallest power of two that is not below a number."""
    return 1 << (number - 1).bit_length()


def is_time_major(tensor: Tensor) -> bool:
    """Returns whether `[T, ...]` is T dense blocks one behind the other."""
    return is_dense(tensor) and (tensor.shape[0] == 1 or tensor.stride(0) * tensor.shape[0] == tensor.numel())


def repeats_a_step(tensor: Tensor) -> bool:
    """Returns whether `[T, ...]` is one step seen T times (an expanded tensor), however that lies."""
    return tensor.shape[0] > 1 and tensor.stride(0) == 0


def repeats_one_step(tensor: Tensor) -> bool:
    """Returns whether `[T, ...]` is one contiguous step seen T times, of which a kernel is given one."""
    return repeats_a_step(tensor) and tensor[0].is_contiguous()


def one_step(tensor: Tensor) -> Tensor:
    """Returns the one step of a tensor that repeats it, else the tensor: a kernel is given what is dense.

    A compiler promises a kernel the order of an argument's strides, not the strides: what repeats a step, its stride of
    time 0, may come as a copy with time innermost.
    """
    return tensor[0] if repeats_one_step(tensor) else tensor


def is_traced(tensor: Tensor) -> bool:
    """Returns whether a compiler traces: the tensor is none of numbers, and a kernel's arguments will be another's."""
    return type(tensor) not in (Tensor, Parameter)


def like(tensor: Tensor, model: Tensor) -> Tensor:
    """Returns the tensor with the strides of `model`, itself if it has them already."""
    if tensor.stride() == model.stride():
        return tensor
    out = tensor.new_empty_strided(model.shape, model.stride())
    return out.copy_(tensor)


def steps_of(tensor: Tensor | None) -> Tensor | None:
    """Returns the tensor contiguous, or one contiguous step of it seen T times where it repeats a step.

    Of a step that lies otherwise that one alone is copied: a compiler may hold a convolution for contiguous that it
    then computes channels-last.
    """
    if tensor is None or repeats_one_step(tensor):
        return tensor
    return tensor[0].contiguous().expand(tensor.shape) if repeats_a_step(tensor) else tensor.contiguous()


def tokens_apart(*spikes: Tensor) -> list[Tensor]:
    """Returns spikes whose tokens lie one behind the other, equally far apart: slices of one wider tensor do.

    Traced ones are made dense: a compiler promises the order of strides, and not how far apart tokens lie.
    """
    if any(is_traced(x) for x in spikes):
        return [x.contiguous() for x in spikes]
    found = set()
    for x in spikes:
        _, batch, tokens, _ = x.shape
        row = x.stride(2)
        regular = x.stride() == (batch * tokens * row, tokens * row, row, 1) and row % (16 // x.itemsize) == 0
        found.add(row if regular else None)
    return list(spikes) if len(found) == 1 and None not in found else [x.contiguous() for x in spikes]


def hint(size: Any) -> int:
    """Returns a size, or what a traced one stands for; asking for it sets no condition on the trace."""
    return size if isinstance(size, int) else int(size.node.hint)

"""Inputs of kernels that PyTorch's compiler computes once, however many of a kernel's arguments they are."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neurokit.export.aoti.replaced import replaced

_TENSORS = "kwargs"  # of a launch in a traced program: the kernel's arguments, by name


@contextmanager
def inputs_computed_once() -> Iterator[None]:
    """Has what a kernel is given be written once, and not once for every argument that it is.

    Some views of a value that is not in memory yet (a reshape of a permutation) are copied to have the strides that the
    program was traced with. PyTorch 2.11 copies them for every argument, and the convolution by boxes has eight that
    may be its spikes: the kernel that rounded the numbers of `resnet34` before a convolution wrote them eight times.
    Arguments by name are those of launches alone; other operations are as they were.
    """
    from torch._inductor import graph, lowering

    by_example, by_node = lowering.constrain_to_fake_tensor, graph.constrain_to_fx_strides

    def like_example(arg: Any, fake: Any) -> Any:
        if not isinstance(arg, dict) or not isinstance(fake, dict):
            return by_example(arg, fake)
        first = _first(arg, {name: _strides(value) for name, value in fake.items()})
        made = {name: by_example(arg[name], fake[name]) for name in dict.fromkeys(first.values())}
        return {name: made[one] for name, one in first.items()}

    def like_nodes(node: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        given = kwargs.get(_TENSORS)
        if not isinstance(given, dict):
            return by_node(node, *args, **kwargs)
        first = _first(given, {name: id(value) for name, value in node.kwargs[_TENSORS].items()})
        once = {name: given[name] for name in dict.fromkeys(first.values())}
        args, made = by_node(node, *args, **{**kwargs, _TENSORS: once})
        return args, {**made, _TENSORS: {name: made[_TENSORS][one] for name, one in first.items()}}

    with (
        # Not the function that calls it: PyTorch asks whether an operation's constraint is that very one.
        replaced(lowering, "constrain_to_fake_tensor", like_example),
        replaced(graph, "constrain_to_fx_strides", like_nodes),
    ):
        yield


def _first(given: dict[str, Any], wanted: dict[str, Any]) -> dict[str, str]:
    """Returns of each argument the first one that is the same value and wanted alike."""
    names: dict[Any, str] = {}
    return {name: names.setdefault((id(value), wanted[name]), name) for name, value in given.items()}


def _strides(fake: Any) -> str:
    """Returns the strides of a traced argument, which may be computed; "" of one that is no tensor."""
    return str(fake.stride()) if hasattr(fake, "stride") else ""

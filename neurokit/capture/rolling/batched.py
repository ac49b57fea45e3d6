"""Operations of one step, run for all T steps at once: the steps' tensors come stacked, `[T, *shape]`."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from neurokit.capture.rolling.indexed import fits, indexed

aten = torch.ops.aten


def batched(target: Any, places: Collection[int], args: Any, kwargs: Any) -> Any:
    """Runs an operation for all steps.

    Args:
        target: The operation.
        places: Which of the flattened arguments are stacked.
        args: Its arguments, nested as the operation takes them.
        kwargs: Its keyword arguments.

    Returns:
        What it puts out, every tensor stacked.
    """
    if target is aten.matmul.default and not _by_matrices(places, args):
        return _mapped(target, places, args, kwargs)
    if torch.Tag.pointwise in getattr(target, "tags", ()) or target in _ALIGNED:
        return _aligned(target, places, args, kwargs)
    if target in _FOLDED:
        return _folded(target, places, args, kwargs)
    if target in _TRAILING and tuple(places) == _TRAILING[target]:
        return target(*args, **kwargs)
    if target is aten.linear.default and 1 in places:  # a weight that is another at every step
        return _linear(places, *args)
    if target in _CELLS:
        return _recurrent_cell(target, places, *args)
    if target in (aten.cat.default, aten.stack.default):
        return _joined(target, places, *args, **kwargs)
    if target in _SHIFTED and tuple(places) == (0,):
        return _SHIFTED[target](target, *args, **kwargs)
    if fits(target, places, args, kwargs):
        return indexed(target, places, args)
    own = _OWN.get(target)
    if own is not None and tuple(places) == (0,):
        return own(*args, **kwargs)
    return _mapped(target, places, args, kwargs)


def _aligned(target: Any, places: Collection[int], args: Any, kwargs: Any) -> Any:
    """Element by element, or matrix by matrix: axes are put in so that the steps do not meet another axis."""
    flat, spec = tree_flatten((args, kwargs))
    ranks = [value.dim() - (at in places) for at, value in enumerate(flat) if isinstance(value, Tensor)]
    most = max(ranks)
    for at in places:
        value = flat[at]
        missing = most - (value.dim() - 1)
        if missing:
            flat[at] = value.reshape(value.shape[0], *[1] * missing, *value.shape[1:])
    given, named = tree_unflatten(flat, spec)
    return target(*given, **named)


def _folded(target: Any, places: Collection[int], args: Any, kwargs: Any) -> Any:
    """The steps become further samples of the batch, the first axis of the first argument."""
    if tuple(places) != (0,):
        return _mapped(target, places, args, kwargs)
    x = args[0]
    y = target(x.flatten(0, 1), *args[1:], **kwargs)
    return y.unflatten(0, (x.shape[0], x.shape[1]))


def _linear(places: Collection[int], x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """`x W^T + b` with weights `[T, out, in]`, and whatever else is stacked."""
    rank = x.dim() - (0 in places)
    lead = [1] * (rank - 1)
    turned = weight.transpose(-1, -2).reshape(weight.shape[0], *[1] * max(rank - 2, 0), *weight.shape[:0:-1])
    y = (x.unsqueeze(-2) @ turned).squeeze(-2) if rank == 1 else x @ turned
    if bias is None:
        return y
    return y + (bias.reshape(bias.shape[0], *lead, bias.shape[1]) if 2 in places else bias)


def _by_matrices(places: Collection[int], args: Any) -> bool:
    """Returns whether torch takes the steps for further samples: of two matrices, or before one vector for all."""
    ranks = [value.dim() - (at in places) for at, value in enumerate(args)]
    return min(ranks) >= 2 or (tuple(places) == (0,) and ranks[1] == 1)


def _recurrent_cell(target: Any, places: Collection[int], x: Tensor, state: Any, *weights: Any) -> Any:
    """A cell of torch, whose steps here do not read each other: they become further samples of its batch."""
    values = [x, *(state if isinstance(state, list | tuple) else (state,))]
    steps = next(values[at].shape[0] for at in places)
    full = [v if at in places else v.unsqueeze(0).expand(steps, *v.shape) for at, v in enumerate(values)]
    given, *states = (value.flatten(0, 1) for value in full)
    made = target(given, states if isinstance(state, list | tuple) else states[0], *weights)
    sizes = full[0].shape[:2]
    if isinstance(made, Tensor):
        return made.unflatten(0, sizes)
    return type(made)(value.unflatten(0, sizes) for value in made)


def _joined(target: Any, places: Collection[int], tensors: Any, axis: int = 0) -> Tensor:
    """Joins tensors of every step; one that is the same at every step is put there first."""
    steps = next(tensors[at].shape[0] for at in places)
    full = [
        value if at in places else value.unsqueeze(0).expand(steps, *value.shape) for at, value in enumerate(tensors)
    ]
    return target(full, _later(axis))


def _mapped(target: Any, places: Collection[int], args: Any, kwargs: Any) -> Any:
    """Any other operation, step by step; over a free T by torch.vmap, which a trace does not take of every one."""
    flat, spec = tree_flatten((args, kwargs))
    order = sorted(places)

    def one(*values: Tensor) -> Any:
        full = list(flat)
        for at, value in zip(order, values, strict=True):
            full[at] = value
        given, named = tree_unflatten(full, spec)
        return target(*given, **named)

    steps = flat[order[0]].shape[0]
    if not isinstance(steps, int):
        return torch.vmap(one)(*(flat[at] for at in order))
    found = [one(*values) for values in zip(*(flat[at].unbind(0) for at in order), strict=True)]
    if isinstance(found[0], Tensor):
        return torch.stack(found)
    return type(found[0])(torch.stack(values) for values in zip(*found, strict=True))


def _later(axis: Any) -> Any:
    if isinstance(axis, list | tuple):
        return [_later(one) for one in axis]
    return axis if axis < 0 else axis + 1


def _axis_second(target: Any, x: Any, axis: int = 0, *more: Any, **kwargs: Any) -> Any:
    return target(x, _later(axis), *more, **kwargs)


def _axes_last_two(target: Any, x: Any, a: int, b: int, *more: Any, **kwargs: Any) -> Any:
    return target(x, _later(a), _later(b), *more, **kwargs)


def _flatten(target: Any, x: Tensor, start: int = 0, end: int = -1) -> Tensor:
    return target(x, _later(start), _later(end))


def _reduce(target: Any, x: Tensor, axes: Any = None, *more: Any, **kwargs: Any) -> Any:
    axes = list(range(1, x.dim())) if axes is None or axes == [] else _later(axes)
    return target(x, axes, *more, **kwargs)


def _split_axis(target: Any, x: Tensor, size: Any, axis: int = 0) -> Any:
    return target(x, size, _later(axis))


def _permute(target: Any, x: Tensor, axes: Any) -> Any:
    return target(x, [0, *_later([axis % (x.dim() - 1) for axis in axes])])


def _shape(target: Any, x: Tensor, shape: Any) -> Any:
    return target(x, [x.shape[0], *shape])


def _expand(x: Tensor, shape: Any, **kwargs: Any) -> Tensor:
    missing = len(shape) - (x.dim() - 1)
    return x.reshape(x.shape[0], *[1] * missing, *x.shape[1:]).expand(x.shape[0], *shape)


def _total(x: Tensor, **kwargs: Any) -> Tensor:
    return aten.sum.dim_IntList(x, list(range(1, x.dim())), **kwargs)


def _average(x: Tensor, **kwargs: Any) -> Tensor:
    return aten.mean.dim(x, list(range(1, x.dim())), **kwargs)


def _spread(target: Any) -> Callable[..., Any]:
    def over_all(x: Tensor, unbiased: bool = True) -> Any:
        return target(x, list(range(1, x.dim())), correction=int(unbiased))

    return over_all


def _squeeze_dims(x: Tensor, axes: Any) -> Tensor:
    return aten.squeeze.dims(x, [axis % (x.dim() - 1) + 1 for axis in axes])


def _unflatten(x: Tensor, axis: int, sizes: Any) -> Tensor:
    return aten.unflatten.int(x, _later(axis), sizes)


def _repeat(x: Tensor, times: Any) -> Tensor:
    missing = len(times) - (x.dim() - 1)
    return x.reshape(x.shape[0], *[1] * missing, *x.shape[1:]).repeat(1, *times)


def _pad(x: Tensor, widths: Any, mode: str = "constant", value: float | None = None) -> Tensor:
    """Pads the last axes; what torch pads with other than a number may have no axes more than a batch."""
    if mode == "constant":
        return aten.pad.default(x, widths, mode, value)
    return aten.pad.default(x.flatten(0, 1), widths, mode, value).unflatten(0, x.shape[:2])


_ALIGNED = {
    aten.matmul.default,
    aten.where.self,
    aten.clone.default,
    aten.detach.default,
    aten.contiguous.default,
    aten.to.dtype,
    aten.to.device,
    aten.to.other,
    aten.to.dtype_layout,
    aten._to_copy.default,
    aten.type_as.default,
    aten.alias.default,
    aten.zeros_like.default,
    aten.ones_like.default,
    aten.full_like.default,
}
_FOLDED = {
    aten.conv1d.default,
    aten.conv2d.default,
    aten.conv3d.default,
    aten.conv1d.padding,
    aten.conv2d.padding,
    aten.conv3d.padding,
    aten.conv_transpose1d.default,
    aten.conv_transpose2d.input,
    aten.conv_transpose3d.input,
    aten.batch_norm.default,
    aten.group_norm.default,
    aten.instance_norm.default,
    aten.avg_pool1d.default,
    aten.avg_pool2d.default,
    aten.avg_pool3d.default,
    aten.max_pool1d.default,
    aten.max_pool2d.default,
    aten.max_pool3d.default,
    aten.adaptive_avg_pool1d.default,
    aten.adaptive_avg_pool2d.default,
    aten.adaptive_avg_pool3d.default,
    aten.adaptive_max_pool2d.default,
    aten.pixel_shuffle.default,
    aten.pixel_unshuffle.default,
    aten.upsample_nearest1d.vec,
    aten.upsample_nearest2d.vec,
    aten.upsample_bilinear2d.vec,
    aten.upsample_nearest2d.default,
    aten.upsample_bilinear2d.default,
}
_CELLS = {aten.lstm_cell.default, aten.gru_cell.default, aten.rnn_tanh_cell.default, aten.rnn_relu_cell.default}
# What works along the last axes, and which of its arguments may be stacked for that.
_TRAILING = {
    aten.linear.default: (0,),
    aten.layer_norm.default: (0,),
    aten.constant_pad_nd.default: (0,),
    aten.embedding.default: (1,),
}
_SHIFTED: dict[Any, Callable[..., Any]] = {
    **dict.fromkeys(
        (
            aten.unsqueeze.default,
            aten.squeeze.dim,
            aten.select.int,
            aten.slice.Tensor,
            aten.softmax.int,
            aten.log_softmax.int,
            aten.unbind.int,
            aten.cumsum.default,
            aten.index_select.default,
        ),
        _axis_second,
    ),
    **dict.fromkeys((aten.chunk.default, aten.split.Tensor, aten.split_with_sizes.default), _split_axis),
    **dict.fromkeys(
        (
            aten.mean.dim,
            aten.sum.dim_IntList,
            aten.amax.default,
            aten.amin.default,
            aten.argmax.default,
            aten.std.correction,
            aten.var.correction,
            aten.std.dim,
            aten.var.dim,
        ),
        _reduce,
    ),
    aten.transpose.int: _axes_last_two,
    aten.flatten.using_ints: _flatten,
    aten.permute.default: _permute,
    aten.view.default: _shape,
    aten.reshape.default: _shape,
}
_OWN: dict[Any, Callable[..., Any]] = {
    aten.expand.default: _expand,
    aten.sum.default: _total,
    aten.std.default: _spread(aten.std.correction),  # torch's vmap has no rule for these two
    aten.var.default: _spread(aten.var.correction),
    aten.mean.default: _average,
    aten.squeeze.dims: _squeeze_dims,
    aten.unflatten.int: _unflatten,
    aten.repeat.default: _repeat,
    aten.pad.default: _pad,
}

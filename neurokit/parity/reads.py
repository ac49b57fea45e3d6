"""Which weights the reference's runs read: those that meet a number other than 0 in some sample, step and place."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F

from neurokit.parity.unseen import Unread
from neurokit.program.ops import Kind, kind_of, names_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor
    from torch.fx import Node

_PASSED_ON = (Kind.KEEP, Kind.MOVE, Kind.CAST)
_NAMED = 4  # inputs that were 0 throughout, named in the report


class Reads:
    """Notes, for every weight of a linear operation or table, which parts of it a run multiplied by a number but 0.

    Called with every operation of a run (`neurokit.capture.reference.record`). A weight's part is an input feature,
    of a convolution one tap of an input channel, of a table a row: what one number of the input meets.
    """

    def __init__(self) -> None:
        self._met: dict[str, Tensor] = {}
        self._weights: dict[str, tuple[int, int]] = {}
        self._whole: set[str] = set()

    def __call__(self, node: Node, target: Any, args: tuple[Any, ...]) -> None:
        """Notes one operation."""
        for at, look, dead in _parts(target, args):
            name = _parameter(node.args[at])
            if name is None or self._all_met(name):
                continue
            met = look()
            if name in self._met and self._met[name].shape != met.shape:
                continue
            self._met[name] = self._met[name] | met if name in self._met else met
            if name not in self._weights:
                self._weights[name] = (int(args[at].numel()), int(dead().sum()))

    def _all_met(self, name: str) -> bool:
        """Returns whether nothing more can be noted of a weight: looking through what it meets takes long."""
        if name in self._met and name not in self._whole and bool(self._met[name].all()):
            self._whole.add(name)
        return name in self._whole

    def unread(self, first: Reads) -> tuple[Unread, ...]:
        """Returns what is to be said of each weight of which something was not read.

        Args:
            first: The reads of the test vectors' run alone; these are those of all runs.
        """
        found = []
        for name, (size, dead) in self._weights.items():
            met, alone = self._met[name], first._met.get(name)
            each = size // max(1, met.numel())
            features = ~met.reshape(len(met), -1).any(1)
            entry = Unread(
                name,
                size,
                each * int((~(met if alone is None else alone)).sum()),
                each * int((~met).sum()),
                tuple(features.nonzero()[:_NAMED, 0].tolist()),
                dead,
                len(met),
            )
            if entry.in_vectors or entry.dead:
                found.append(entry)
        return tuple(found)


def joined(runs: list[Reads]) -> Reads:
    """Returns what any of several runs read."""
    whole = Reads()
    for run in runs:
        whole._weights |= run._weights
        for name, met in run._met.items():
            whole._met[name] = whole._met[name] | met if name in whole._met else met
    return whole


def _parts(target: Any, args: tuple[Any, ...]) -> list[tuple[int, Callable[[], Tensor], Callable[[], Tensor]]]:
    """Returns places of weights among the arguments, and what looks for parts met and for features that are all 0."""
    kind, name = kind_of(target), names_of(target)[1]
    if name == "embedding":
        return [(0, lambda: _rows(len(args[0]), args[1]), lambda: torch.zeros(0, dtype=torch.bool))]
    if kind is Kind.LINEAR and name == "linear":
        return [(1, lambda: _features(args[0], -1), lambda: _zero(args[1], -1))]
    if kind is Kind.CONVOLVE:
        return [(1, lambda: _taps_met(name, args), lambda: _channels_of_zeros(name, args))]
    if name in ("matmul", "mm", "bmm", "addmm"):
        a, b = (1, 2) if name == "addmm" else (0, 1)
        rows = -2 if args[b].dim() > 1 else -1
        return [
            (b, lambda: _features(args[a], -1), lambda: _zero(args[b], rows)),
            (a, lambda: _features(args[b], rows), lambda: _zero(args[a], -1)),
        ]
    return []


def _rows(count: int, chosen: Tensor) -> Tensor:
    """Returns which of so many rows are among those chosen."""
    met = torch.zeros(count, dtype=torch.bool)
    met[chosen.reshape(-1).long()] = True
    return met


def _features(x: Tensor, axis: int) -> Tensor:
    """Returns which indices of an axis hold a number other than 0 anywhere."""
    others = [at for at in range(x.dim()) if at != axis % x.dim()]
    return (x != 0).any(dim=others) if others else x != 0


def _zero(weight: Tensor, axis: int) -> Tensor:
    """Returns which input features, along an axis of a weight, have weights that are all 0."""
    if weight.numel():
        first = weight.movedim(axis, -1)
        while first.dim() > 1:
            first = first[0]
        if (first != 0).all():  # one output that reads all of them is enough
            return first == 0
    return ~_features(weight, axis)


def _taps_met(name: str, args: tuple[Any, ...]) -> Tensor:
    """Returns which taps of which input channel of a convolution met a number, `[C_in, taps]`."""
    x, weight = args[0], args[1]
    axes = weight.dim() - 2
    if _transposed(name, args):  # every number of the input meets every tap
        return _features(x, -axes - 1)
    stride, padding, dilation = (_each(args, at, axes, default) for at, default in ((3, 1), (4, 0), (5, 1)))
    margins = []
    for axis in reversed(range(axes)):
        whole = dilation[axis] * (weight.shape[2 + axis] - 1)
        ends = {"same": (whole // 2, whole - whole // 2), "valid": (0, 0)}.get(str(padding[axis]))
        margins += list(ends or (int(padding[axis]),) * 2)
    every = torch.ones((), dtype=torch.bool).expand(x.shape[-axes - 1], math.prod(weight.shape[2:]))
    samples, single = x.reshape(-1, *x.shape[-axes - 1 :]), all(step == 1 for step in stride)
    if single and len(samples) > 1 and _meets_all(_padded(samples[0] != 0, margins), weight, dilation):
        return every  # mostly one sample is enough
    present = (samples != 0).any(0)
    channels = len(present)
    if present.all():  # of all channels the same
        present = present[:1]
    present = _padded(present, margins)
    if single and _meets_all(present, weight, dilation):
        return every
    met = []
    for tap in itertools.product(*(range(k) for k in weight.shape[2:])):
        starts = [d * k for d, k in zip(dilation, tap, strict=True)]
        last = [n - d * (k - 1) for n, d, k in zip(present.shape[1:], dilation, weight.shape[2:], strict=True)]
        reach = tuple(slice(s, s + n, by) for s, n, by in zip(starts, last, stride, strict=True))
        met.append(present[(slice(None), *reach)].reshape(len(present), -1).any(1))
    return torch.stack(met, 1).expand(channels, -1)


def _padded(present: Tensor, margins: list[int]) -> Tensor:
    return F.pad(present, margins) if any(margins) else present


def _meets_all(present: Tensor, weight: Tensor, dilation: list[Any]) -> bool:
    """Whether every channel `[C, ...]`, padded, holds a number where all taps of a convolution by single steps pass."""
    wide = [d * (k - 1) for d, k in zip(dilation, weight.shape[2:], strict=True)]
    common = present[(slice(None), *(slice(w, n - w) for w, n in zip(wide, present.shape[1:], strict=True)))]
    return bool(common.numel()) and bool(common.reshape(len(present), -1).any(1).all())


def _channels_of_zeros(name: str, args: tuple[Any, ...]) -> Tensor:
    """Returns which input channels of a convolution have weights that are all 0."""
    weight = args[1]
    if _transposed(name, args):
        return _zero(weight, 0)
    groups = int(args[8] if name == "convolution" else args[6] if len(args) > 6 else 1)
    grouped = weight.reshape(groups, -1, *weight.shape[1:])
    if weight.numel():
        first = (grouped[:, 0] != 0).reshape(groups * weight.shape[1], -1).any(1)
        if first.all():  # one output that reads all of them is enough
            return ~first
    return (grouped == 0).movedim(1, 2).reshape(groups * weight.shape[1], -1).all(1)


def _transposed(name: str, args: tuple[Any, ...]) -> bool:
    return "transpose" in name or (name == "convolution" and bool(args[6]))


def _each(args: tuple[Any, ...], at: int, axes: int, default: int) -> list[Any]:
    """Returns a setting of a convolution for every axis."""
    given = args[at] if len(args) > at else default
    values = list(given) if isinstance(given, list | tuple) else [given]
    return values * axes if len(values) == 1 else values


def _parameter(node: Any) -> str | None:
    """Returns the name of the weight that an argument is, as it is or moved; None for what is computed."""
    while getattr(node, "op", "") == "call_function" and kind_of(node.target) in _PASSED_ON and node.args:
        node = node.args[0]
    return str(node.target) if getattr(node, "op", "") == "get_attr" else None

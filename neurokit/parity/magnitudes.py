"""How each kind of operation changes a tensor's sum of absolute values, and how often its terms are rounded."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit.parity.units import unit_of
from neurokit.program.nodes import hints
from neurokit.program.ops import LOOK_UPS, Kind, names_of, operation
from neurokit.program.walk import Rule, leaves, mapped

UNIT = unit_of(torch.float32)
LAMBDA = 10.0
_ESTIMATED = 64  # roundings that an operation outside the analysis is taken for


def gamma(roundings: int, unit: float = UNIT) -> float:
    """Returns the relative error bound of a sum whose terms are each rounded `roundings` times, by at most `unit`."""
    if roundings == 0:
        return 0.0
    share = roundings * unit
    certain = share / (1.0 - share) if share < 0.5 else math.inf
    likely = LAMBDA * math.sqrt(roundings) * unit + share * unit / (1.0 - unit)
    return min(certain, math.expm1(min(likely, 500.0)))


def roundings_for(share: float) -> int:
    """Returns so many roundings that their error bound is at least this share of a number."""
    return math.ceil(max(share / UNIT, (math.log1p(share) / (LAMBDA * UNIT)) ** 2)) if share > 0 else 0


@dataclass(frozen=True)
class Magnitude:
    """A tensor's sum of absolute values, and how often each of its terms was rounded.

    Attributes:
        size: At least the magnitude of each element, and of what its error is a share of.
        roundings: How often a term was rounded at most; 0 says that every implementation has the same number.
        rigorous: Whether the bound is proven.
        unit: Unit roundoff of the network's type.
    """

    size: Tensor
    roundings: int
    rigorous: bool = True
    unit: float = UNIT

    def error(self) -> Tensor:
        """Returns the largest error that rounding may have made, element by element."""
        whole = not self.size.is_floating_point()  # an index or a count that was chosen by real numbers
        # bounds of half precision would underflow
        size = self.size if self.unit <= UNIT and not whole else self.size.float()
        if self.roundings == 0:
            return torch.zeros_like(size)
        most = torch.finfo(size.dtype).max  # where it is infinite, and where it is infinity over infinity
        return (size * gamma(self.roundings, self.unit)).nan_to_num(nan=most, posinf=most)


def is_real(value: Any) -> bool:
    """Returns whether a value takes part in the analysis."""
    return isinstance(value, Magnitude) or (isinstance(value, Tensor) and value.is_floating_point())


def size_of(value: Any) -> Any:
    """Returns the sizes of a magnitude, the magnitudes of a constant's elements, and anything else as it is."""
    if isinstance(value, Magnitude):
        return value.size
    return value.abs() if isinstance(value, Tensor) and value.is_floating_point() else value


def shape_of(value: Any) -> torch.Size:
    """Returns the shape of a magnitude or a constant; `size_of` would compute the numbers of a constant for it."""
    return (value.size if isinstance(value, Magnitude) else value).shape


def _absolute(value: Any) -> Any:
    """As `size_of`, for an operation that computes with its numbers as well."""
    return abs(value) if isinstance(value, int | float) and not isinstance(value, bool) else size_of(value)


def _count(value: Any) -> int:
    return value.roundings if isinstance(value, Magnitude) else 0


def _rigorous(*values: Any) -> bool:
    return all(leaf.rigorous for leaf in leaves(values) if isinstance(leaf, Magnitude))


def _most(*values: Any) -> int:
    return max((_count(leaf) for leaf in leaves(values)), default=0)


def same(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation whose results are elements of what it is given."""
    if names_of(target)[1] in LOOK_UPS and any(isinstance(leaf, Magnitude) for leaf in leaves(args[1:])):
        return _looked_up(target, args)
    if names_of(target)[1] == "one_hot":
        return _one_hot(run, args[0])
    made = target(*mapped(size_of, args), **mapped(size_of, kwargs))
    count, rigorous = _most(args, kwargs), _rigorous(args, kwargs)

    def wrapped(value: Any) -> Any:
        return Magnitude(value, count, rigorous) if isinstance(value, Tensor) else value

    return type(made)(map(wrapped, made)) if type(made) in (list, tuple) else mapped(wrapped, made)


def _signed(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A magnitude or a negative: as large as what it is of."""
    made = same(run, target, args, kwargs)
    return replace(made, size=made.size.abs()) if isinstance(made, Magnitude) else made


def _looked_up(target: Any, args: tuple[Any, ...]) -> Magnitude:
    """Elements at places that real numbers chose: a magnitude is no place, so as large as any of them."""
    places = mapped(lambda leaf: _first_place(leaf.size) if isinstance(leaf, Magnitude) else leaf, args[1:])
    data = size_of(args[0])
    made = target(data, *places)
    return Magnitude(torch.full_like(made, data.max()), _most(args) + _ESTIMATED, rigorous=False)


def _first_place(size: Tensor) -> Tensor:
    return torch.zeros_like(size, dtype=torch.int64 if size.is_floating_point() else size.dtype)


def _one_hot(run: Any, places: Any) -> Magnitude:
    """Ones in places that real numbers chose."""
    classes = hints(run.node)[-1]
    return Magnitude(torch.ones(*size_of(places).shape, classes), _count(places) + _ESTIMATED, rigorous=False)


def whole_numbers(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    """Whether an operation is on indices that real numbers have chosen, and on no real numbers: it is exact."""
    if args and isinstance(args[0], Magnitude) and args[0].size.is_floating_point():
        return False
    chosen = False
    for leaf in leaves((args, kwargs)):
        if not isinstance(leaf, Tensor | Magnitude):
            continue
        kind = (leaf.size if isinstance(leaf, Magnitude) else leaf).dtype
        if kind.is_floating_point:
            return False
        chosen = chosen or (isinstance(leaf, Magnitude) and kind != torch.bool)
    return chosen


def _cast(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A change of element type: exact between float32 and float64, and from whole numbers and decisions."""
    made = same(run, target, args, kwargs)
    if not isinstance(made, Magnitude):
        return made
    source = size_of(args[0]).dtype
    kept = made.size.dtype in (torch.float32, torch.float64) or made.size.dtype == source
    return made if kept else unknown(run, target, args, kwargs)


def _padded(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Padding: by elements of the tensor, or by a constant."""
    absolute = tuple(abs(a) if at > 1 and isinstance(a, int | float) else a for at, a in enumerate(args))
    if isinstance(kwargs.get("value"), int | float):
        kwargs = {**kwargs, "value": abs(kwargs["value"])}
    return same(run, target, absolute, kwargs)


def _limited(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude:
    """A limit moves no two numbers apart, so that the error stays; the result may be the limit itself."""
    name = names_of(target)[1]
    ends = [*args[1:], *kwargs.values()]
    size = size_of(args[0])
    if any(isinstance(end, Tensor | Magnitude) for end in ends):
        tensors = [size_of(end) for end in ends if isinstance(end, Tensor | Magnitude)]
        for tensor in tensors:
            size = torch.maximum(*torch.broadcast_tensors(size, tensor))
    elif name.startswith(("clamp", "clip", "hardtanh")):
        low = next((v for v in (args[1] if len(args) > 1 else None, kwargs.get("min")) if v is not None), -math.inf)
        high = next((v for v in (args[2] if len(args) > 2 else None, kwargs.get("max")) if v is not None), math.inf)
        if name.startswith("clamp_max"):
            low, high = -math.inf, low
        if name.startswith("hardtanh"):
            low, high = (-1.0 if low == -math.inf else low), (1.0 if high == math.inf else high)
        return _within(args[0], low, high)
    return (
        _within(args[0], 0.0, 6.0) if name == "relu6" else Magnitude(size, _most(args, kwargs), _rigorous(args, kwargs))
    )


def _within(x: Any, low: float, high: float) -> Magnitude:
    """A value between two limits: no larger than they are, and off by no more than before and than they are apart."""
    size = size_of(x).clamp_min(max(low, -high, 0.0))
    largest = max(abs(low), abs(high))
    count = _count(x)
    if not math.isfinite(largest) or largest == 0.0 or not size.numel() or float(size.max()) <= largest:
        return Magnitude(size, count, _rigorous(x))
    off = min(float(size.max()) * gamma(count), high - low)
    return Magnitude(torch.full_like(size, largest), max(count, roundings_for(off / largest)), _rigorous(x))


def _rounded(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude | None:
    """Rounding jumps; of a number that every implementation has alike it is exact."""
    if _count(args[0]) or kwargs.get("decimals"):
        return None
    return Magnitude(size_of(args[0]).ceil(), 0, _rigorous(args[0]))


def _compared(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """A comparison jumps too; what it says of numbers that every implementation has alike is certain."""
    bits = names_of(target)[1].startswith(("__", "bitwise"))  # of decisions, which the analysis holds as numbers
    read = (lambda value: _decision(size_of(value))) if bits else size_of
    made = target(*mapped(read, args), **mapped(read, kwargs))
    count = _most(args, kwargs)
    ones = torch.ones(made.shape, dtype=torch.get_default_dtype())
    return Magnitude(ones, count + _ESTIMATED if count else 0, _rigorous(args, kwargs) and not count)


def _decision(value: Any) -> Any:
    return value != 0 if isinstance(value, Tensor) and value.is_floating_point() else value


def _chosen(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude | None:
    """Elements of one tensor or another, as a condition says."""
    if len(args) < 3:
        return None
    named = names_of(target)[1].startswith("where")
    condition, options = (args[0], args[1:3]) if named else (args[1], (args[0], args[2]))
    sizes = [torch.as_tensor(_absolute(option)) for option in options]
    if isinstance(condition, Tensor):  # a mask: the same in every implementation
        return Magnitude(torch.where(condition, sizes[0], sizes[1]), _most(args), _rigorous(args))
    sizes = [
        s if isinstance(o, Magnitude) else s.masked_fill(s.isinf(), 0.0) for s, o in zip(sizes, options, strict=True)
    ]
    size = torch.maximum(*torch.broadcast_tensors(*sizes)).expand(
        torch.broadcast_shapes(*(s.shape for s in sizes), size_of(condition).shape)
    )
    return Magnitude(size, _most(args), _rigorous(args) and not _count(condition))


def _largest(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The largest or smallest of several: off by no more than the most that one of them is off."""
    _, name, overload = names_of(target)
    if name in ("maximum", "minimum") or overload == "other":
        size = torch.maximum(*torch.broadcast_tensors(size_of(args[0]), size_of(args[1])))
        return Magnitude(size, _most(args), _rigorous(args))
    if name in ("max", "min", "amax", "amin"):
        axes = args[1] if len(args) > 1 else kwargs.get("dim", [])
        size = torch.amax(size_of(args[0]), axes or [], *args[2:3])
        return Magnitude(size, _most(args), _rigorous(args))
    made = same(run, target, args, kwargs)
    if not isinstance(made, tuple | list):
        return made
    return (made[0], *(_estimate(part) for part in made[1:]))  # places may differ where values are close


def _added(extra: Callable[..., int]) -> Rule:
    """A sum of products of its operands: run on absolute values, with its roundings counted."""

    def rule(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude:
        size = target(*mapped(_absolute, args), **mapped(_absolute, kwargs))
        count = sum(_count(leaf) for leaf in leaves((args, kwargs))) + extra(target, args, size)
        return Magnitude(size, count, _rigorous(args, kwargs))

    return rule


def _layer(extra: Callable[..., int]) -> Rule:
    """A convolution, linear map or sum: its settings are no numbers to compute with, but its operands are."""

    def rule(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude:
        scales = {key: abs(v) if key in ("alpha", "beta") else size_of(v) for key, v in kwargs.items()}
        size = target(*(_size_once(run, at, arg) for at, arg in enumerate(args)), **scales)
        count = sum(_count(leaf) for leaf in leaves((args, kwargs))) + extra(target, args, size)
        return Magnitude(size, count + len(scales), _rigorous(args, kwargs))

    return rule


def _size_once(run: Any, at: int, value: Any) -> Any:
    """As `size_of`, of an argument of the node that is run: the magnitudes of a weight are those of every walk."""
    if not isinstance(value, Tensor):
        return mapped(size_of, value)
    node = _constant(run, at)
    return size_of(value) if node is None else run.once(("magnitudes", node.target), lambda: size_of(value))


def _constant(run: Any, at: int) -> Any:
    """Returns the node of an argument that is a tensor of the program, or None."""
    node = run.node.args[at] if run.node is not None and at < len(run.node.args) else None
    return node if getattr(node, "op", "") == "get_attr" else None


def _plus(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude:
    a, b = args[0], args[1]
    first, second = _absolute(a), _absolute(b)
    alpha = abs(kwargs.get("alpha", args[2] if len(args) > 2 else 1))
    size = alpha * first + second if names_of(target)[1].startswith("rsub") else first + alpha * second
    return Magnitude(size, _most(a, b) + (1 if alpha == 1 else 2), _rigorous(a, b))


def _times(target: Any, args: tuple[Any, ...], size: Tensor) -> int:
    """Roundings of a product: none by a power of two, two by a number that float32 has not."""
    number = next((a for a in args[:2] if isinstance(a, int | float)), None)
    if number is None:
        return 1
    if number == 0 or math.frexp(abs(float(number)))[0] == 0.5:
        return 0
    return 1 if float(torch.tensor(float(number), dtype=torch.float32)) == float(number) else 2


def _divided(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude | None:
    """A quotient by constants; one by an activation grows without bound where that is small."""
    if isinstance(args[1], Magnitude) or kwargs.get("rounding_mode"):
        return None
    return _added(_times)(run, target, args, kwargs)


def _batch_norm(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude | None:
    if names_of(target)[1] != "batch_norm" or any(isinstance(a, Magnitude) for a in args[1:]):
        return None
    x, given = args[0], args[1:5]
    eps = next(a for a in reversed(args) if isinstance(a, float))
    shape = [1, -1] + [1] * (size_of(x).dim() - 2)

    def settings() -> tuple[Tensor, Tensor]:
        weight, bias, mean, var = given
        scale = torch.rsqrt(var + eps) * (weight.abs() if weight is not None else 1.0)
        shift = mean.abs() * scale + (bias.abs() if bias is not None else 0.0)
        return scale.reshape(shape), shift.reshape(shape)

    fixed = all(given[at - 1] is None or _constant(run, at) is not None for at in range(1, 5))
    scale, shift = run.once(("normalisation", run.node), settings) if fixed else settings()
    return Magnitude((size_of(x) * scale).add_(shift), _count(x) + 6, _rigorous(x))


def _interpolated(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Magnitude | None:
    """Weighted means of neighbours, each implementation computing weights and places in float32.

    A place on an axis of n elements is computed as scale * (i + 1/2) - 1/2, off by at most 3 n u; that moves a weight
    by as much, and the result by as much times the largest neighbour. A cubic has four neighbours an axis, weights of
    magnitudes that add up to 1.375 (a = -0.75), and slopes below 2.
    """
    size = size_of(args[0])
    axes = size.dim() - 2
    cubic = "cubic" in names_of(target)[1]
    radius = 2 if cubic else 1
    pool = (F.max_pool1d, F.max_pool2d, F.max_pool3d)[axes - 1]
    near = pool(size, 2 * radius + 1, 1, radius)
    name = {1: "upsample_linear1d", 2: "upsample_bilinear2d", 3: "upsample_trilinear3d"}[axes]
    smooth = getattr(getattr(torch.ops.aten, name), names_of(target)[2])
    made = smooth(near, *args[1:], **kwargs) * (2.0 if cubic else 1.0)
    moved = (24 if cubic else 8) * sum(max(a, b) for a, b in zip(size.shape[2:], made.shape[2:], strict=True))
    # Errors of places are no random roundings: n u for the certain bound, 10 sqrt(n) u for the other.
    extra = max(moved, math.ceil((moved / LAMBDA) ** 2)) + 3 * 4**axes
    return Magnitude(made, _count(args[0]) + extra, _rigorous(args[0]))


def unknown(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """An operation outside the analysis: taken as accurate to 64 roundings of its largest result."""
    if "softmax" in names_of(target)[1]:
        args = mapped(_left_out, args)
    made = same(run, target, args, kwargs)
    return mapped(_estimate, made)


def _left_out(value: Any) -> Any:
    """Returns magnitudes with minus infinity where a mask put it: what is left out has no share."""
    if not isinstance(value, Magnitude):
        return value
    return replace(value, size=value.size.masked_fill(value.size.isinf(), -math.inf))


def _estimate(made: Any) -> Any:
    if not isinstance(made, Magnitude):
        return made
    if made.size.dtype == torch.bool:  # the result of a comparison
        return Magnitude(torch.ones_like(made.size), made.roundings + _ESTIMATED, rigorous=False)
    size = torch.full_like(made.size, float(made.size.abs().max()) if made.size.numel() else 0.0)
    return Magnitude(size, made.roundings + _ESTIMATED, rigorous=False)


def _fan_in(target: Any, args: tuple[Any, ...], size: Tensor) -> int:
    """Roundings of one output of a convolution: its products, their sum and the bias."""
    shape = shape_of(args[1])
    transposed = "transpose" in names_of(target)[1] or (names_of(target)[1] == "convolution" and args[6])
    return math.prod(shape[2:]) * int(shape[0 if transposed else 1]) + 2


def _depth(target: Any, args: tuple[Any, ...], size: Tensor) -> int:
    """Roundings of one element of a product of matrices: its products, their sum and the bias."""
    name = names_of(target)[1]
    if name == "einsum":
        letters = args[0].replace(" ", "").partition("->")
        sizes = {
            letter: int(n)
            for term, part in zip(letters[0].split(","), args[1], strict=True)
            for letter, n in zip(term, shape_of(part), strict=False)
        }
        return len(args[1]) * (math.prod(n for letter, n in sizes.items() if letter not in letters[2]) + 1)
    return int(shape_of(args[1] if name == "addmm" else args[0])[-1]) + (3 if name == "addmm" else 2)


def _reduced(target: Any, args: tuple[Any, ...], size: Tensor) -> int:
    """Roundings of a sum or mean: of every term that one result is made of."""
    return int(shape_of(args[0]).numel() // max(1, size.numel())) + 1


def _window(target: Any, args: tuple[Any, ...], size: Tensor) -> int:
    """Roundings of an average over windows: no window is larger than the whole picture."""
    axes = int(names_of(target)[1][-2])
    return math.prod(shape_of(args[0])[-axes:]) + 1


def _decaying(run: Any, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Linear attention: sums of non-negative products whose weights are the decays, which are no magnitudes.

    A weight is an exponential of a decay times a number of tokens N, off by N + 2 roundings of its exponent, at most
    as many roundings of itself, as x e^-x stays below 1.
    """
    q, k, v, decay, state = args
    made = target(size_of(q), size_of(k), size_of(v), -size_of(decay).abs(), size_of(state))
    tokens, width = size_of(q).shape[2:]
    count = _most(args) + 2 * tokens + 2 * int(width) + 8
    return tuple(Magnitude(value, count, rigorous=False) for value in made)


#: One rule a kind of operation; what has none is estimated.
RULES: dict[Kind, Rule] = {
    **dict.fromkeys((Kind.KEEP, Kind.MOVE, Kind.JOIN), same),
    Kind.SIGN: _signed,
    Kind.CAST: _cast,
    Kind.PAD: _padded,
    Kind.LIMIT: _limited,
    Kind.ROUND: _rounded,
    Kind.COMPARE: _compared,
    Kind.CHOOSE: _chosen,
    Kind.MAXIMUM: _largest,
    Kind.ADD: _plus,
    Kind.MULTIPLY: _added(_times),
    Kind.DIVIDE: _divided,
    Kind.CONVOLVE: _layer(_fan_in),
    Kind.LINEAR: _layer(_depth),
    Kind.PRODUCT: _layer(_depth),
    Kind.SUM: _layer(_reduced),
    Kind.POOL: _layer(_window),
    Kind.INTERPOLATE: _interpolated,
    Kind.NORMALISE: _batch_norm,
    Kind.DECAYING: _decaying,
}


def proven(target: Any) -> bool:
    """Returns whether the bound of an operation's result is proven, where its constants allow."""
    known = operation(target)
    return known is not None and known.kind in RULES

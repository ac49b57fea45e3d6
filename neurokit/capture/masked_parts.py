"""Elements that a mask picks and that are written back where it holds: a choice for every element, of no free size.

`reset[fired] = ones[fired]` and `v[fired] -= threshold` read as many elements as there are spikes, which no program
of fixed shapes holds. What is read is kept whole beside its mask until it is written under the same mask; element by
element the same comes out. What else is asked of it is asked of the elements themselves, as torch would.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

_COMPARED = ("gt", "ge", "lt", "le", "eq", "ne", "invert", "and", "or", "logical_not", "logical_and", "logical_or")
_NAMED = """add sub mul div true_divide neg abs exp log sqrt square sigmoid tanh relu clamp clone zeros_like ones_like
    detach sign floor ceil round pow maximum minimum float double rsub"""
_ARITHMETIC = ("add", "sub", "mul", "truediv", "pow")
_OPERATORS = [f"__{name}__" for name in _ARITHMETIC] + [f"__r{name}__" for name in _ARITHMETIC]
_PER_ELEMENT = frozenset((*_NAMED.split(), *_OPERATORS, "__neg__", "__abs__"))
# Of the elements themselves.
_OTHERS = """__gt__ __ge__ __lt__ __le__ __eq__ __ne__ __and__ __or__ __xor__ __invert__ __matmul__ __floordiv__ __mod__
    __len__ __iter__ __bool__ __float__ __int__ __getitem__ __setitem__"""


class MaskedParts(TorchFunctionMode):
    """Keeps what masks pick whole, and writes it back as a choice.

    It is asked of every operation, and of every size and type that torch itself reads: until a mask has picked
    something, no part is looked for.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if func is Tensor.__getitem__ and _is_mask(*args):
            x, mask = args
            return Part(x.clone(), mask, mask.clone(), mask._version)  # both may be written to later
        if Part.made:
            if func is Tensor.__setitem__ and isinstance(args[2], Part) and args[2].belongs(*args[:2]):
                into, part = args[0], args[2]
                into.copy_(torch.where(part.condition, part.whole, into))
                return None
            if any(isinstance(value, Part) for value in (*args, *kwargs.values())):
                return _of_all(func, args, kwargs)
            args, kwargs = _plain(args), _plain(kwargs)
        made = func(*args, **kwargs)
        if kwargs or not isinstance(made, Tensor) or _name(func) not in _COMPARED:
            return made
        if made.dtype is torch.bool:
            versions = tuple(value._version for value in args if isinstance(value, Tensor))
            made._made_by = _Comparison(_name(func), args, versions, made._version)  # type: ignore[attr-defined]
        return made


class Part:
    """Elements of a tensor where a mask holds.

    Args:
        whole: All elements.
        mask: Which of them; of its first axes, or of all.
        chosen: The mask as it was then.
        version: How often the mask had been written to by then.

    Attributes:
        made: Whether there ever was one.
    """

    made = False

    def __init__(self, whole: Tensor, mask: Tensor, chosen: Tensor, version: int) -> None:
        Part.made = True
        self.whole, self.mask, self.chosen, self.version = whole, mask, chosen, version

    @property
    def condition(self) -> Tensor:
        """The mask, which can be spread over all elements."""
        return self.chosen[(...,) + (None,) * (self.whole.dim() - self.chosen.dim())]

    @property
    def elements(self) -> Tensor:
        """The elements themselves."""
        with torch._C.DisableTorchFunction():
            return self.whole[self.chosen]

    def belongs(self, into: Any, mask: Any) -> bool:
        """Whether it can be written into a tensor where a mask holds."""
        same = isinstance(into, Tensor) and into.shape == self.whole.shape and into.dtype is self.whole.dtype
        return same and self.picked_by(mask)

    def picked_by(self, mask: Any) -> bool:
        """Whether a mask holds where this one held."""
        return self.mask._version == self.version and _same(mask, self.mask)

    def __getattr__(self, name: str) -> Any:
        if name in _PER_ELEMENT:
            return lambda *args, **kwargs: _of_all(getattr(torch.Tensor, name), (self, *args), kwargs)
        return getattr(self.elements, name)

    __hash__ = object.__hash__

    @classmethod
    def __torch_function__(
        cls, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        return _of_all(func, args, kwargs or {})


def _operator(name: str) -> Any:
    return lambda *args: _of_all(getattr(torch.Tensor, name), args, {})


for _each in (*_OPERATORS, "__neg__", "__abs__", *_OTHERS.split()):
    setattr(Part, _each, _operator(_each))


def _of_all(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Runs a function of parts: on all elements where it goes element by element, else on the parts' own."""
    values = (*args, *kwargs.values())
    parts = [value for value in values if isinstance(value, Part)]
    others = [value for value in values if isinstance(value, Tensor) and value.dim()]
    alike = all(parts[0].picked_by(part.mask) and part.whole.shape == parts[0].whole.shape for part in parts)
    alike = alike and all(part.mask._version == part.version for part in parts)
    if _name(func) not in _PER_ELEMENT or others or not alike:
        return func(*_plain(args), **_plain(kwargs))
    whole = func(*(_whole(value) for value in args), **{name: _whole(value) for name, value in kwargs.items()})
    return Part(whole, parts[0].mask, parts[0].chosen, parts[0].version)


def _whole(value: Any) -> Any:
    return value.whole if isinstance(value, Part) else value


def _plain(value: Any) -> Any:
    """Returns arguments with the elements of parts in their place."""
    if isinstance(value, Part):
        return value.elements
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    return type(value)(_plain(each) for each in value) if type(value) in (tuple, list) else value


def _is_mask(x: Any, mask: Any) -> bool:
    if not isinstance(mask, Tensor) or not isinstance(x, Tensor) or mask.dtype is not torch.bool or not mask.dim():
        return False
    return mask.shape == x.shape[: mask.dim()]


def _same(a: Any, b: Any) -> bool:
    """Whether two masks are one tensor, or made by the same comparison of the same values."""
    if a is b:
        return True
    first, second = getattr(a, "_made_by", None), getattr(b, "_made_by", None)
    if first is None or second is None or first.name != second.name or first.versions != second.versions:
        return False
    if (a._version, b._version) != (first.version, second.version):
        return False
    pairs = zip(first.args, second.args, strict=False)
    return len(first.args) == len(second.args) and all(x is y or _one_number(x, y) or _same(x, y) for x, y in pairs)


def _one_number(a: Any, b: Any) -> bool:
    return isinstance(a, int | float) and type(a) is type(b) and a == b


@dataclass(frozen=True)
class _Comparison:
    """How a mask was made: by which comparison, of what, and how often each tensor and it had been written to then."""

    name: str
    args: tuple[Any, ...]
    versions: tuple[int, ...]
    version: int


def _name(func: Any) -> str:
    name = str(getattr(func, "__name__", ""))
    bare = name.strip("_")
    return bare if bare in _COMPARED else name

"""Random draws of a module's forward, seen and supplied: what `torch.rand` and its relatives return comes from outside.

Every draw is one of two, uniform in [0, 1) or standard normal, and what a function makes of it is a rule of that
function. So `bernoulli(p)` is `u < p`, and a dropout mask is `u < 1 - p`: the same distributions as torch's, of numbers
that whoever calls the module can know, repeat and hand to something else.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_MOST_CHOICES = 2**20  # of a whole number made of a uniform one of 24 bits
_SELU_ALPHA = 1.7580993408473766  # negative saturation of SELU: Klambauer et al., NeurIPS 2017


class Supply(Protocol):
    """Where draws come from."""

    def __call__(self, call: str, path: str, normal: bool, shape: tuple[Any, ...], dtype: torch.dtype) -> Tensor:
        """Returns the draw that a call of a random function is made of.

        Args:
            call: Name of the function.
            path: Path of the innermost module whose code called it.
            normal: Whether it is standard normal, else uniform in [0, 1).
            shape: Its shape.
            dtype: Its type; a supplied draw may be wider, as where a module runs in float64.
        """
        ...


class Draws(TorchFunctionMode):
    """While it is entered, random functions that a module's code calls take their draws from a supply.

    Args:
        module: The module that runs.
        supply: Where draws come from.
    """

    taken = 0  # draws of all modules so far: what runs a part can tell whether that part draws

    def __init__(self, module: nn.Module, supply: Supply) -> None:
        super().__init__()
        self._paths = {id(part): path for path, part in module.named_modules(remove_duplicate=False)}
        self._supply = supply

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Replaces the random functions that have a rule; any other runs as it is."""
        rule = _RULES.get(func)
        if rule is None:
            return func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", str(func))

        def take(normal: bool, shape: Any, dtype: torch.dtype) -> Tensor:
            sizes = tuple(shape)
            Draws.taken += 1
            return self._supply(name, self._caller(), normal, sizes, dtype).reshape(sizes)

        return rule(take, *args, **(kwargs or {}))

    def _caller(self) -> str:
        """Returns the path of the innermost module of whose code this is a part."""
        frame = sys._getframe(1)
        while frame is not None:
            owner = frame.f_locals.get("self")
            if isinstance(owner, nn.Module) and id(owner) in self._paths:
                return self._paths[id(owner)].removesuffix(".cell")  # a neuron of another library, in its twin
            frame = frame.f_back  # type: ignore[assignment]
        return ""


class Watch(TorchDispatchMode):
    """Notes every random operation that is run while it is entered."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Runs the operation."""
        if torch.Tag.nondeterministic_seeded in func.tags:
            self.seen.append(str(func.overloadpacket).rpartition(".")[2])
        return func(*args, **(kwargs or {}))


Take = Callable[[bool, Any, torch.dtype], Tensor]


def _sizes(args: Sequence[Any], kwargs: Mapping[str, Any]) -> tuple[Any, ...]:
    """Returns the sizes that a factory was given, one by one or in one sequence."""
    given = (kwargs["size"],) if "size" in kwargs else tuple(args)
    return tuple(given[0]) if len(given) == 1 and isinstance(given[0], tuple | list | torch.Size) else given


def _asked(value: Tensor, kwargs: Mapping[str, Any]) -> Tensor:
    """Returns a draw in the type that was asked for by name; else it stays as wide as it is."""
    return value if kwargs.get("dtype") is None else value.to(kwargs["dtype"])


def _factory(normal: bool) -> Callable[..., Tensor]:
    def rule(take: Take, *args: Any, **kwargs: Any) -> Tensor:
        dtype = kwargs.get("dtype") or torch.get_default_dtype()
        return _asked(take(normal, _sizes(args, kwargs), dtype), kwargs)

    return rule


def _like(normal: bool) -> Callable[..., Tensor]:
    def rule(take: Take, x: Tensor, **kwargs: Any) -> Tensor:
        dtype = kwargs.get("dtype") or x.dtype
        return take(normal, x.shape, dtype).to(dtype)

    return rule


def _randint(take: Take, *args: Any, **kwargs: Any) -> Tensor:
    *bounds, size = args if "size" not in kwargs else (*args, kwargs["size"])
    return _whole(take, bounds, size, kwargs, torch.int64)


def _randint_like(take: Take, x: Tensor, *bounds: Any, **kwargs: Any) -> Tensor:
    return _whole(take, bounds, x.shape, kwargs, x.dtype)


def _whole(take: Take, bounds: Sequence[Any], size: Any, kwargs: Mapping[str, Any], dtype: torch.dtype) -> Tensor:
    """Returns whole numbers from low to high, high left out."""
    given = [*bounds, *(kwargs[key] for key in ("low", "high") if key in kwargs)]
    low, high = given if len(given) == 2 else (0, given[0])
    if high - low > _MOST_CHOICES:
        raise NotImplementedError(f"randint over {high - low} numbers is finer than a draw")
    u = take(False, size, torch.float32)
    return (low + torch.floor(u * (high - low))).to(kwargs.get("dtype") or dtype)


def _bernoulli(take: Take, x: Tensor, p: float | None = None, **kwargs: Any) -> Tensor:
    u = take(False, x.shape, x.dtype if x.is_floating_point() else torch.float32)
    return (u < (x if p is None else p)).to(x.dtype)


def _bernoulli_(take: Take, x: Tensor, p: Any = 0.5, **kwargs: Any) -> Tensor:
    return x.copy_((take(False, x.shape, _real(x)) < p).to(x.dtype))


def _uniform_(take: Take, x: Tensor, *bounds: float, **kwargs: Any) -> Tensor:
    named = {**dict(zip(("from", "to"), bounds, strict=False)), **kwargs}  # "from" is no name of a parameter in Python
    low, high = named.get("from", 0.0), named.get("to", 1.0)
    return x.copy_(take(False, x.shape, _real(x)) * (high - low) + low)


def _normal_(take: Take, x: Tensor, mean: float = 0.0, std: float = 1.0, **kwargs: Any) -> Tensor:
    return x.copy_(take(True, x.shape, _real(x)) * std + mean)


def _normal(take: Take, mean: Any, std: Any = 1.0, size: Any = None, **kwargs: Any) -> Tensor:
    tensors = [value for value in (mean, std) if isinstance(value, Tensor)]
    shape = size if size is not None else torch.broadcast_shapes(*(value.shape for value in tensors))
    dtype = tensors[0].dtype if tensors else kwargs.get("dtype") or torch.get_default_dtype()
    return _asked(take(True, shape, dtype) * std + mean, kwargs)


def _exponential_(take: Take, x: Tensor, lambd: float = 1.0, **kwargs: Any) -> Tensor:
    return x.copy_(-torch.log1p(-take(False, x.shape, _real(x))) / lambd)


def _dropout(take: Take, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return _dropped(take, x, x.shape, p, training, inplace)


def _feature_dropout(take: Take, x: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    return _dropped(take, x, (*x.shape[:2], *[1] * (x.dim() - 2)), p, training, inplace)


def _dropped(take: Take, x: Tensor, shape: Any, p: float, training: bool, inplace: bool) -> Tensor:
    if not training or p == 0.0:
        return x
    kept = (take(False, shape, x.dtype) < 1.0 - p).to(x.dtype)
    y = x * (kept / (1.0 - p) if p < 1.0 else kept)
    return x.copy_(y) if inplace else y


def _alpha_dropout(take: Take, x: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    if not training or p == 0.0:
        return x
    scale = 0.0 if p == 1.0 else 1.0 / math.sqrt((_SELU_ALPHA**2 * p + 1.0) * (1.0 - p))
    kept = (take(False, x.shape, x.dtype) < 1.0 - p).to(x.dtype)
    y = x * (kept * scale) + (kept - 1.0) * (_SELU_ALPHA * scale) + _SELU_ALPHA * scale * p
    return x.copy_(y) if inplace else y


def _real(x: Tensor) -> torch.dtype:
    return x.dtype if x.is_floating_point() else torch.float32


_RULES: dict[Any, Callable[..., Tensor]] = {
    torch.rand: _factory(False),
    torch.randn: _factory(True),
    torch.rand_like: _like(False),
    torch.randn_like: _like(True),
    torch.randint: _randint,
    torch.randint_like: _randint_like,
    torch.bernoulli: _bernoulli,
    torch.Tensor.bernoulli: _bernoulli,
    torch.Tensor.bernoulli_: _bernoulli_,
    torch.normal: _normal,
    torch.Tensor.normal_: _normal_,
    torch.Tensor.uniform_: _uniform_,
    torch.Tensor.exponential_: _exponential_,
    torch.dropout: _dropout,
    F.dropout: _dropout,
    torch.feature_dropout: _feature_dropout,
    F.dropout1d: _feature_dropout,
    F.dropout2d: _feature_dropout,
    F.dropout3d: _feature_dropout,
    torch.alpha_dropout: _alpha_dropout,
    F.alpha_dropout: _alpha_dropout,
}


def random_functions() -> Iterator[str]:
    """Yields the names of the functions that have a rule."""
    yield from dict.fromkeys(getattr(function, "__name__", str(function)) for function in _RULES)

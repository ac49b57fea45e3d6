"""Where a module that repeats its image itself keeps the number of its steps, and how it is given another.

By name it is an attribute `T`. Others call it `num_steps` or `time_window`, keep it in a configuration, or write the
number into their forward. What it is is found by running a copy: with another number there the neurons take as many
steps. A number that is written into `range(4)` is changed by what the user's file finds under the name `range` while
the module runs; every result of such a step form is compared with the whole run, like any other.
"""

from __future__ import annotations

import builtins
import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.capture.neurons import is_stateful
from neurokit.capture.resets import acting_on_adopted
from neurokit.errors import ModelLoadError
from neurokit.spec import ModelSpec

_LIBRARIES = ("torch", "torchvision", "spikingjelly", "snntorch", "norse", "neurokit", "timm")
_LITERAL = "range"
_RANGE = "_neurokit_range"  # of a module: the number that its code counts to, and what it counts to instead


@dataclass(frozen=True)
class Places:
    """Where a module keeps its number of steps.

    Attributes:
        steps: The number that is there.
        held: Module path, attribute, and the key in that where it is a dictionary or an object: "" where it is neither.
        literal: Whether it is written into a `range` of the user's own code.
    """

    steps: int
    held: tuple[tuple[str, str, str], ...] = ()
    literal: bool = False

    def __bool__(self) -> bool:
        return bool(self.held) or self.literal

    def set(self, net: nn.Module, steps: int) -> None:
        """Writes another number."""
        for path, name, key in self.held:
            holder: Any = net.get_submodule(path)
            if not key:
                setattr(holder, name, steps)
            elif isinstance(vars(holder)[name], dict):
                vars(holder)[name][key] = steps
            else:
                object.__setattr__(vars(holder)[name], key, steps)
        if self.literal:
            setattr(net, _RANGE, (self.steps, steps))


PLACES = "_neurokit_steps"


def find_steps(net: nn.Module, spec: ModelSpec) -> Places | None:
    """Returns where a copied module that repeats its image keeps its T, or None if no such place is found."""
    steps = spec.time_steps
    if spec.time_input != "image" or not isinstance(steps, int):
        return None
    named: dict[str, list[tuple[str, str, str]]] = {}
    for place in _numbers(net, steps):
        named.setdefault(place[2] or place[1], []).append(place)
    taken = _steps_taken(net, spec, Places(steps))
    if not taken:
        return None
    for _, held in sorted(named.items(), key=lambda entry: entry[0] != "T"):
        found = Places(steps, tuple(held))
        if _follows(net, spec, found, taken):
            return found
    literal = Places(steps, (), True)
    return literal if _follows(net, spec, literal, taken) else None


def _numbers(net: nn.Module, steps: int) -> Iterator[tuple[str, str, str]]:
    """Yields every attribute of the user's own modules that holds T, also inside of a dictionary or an object."""
    for path, module in net.named_modules():
        if is_stateful(module) or type(module).__module__.partition(".")[0] in _LIBRARIES:
            continue
        for name, value in vars(module).items():
            if name.startswith("_"):
                continue
            if _is(value, steps):
                yield path, name, ""
            inner = value if isinstance(value, dict) else getattr(value, "__dict__", None)
            if isinstance(inner, Mapping) and not isinstance(value, nn.Module | Tensor):
                yield from (
                    (path, name, key) for key, held in inner.items() if isinstance(key, str) and _is(held, steps)
                )


def _is(value: Any, steps: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value == steps


def _follows(net: nn.Module, spec: ModelSpec, places: Places, taken: tuple[int, ...]) -> bool:
    """Returns whether every neuron takes as many steps as is written there."""
    for steps in (places.steps + 1, 2 * places.steps):
        found = _steps_taken(net, spec, places, steps)
        if found != tuple(count * steps // places.steps for count in taken):
            return False
    return True


def _steps_taken(net: nn.Module, spec: ModelSpec, places: Places, steps: int | None = None) -> tuple[int, ...]:
    """Returns how many steps every neuron of a copy takes of one image, () where it does not run."""
    made = copy.deepcopy(net)
    if steps is not None:
        places.set(made, steps)
    counts: list[int] = []

    def watch(index: int, multi: bool) -> Any:
        def hook(_module: nn.Module, given: tuple[Any, ...], _output: Any) -> None:
            counts[index] += int(given[0].shape[0]) if multi else 1

        return hook

    for module in made.modules():
        if is_stateful(module):
            counts.append(0)
            module.register_forward_hook(watch(len(counts) - 1, getattr(module, "step_mode", "m") == "m"))
    count = steps if steps is not None else spec.time_steps
    shapes = [replace(port, shape=port.sizes_over(count)).numbers for port in spec.inputs]
    given = [
        torch.rand(2, *shape).to(getattr(torch, port.dtype)) for port, shape in zip(spec.inputs, shapes, strict=True)
    ]
    try:
        with torch.no_grad(), acting_on_adopted(made), own_range(made):
            made(*given)
    except Exception:
        return ()
    return tuple(counts)


@contextmanager
def own_range(net: nn.Module) -> Iterator[None]:
    """Lets `range(T)` in the user's own code count to what the module was given, while it runs."""
    steps, wanted = vars(net).get(_RANGE, (None, None))
    if steps == wanted:
        yield
        return

    def counted(*limits: Any) -> range:
        ours = limits in ((steps,), (0, steps), (0, steps, 1))
        return builtins.range(wanted) if ours else builtins.range(*limits)

    places = [scope for scope in _scopes(net) if _LITERAL not in scope]
    for scope in places:
        scope[_LITERAL] = counted
    try:
        yield
    finally:
        for scope in places:
            del scope[_LITERAL]


def _scopes(net: nn.Module) -> list[dict[str, Any]]:
    """Returns the global names of every file that a class of the user's modules is of."""
    found: dict[int, dict[str, Any]] = {}
    for module in net.modules():
        for cls in type(module).__mro__:
            if cls.__module__.partition(".")[0] in (*_LIBRARIES, "builtins"):
                continue
            scope = getattr(vars(cls).get("forward"), "__globals__", None)
            if scope is not None:
                found[id(scope)] = scope
    return list(found.values())


def own_steps(module: nn.Module) -> int | None:
    """Returns the attribute `T` of a module that repeats an image T times itself, or None."""
    own = getattr(module, "T", None)
    return own if isinstance(own, int) and not isinstance(own, bool) and own > 0 else None


def steps_are_held(module: nn.Module, spec: ModelSpec) -> bool:
    """Returns whether the number of steps is kept in attributes, where another can be written."""
    places = find_steps(module, spec)
    return places is not None and bool(places.held)


def build_with_steps(spec: ModelSpec, steps: int) -> Callable[[], nn.Module]:
    """Returns how a model that repeats its image itself is built with another number of steps.

    What is returned raises ModelLoadError where that number is in no attribute.
    """

    def build() -> nn.Module:
        module: Any = spec.build()
        if own_steps(module) is not None:
            module.T = steps
            return module
        places = find_steps(module, spec)
        if places is None or not places.held:
            raise ModelLoadError(
                f"model {spec.name!r} repeats its image itself, but has no attribute T or other to set to {steps}",
                fix=f"leave time_steps at {spec.time_steps}, or let the module repeat its input self.T times",
            )
        places.set(module, steps)
        return module

    return build

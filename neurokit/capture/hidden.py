"""State outside of the neurons: attributes and buffers that a module's forward writes and reads again at the next step.

A leaky readout kept as `self.mem`, a counter of steps, a running average in a buffer: what they hold after one step
changes what the next one gives. Each becomes a state of the program, with a name, beside the membranes.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import torch
from spikingjelly.activation_based import base
from torch import Tensor, nn

from neurokit.capture.drawing import uniform
from neurokit.capture.first_written import first_written, one_number
from neurokit.capture.neurons import is_stateful
from neurokit.capture.signature import Signature
from neurokit.capture.types import declared_state, initial_state
from neurokit.spec import ModelSpec

_SIMPLE = (Tensor, int, float, bool, type(None))


@dataclass(frozen=True)
class Place:
    """Where a hidden state is.

    Attributes:
        path: Module path.
        module: The module.
        name: Attribute or buffer.
        start: What it holds before the first step.
        begins: The number that None stands for.
    """

    path: str
    module: nn.Module
    name: str
    start: Any
    begins: float = 0.0

    def read(self) -> Any:
        """Returns what it holds."""
        return getattr(self.module, self.name)

    def write(self, value: Any) -> None:
        """Lets it hold another value; a buffer becomes an attribute, so that torch.export does not lift it."""
        self.module._buffers.pop(self.name, None)
        self.module._non_persistent_buffers_set.discard(self.name)
        object.__setattr__(self.module, self.name, value)


class Held(base.MemoryModule):  # type: ignore[misc]  # SpikingJelly carries no types
    """Stands in the list of stateful modules for one hidden state, as a memory of its own."""

    def __init__(self, place: Place) -> None:
        super().__init__()
        self.place = (place,)  # in a tuple: the module is a part of the network, not of this
        self.register_memory(place.name, 0.0)


def places(net: nn.Module) -> list[Place]:
    """Returns every attribute and buffer outside of the neurons that may hold state."""
    found = []
    inside: set[int] = set()
    for path, module in net.named_modules():
        if id(module) in inside:
            continue
        if is_stateful(module):
            inside.update(id(part) for part in module.modules())
            continue
        for name, value in [*vars(module).items(), *module._buffers.items()]:
            if not name.startswith("_") and isinstance(value, _SIMPLE) and name != "training":
                found.append(Place(path, module, name, _kept(value)))
    return found


def find_hidden(net: nn.Module, spec: ModelSpec, signature: Signature) -> list[Place]:
    """Returns what one step of a module leaves behind that changes the next, by running a copy of it.

    Args:
        net: A private copy of the user's module; as it is given, it stays.
        spec: What is known of it; its inputs are of one step, `[B, *shape]`.
        signature: How it is called.
    """
    trial = copy.deepcopy(net)
    trial_places = places(trial)
    generator = torch.Generator().manual_seed(0)
    given = tuple(uniform(port, (2, *port.numbers), generator) for port in spec.inputs)
    sizes = {name: dim.min for name, dim in spec.as_graph().dims.items()}
    given += tuple(initial_state(declared_state(state), 2, sizes) for state in spec.states)
    call = Signature(signature.graph, trial).call
    try:
        with torch.no_grad(), restored(trial):
            first = [*call(given), *_membranes(trial)]
            moved = [place for place in trial_places if not _same(place.read(), place.start)]
            after = {id(place): _kept(place.read()) for place in moved}
            kept = []
            for place in moved:
                _at_rest(trial, trial_places)
                place.write(_kept(after[id(place)]))  # a forward may write into it
                again = [*call(given), *_membranes(trial)]
                if not _all_same(first, again) or not _same(place.read(), after[id(place)]):
                    kept.append(place)
            begins = {id(place): _begins(trial, trial_places, place, call, given) for place in kept}
    except Exception:
        return []  # it does not run like this; what is wrong with it is said where it is run in earnest
    here = {(place.path, place.name): place for place in places(net)}
    return [replace(here[place.path, place.name], begins=begins[id(place)]) for place in kept]


def _membranes(net: nn.Module) -> list[Tensor]:
    """Returns what neurons hold: what a quiet network keeps may show in its membranes alone."""
    memories = (part._memories.values() for part in net.modules() if isinstance(part, base.MemoryModule))
    return [value for held in memories for value in held if isinstance(value, Tensor)]


def _begins(trial: nn.Module, rest: list[Place], place: Place, call: Any, given: tuple[Tensor, ...]) -> float:
    """Returns the number that a place which holds None before the first step starts from, 0 where it is not known."""
    if place.start is not None:
        return 0.0
    _at_rest(trial, rest)
    with first_written(place.module) as first:
        expected = [*call(given), place.read()]
    number = one_number(first.get(place.name))
    if not number or not isinstance(place.read(), Tensor):
        return 0.0
    start = torch.full_like(place.read(), number)
    _at_rest(trial, rest)
    place.write(start)
    return number if _all_same(expected, [*call(given), place.read()]) else 0.0


@contextmanager
def restored(net: nn.Module) -> Iterator[None]:
    """Brings neurons, attributes and buffers of a module back to what they were."""
    before = places(net)
    try:
        yield
    finally:
        _at_rest(net, before)


def _at_rest(net: nn.Module, before: list[Place]) -> None:
    for module in net.modules():
        if isinstance(module, base.MemoryModule):
            module._memories.update(copy.deepcopy(module._memories_rv))
    for place in before:
        if not _same(place.read(), place.start):
            place.write(_kept(place.start))


def _kept(value: Any) -> Any:
    return value.detach().clone() if isinstance(value, Tensor) else value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and bool(torch.equal(a, b))
    return type(a) is type(b) and bool(a == b)


def _all_same(first: Sequence[Tensor], second: Sequence[Tensor]) -> bool:
    return len(first) == len(second) and all(_same(a, b) for a, b in zip(first, second, strict=True))


def start_of(place: Place) -> Any:
    """Returns the number that every element of a hidden state starts from, or the tensor where there is no such."""
    value = place.start
    if value is None:
        return place.begins
    if isinstance(value, Tensor):
        same = value.numel() > 0 and bool((value == value.reshape(-1)[0]).all())
        return value.reshape(-1)[0].item() if same else value
    return value

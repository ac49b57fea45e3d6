"""Which draws a module's forward makes, and the module that takes them as further inputs."""

from __future__ import annotations

import copy
import inspect
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn

from neurokit.capture.cells import hands_on_state
from neurokit.capture.draws import Draws, Watch
from neurokit.capture.eager import own_random_numbers, rest, untouched
from neurokit.capture.probe import set_time_steps
from neurokit.capture.reference import example_inputs
from neurokit.errors import Unsupported
from neurokit.spec import ModelSpec, TensorSpec

_NORMAL_REACH = 4.0  # of a normal port's stated range, in standard deviations
_BATCHES = (2, 3, 5, 7)

Lead = Literal["B", "TB", "BT", "T*B"]  # which axes a draw begins with
Key = tuple[str, str, bool, int]  # call, module path, whether normal, number of axes


@dataclass(frozen=True)
class Drawn:
    """One draw that a trial saw."""

    call: str
    path: str
    normal: bool
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class Place:
    """Where the draws of one port are taken.

    Attributes:
        port: Name of the input.
        key: Call, module path, distribution and number of axes of the draws.
        lead: Which axes they begin with, in the module's order.
        by_step: Whether they are taken one time step after the other, `[B, ...]` each.
    """

    port: str
    key: Key
    lead: Lead
    by_step: bool


@dataclass(frozen=True)
class Plan:
    """The draws of a module.

    Attributes:
        ports: The inputs that they become.
        places: Where each is taken, in the same order.
        inputs: Names of the module's own inputs.
        time_input: What its forward takes over time, or "none".
        steps: T, of a module that repeats its image itself.
    """

    ports: tuple[TensorSpec, ...]
    places: tuple[Place, ...]
    inputs: tuple[str, ...]
    time_input: str
    steps: int | None

    def over_time(self) -> tuple[str, ...]:
        """Returns the ports that hold a draw for every step of an image that the module repeats itself."""
        timed = (place.port for place in self.places if place.by_step or "T" in place.lead)
        return tuple(timed) if self.time_input == "image" else ()

    def once(self) -> tuple[str, ...]:
        """Returns the ports whose one draw serves all steps of an image that the module repeats itself."""
        timed = self.over_time()
        return tuple(port.name for port in self.ports if port.name not in timed) if self.time_input == "image" else ()


class DrawsDifferError(RuntimeError):
    """A run made other draws than the trial did."""


class TakesDraws:
    """Mixed into a module's class: its forward takes draws behind its own inputs, and hands them to its code."""

    _draw_plan: Plan

    def forward(self, *given: Tensor) -> Any:
        """Runs the module's own forward with the draws that are given."""
        plan = self._draw_plan
        own = given[: len(plan.inputs)]
        drawn = {port.name: value for port, value in zip(plan.ports, given[len(own) :], strict=True)}
        supply = _Given(plan, drawn)
        forward: Any = super().forward  # type: ignore[misc]
        named = len(own) > 1 and set(plan.inputs) <= set(inspect.signature(forward).parameters)
        with Draws(self, supply):  # type: ignore[arg-type]
            y = forward(**dict(zip(plan.inputs, own, strict=True))) if named else forward(*own)
        supply.check()
        return y


def with_draws(module: nn.Module, plan: Plan) -> nn.Module:
    """Lets a module take its draws as inputs; its parts, their paths and its weights stay as they are."""
    kind = type(module)
    module.__class__ = type(kind.__name__, (TakesDraws, kind), {"__module__": kind.__module__, "_draw_plan": plan})
    return module


class _Given:
    """Hands the draws of one run to the places that take them."""

    def __init__(self, plan: Plan, values: dict[str, Tensor]) -> None:
        self._values, self._plan = values, plan
        self._places: dict[Key, list[Place]] = {}
        for place in plan.places:
            self._places.setdefault(place.key, []).append(place)
        self._taken: Counter[Key] = Counter()

    def __call__(self, call: str, path: str, normal: bool, shape: tuple[Any, ...], dtype: torch.dtype) -> Tensor:
        key = (call, path, normal, len(shape))
        places = self._places.get(key)
        if places is None:
            raise DrawsDifferError(f"{path or 'the module'} calls {call} for {list(shape)}, which no trial did")
        turn, self._taken[key] = self._taken[key], self._taken[key] + 1
        place = places[turn % len(places)]
        value = self._values[place.port]
        if not place.by_step:
            if turn >= len(places):
                raise DrawsDifferError(f"{path or 'the module'} calls {call} more often than a trial did")
            image = self._plan.time_input == "image"
            return value.transpose(0, 1) if place.lead in (("TB", "T*B") if image else ("BT",)) else value
        axis, step = 1 if self._plan.time_input == "image" else 0, turn // len(places)
        if step >= value.shape[axis]:
            raise DrawsDifferError(f"{path or 'the module'} calls {call} at more steps than there are draws for")
        return value.select(axis, step)

    def check(self) -> None:
        """Refuses a run that left draws over: it would be one of fewer steps.

        Raises:
            DrawsDifferError: If so.
        """
        axis = 1 if self._plan.time_input == "image" else 0
        for key, places in self._places.items():
            steps = self._values[places[0].port].shape[axis] if places[0].by_step else 1
            if self._taken[key] != len(places) * steps:
                raise DrawsDifferError(f"{key[1] or 'the module'} called {key[0]} {self._taken[key]} times")


def plan_of(spec: ModelSpec) -> Plan | list[Unsupported]:
    """Finds out by trial which draws a model makes, or why they cannot be inputs.

    Args:
        spec: The model; one graph without declared states.

    Raises:
        InputError: If the model does not run on its example.
    """
    module = untouched(spec.build())
    if hands_on_state(module):
        why = "it hands its state on by argument, and draws are handed over so"
        return [Unsupported("", spec.name, why, "keep the state in the module")]
    kind = "none" if spec.time_steps is None else spec.time_input
    trials = [_trial(module, spec, kind, steps, batch) for steps, batch in _sizes(spec, kind)]
    reasons = [reason for trial in trials[:1] for reason in _without_rule(spec, trial.unknown)]
    if reasons:
        return reasons
    found = _Finder(spec, kind, trials)
    places = found.places()
    if found.reasons:
        return found.reasons
    ports = tuple(found.ports)
    return Plan(ports, tuple(places), tuple(port.name for port in spec.inputs), kind, spec.time_steps)


@dataclass
class _Trial:
    steps: int | None
    batch: int
    drawn: list[Drawn]
    unknown: list[str]


def _sizes(spec: ModelSpec, kind: str) -> list[tuple[int | None, int]]:
    """Returns T and B of two trials: other numbers where the module takes them, and never T = B."""
    steps = spec.time_steps
    longer = steps + 1 if steps is not None and kind in ("sequence", "step") else steps
    first = next(b for b in _BATCHES if b not in (steps, longer))
    second = next(b for b in _BATCHES if b not in (steps, longer, first))
    return [(steps, first), (longer, second)]


def _trial(module: nn.Module, spec: ModelSpec, kind: str, steps: int | None, batch: int) -> _Trial:
    """Runs a copy of the module once, as its user calls it, and notes its draws; at its own T if no other works."""
    made = rest(copy.deepcopy(module))
    if kind == "image" and steps is not None:
        set_time_steps(made, steps)
    given = [value[0] if kind == "step" else value for value in example_inputs(spec, steps, batch, 0).values()]
    drawn: list[Drawn] = []

    def note(call: str, path: str, normal: bool, shape: tuple[Any, ...], dtype: torch.dtype) -> Tensor:
        drawn.append(Drawn(call, path, normal, tuple(map(int, shape)), str(dtype).removeprefix("torch.")))
        with torch.utils._python_dispatch._disable_current_modes():
            return (torch.randn if normal else torch.rand)(shape, dtype=torch.float32).to(dtype)

    with torch.no_grad(), own_random_numbers(0), Watch() as watch, Draws(made, note):
        try:
            _called(made, spec, given)
        except Exception:
            if steps == spec.time_steps:
                raise
            return _trial(module, spec, kind, spec.time_steps, batch)
    return _Trial(steps, batch, drawn, watch.seen)


def _called(module: nn.Module, spec: ModelSpec, given: Sequence[Tensor]) -> Any:
    names = [port.name for port in spec.inputs]
    if len(names) > 1 and set(names) <= set(inspect.signature(module.forward).parameters):
        return module(**dict(zip(names, given, strict=True)))
    return module(*given)


def _without_rule(spec: ModelSpec, operations: Sequence[str]) -> list[Unsupported]:
    fix = "draw by torch.rand, randn, randint, bernoulli, normal or a dropout, of which it can be made"
    return [
        Unsupported("", spec.name, f"it draws by {name}, which is made of no uniform or normal draw here", fix)
        for name in dict.fromkeys(operations)
    ]


class _Finder:
    """Makes ports of the draws that two trials saw."""

    def __init__(self, spec: ModelSpec, kind: str, trials: Sequence[_Trial]) -> None:
        self.spec, self.kind, self.trials = spec, kind, trials
        self.reasons: list[Unsupported] = []
        self.ports: list[TensorSpec] = []
        self._names = {port.name for port in spec.inputs}

    def places(self) -> list[Place]:
        """Returns the places of all ports, in the order in which they are first taken."""
        first, second = (self._groups(trial) for trial in self.trials)
        if not first:
            why, fix = "its forward draws no random numbers by torch", "leave random inputs away"
            self.reasons.append(Unsupported("", self.spec.name, why, fix))
        elif list(first) != list(second):
            why = "what it draws depends on the number of steps or samples"
            self.reasons.append(Unsupported("", self.spec.name, why, "draw the same at every step"))
            return []
        return [place for key in first for place in self._of_key(key, first[key], second[key])]

    def _groups(self, trial: _Trial) -> dict[Key, list[tuple[int, ...]]]:
        groups: dict[Key, list[tuple[int, ...]]] = {}
        for each in trial.drawn:
            groups.setdefault((each.call, each.path, each.normal, len(each.shape)), []).append(each.shape)
        return groups

    def _of_key(self, key: Key, first: list[tuple[int, ...]], second: list[tuple[int, ...]]) -> list[Place]:
        single = self.trials[0].steps == 1 and self.kind in ("sequence", "image")
        count = self._ports_of(len(first), len(second))
        made: list[Place] = []
        for at in range(count):
            lead = self._lead(first[at], second[at])
            by_step = count < len(first) or single
            if lead is None:
                return self._refuse(key, f"it draws {list(first[at])}, which all samples would share")
            if any(shape != first[at] for shape in first[at::count]):
                return self._refuse(key, "it draws other shapes from step to step")
            if lead == "B" and not by_step and self.kind == "sequence":
                return self._refuse(key, "one of its draws serves all time steps, as of a mask that is kept")
            by_step = by_step and lead == "B"
            made.append(self._port(Place("", key, lead, by_step), first[at]))
        return made

    def _ports_of(self, first: int, second: int) -> int:
        """Returns how many ports the draws of one call are: those of one step where there is one for every step."""
        a, b = self.trials
        if self.kind in ("none", "step") or a.steps is None or b.steps is None:
            return first
        own, other = first // a.steps, second // b.steps
        return own if (own * a.steps, other * b.steps) == (first, second) and own == other else first

    def _lead(self, first: tuple[int, ...], second: tuple[int, ...]) -> Lead | None:
        """Returns which axes a draw begins with, or None where it has none for the samples."""
        a, b = self.trials
        if self.kind in ("sequence", "image"):
            if (first[:2], second[:2]) == ((a.steps, a.batch), (b.steps, b.batch)):
                return "TB"
            if (first[:2], second[:2]) == ((a.batch, a.steps), (b.batch, b.steps)):
                return "BT"
        if not first or not second or first[0] % a.batch or second[0] % b.batch:
            return None
        own, other = first[0] // a.batch, second[0] // b.batch
        folded = self.kind in ("sequence", "image") and (own, other) == (a.steps, b.steps)
        return "T*B" if folded else "B" if own == other else None

    def _refuse(self, key: Key, why: str) -> list[Place]:
        fix = "draw for every sample and every step, as torch.rand_like(x) does"
        self.reasons.append(Unsupported(key[1], key[0], why, fix))
        return []

    def _port(self, place: Place, shape: tuple[int, ...]) -> Place:
        call, path, normal, _ = place.key
        name = re.sub(r"\W", "_", f"{path}_{call}".strip("_"))
        name = name if name.isidentifier() else f"draw_{name}"
        unique = next(n for n in (name, *(f"{name}{at}" for at in range(1, 10**6))) if n not in self._names)
        self._names.add(unique)
        batch = self.trials[0].batch
        folded = () if place.lead != "B" or shape[0] == batch else (shape[0] // batch,)
        sample = (*folded, *shape[2 if place.lead in ("TB", "BT") else 1 :])
        timed = self.kind == "image" and (place.by_step or place.lead != "B")
        said = "standard normal" if normal else "uniform in [0, 1)"
        self.ports.append(
            TensorSpec(
                unique,
                (self.spec.time_steps or 1, *sample) if timed else sample,
                self._dtype(place.key),
                layout="T" + "F" * len(sample) if timed else "",
                low=-_NORMAL_REACH if normal else 0.0,
                high=_NORMAL_REACH if normal else 1.0,
                meaning=f"a draw, {said}, of which {path or 'the module'} makes {call}",
                distribution="normal" if normal else "uniform",
            )
        )
        return replace(place, port=unique)

    def _dtype(self, key: Key) -> str:
        drawn = self.trials[0].drawn
        return next(each.dtype for each in drawn if (each.call, each.path, each.normal, len(each.shape)) == key)

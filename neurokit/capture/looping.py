"""How the twin runs a loop: unrolled, as one scan over a free T, or cut open over the values that it feeds back."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neurokit.capture.cells import begin_again
from neurokit.capture.neurons import Adapter, States
from neurokit.neurons import dynamics

if TYPE_CHECKING:
    from neurokit.capture.slots import Slot
    from neurokit.capture.twin import Twin
    from neurokit.neurons.loops import Call, Loop, Tensors


def run_loop(twin: Twin, slot: Slot, xs: Tensors, call: Call | None) -> Any:
    """Runs a loop's forward on `[T, B, *shape]`, or on what its step mode and the twin's time make of that."""
    from neurokit.capture.slots import Timeline

    loop: Loop = slot.module  # type: ignore[assignment]
    call = call or loop.run_part
    multi, outer = loop.step_mode == "m", twin.timeline
    folded = not multi and outer.folded and not twin.single
    given = xs if multi else tuple(x.unflatten(0, (outer.steps, -1)) if folded else x.unsqueeze(0) for x in xs)
    steps, batch = given[0].shape[:2]
    if slot.forgotten:
        begin_again(twin, slot)
    twin.timeline = Timeline(folded=loop.stepwise, steps=steps if twin.opened else 1)
    try:
        last = loop.start(given, slot.values, (steps, batch) if twin.opened else (batch,))
        if twin.opened:
            ys, slot.values = loop.body(given, last, call)
        elif isinstance(steps, int):
            ys, slot.values, feedback = loop.unrolled(given, last, call)
            if twin.feedback is not None:
                twin.feedback[slot.path] = tuple(torch.stack(values) for values in zip(*feedback, strict=True))
        else:
            ys, slot.values = _scanned(twin, loop, given, last)
    finally:
        twin.timeline = outer
    if not multi:
        ys = tuple(y.flatten(0, 1) if folded else y.squeeze(0) for y in ys)
    return loop.returned(ys)


def record_feedback(twin: Twin, given: Tensors) -> dict[str, Tensors]:
    """Runs a sequence step by step; returns what every loop fed back into each step, `[T, B, *shape]`, by its path."""
    names = [slot.names for slot in twin.slots]
    found: dict[str, Tensors] = {}
    twin.feedback = found
    try:
        for slot in twin.slots:
            slot.names = ()
        twin(*given)
    finally:
        twin.feedback = None
        for slot, old in zip(twin.slots, names, strict=True):
            slot.names = old
    return found


def _scanned(twin: Twin, loop: Loop, xs: Tensors, last: Tensors) -> tuple[Tensors, Tensors]:
    """Runs a loop as one scan, which carries the states of its parts beside the loop's own.

    A scan is traced as a pure function, so that each part is run by its adapter and not by its own forward.
    """
    from torch._higher_order_ops.scan import scan

    slots = {name: slot for name, part in loop.parts.items() for slot in twin.slots if slot.module is part}
    places = [(name, at) for name, s in slots.items() for at, v in enumerate(s.values) if isinstance(v, Tensor)]
    held = {name: slot.values for name, slot in slots.items()}
    steps = {name: (plain(slot.adapter).step, slot.module) for name, slot in slots.items()}
    stepwise = loop.stepwise

    def combine(carry: list[Tensor], x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        states = {name: list(values) for name, values in held.items()}
        for (name, at), value in zip(places, carry[len(last) :], strict=True):
            states[name][at] = value

        def run(name: str, given: Tensor) -> Tensor:
            if name not in steps:
                return loop.run_part(name, given)
            step, module = steps[name]
            assert step is not None, name
            y, new = step(module, given if stepwise else given.squeeze(0), tuple(states[name]))
            states[name] = list(new)
            return y if stepwise else y.unsqueeze(0)

        old = tuple(v.unsqueeze(0) for v in carry[: len(last)])
        ys, fed = loop.body(tuple(v.unsqueeze(0) for v in x), old, run)
        # A scan may not hand out an alias of what it carries.
        new = [*(v.squeeze(0).clone() for v in fed), *(states[name][at].clone() for name, at in places)]
        return new, [y.squeeze(0).clone() for y in ys]

    for slot in slots.values():
        slot.scanned = True
        slot.calls += 1
        twin.order.append(slot.path)
    carry, ys = scan(combine, [*last, *(held[name][at] for name, at in places)], list(xs))
    for (name, at), value in zip(places, carry[len(last) :], strict=True):
        values = slots[name].values
        slots[name].values = (*values[:at], value, *values[at + 1 :])
    return tuple(ys), tuple(carry[: len(last)])


def why_not_scanned(twin: Twin, slot: Slot) -> str:
    """Returns why a loop cannot be one scan over a free T, or ""."""
    loop: Loop = slot.module  # type: ignore[assignment]
    own = {id(part) for part in loop.parts.values()}
    for other in twin.slots:
        inner = any(other.module is part for top in loop.parts.values() for part in top.modules())
        if inner and other.adapter.op == "loop":
            return f"it holds another loop ({other.path})"
        if inner and id(other.module) not in own:
            return f"its {other.path} is run by a module with a forward of its own"
        if inner and not other.adapter.streams:
            return other.adapter.why_not_streaming
    return ""


def plain(adapter: Adapter) -> Adapter:
    """Returns the adapter of a neuron that is one operation in plain operations, of equal bits: a scan may hold those.

    Others are plain already.
    """
    if adapter.op not in ("if_", "lif", "plif"):
        return adapter

    def step(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
        given = adapter.parameters
        h = dynamics.charge(adapter.op, states[0], x, given)
        spike = (h >= given["v_threshold"]).to(x.dtype)
        return spike, (dynamics.after_spike(h, spike, given),)

    return replace(adapter, sequence=None, step=step)

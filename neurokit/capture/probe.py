"""What dry runs and small ones say of a model: its states, their shapes, and what its output is over time."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from neurokit.capture.drawing import random_values
from neurokit.capture.neurons import is_stateful
from neurokit.capture.own_memories import starts_from_nothing
from neurokit.capture.signature import wrong_state
from neurokit.capture.slots import Slot
from neurokit.capture.starts import numbers
from neurokit.capture.step_count import PLACES
from neurokit.capture.twin import Twin
from neurokit.capture.types import StateInfo, declared_state, initial_state
from neurokit.dims import BATCH, Dim, Size, evaluate, example_sizes
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.over_time import joined
from neurokit.spec import ModelSpec, StateSpec

if TYPE_CHECKING:
    from neurokit.capture.dry_runs import DryRuns

# Two batch sizes tell the batch axis from the others; both differ from 0 and 1, which torch.export specialises.
_BATCHES = (2, 3)
_WHOLE_SAMPLES = 16  # of a trial of outputs that are whole numbers
# Steps and input of the trials that find out what an output is over time, until one is not silent: the input's own
# range, or normal numbers of this spread, and how far neurons' currents are made to reach.
_TRIALS = (
    (2, None, 0.0),
    (3, 10.0, 0.0),
    (8, None, 0.0),
    (8, 10.0, 0.0),
    (8, 100.0, 0.0),
    (8, None, 1.0),
    (8, 10.0, 3.0),
    (8, 10.0, 100.0),
)
_OWN_TOLERANCE = 1e-2  # of a trial in types that may be of 16 bits
_SCATTER = 1e3  # of currents that wake neurons: nearby ones differ, and roundings of float64 do not show


@dataclass(frozen=True)
class Probe:
    """What the dry runs found.

    Attributes:
        states: Every state tensor.
        outputs: Shapes of the outputs for batch size 2.
        problems: Reasons why the model cannot be captured.
    """

    states: tuple[StateInfo, ...]
    outputs: tuple[tuple[int, ...], ...]
    problems: tuple[Unsupported, ...]


def input_shape(spec: ModelSpec, time_steps: int | None, batch: int, single: bool = False) -> tuple[int, ...]:
    """Returns the shape of the program's input x."""
    sample = spec.inputs[0].numbers
    if time_steps is None or single or spec.time_input == "image":
        return (batch, *sample)
    return (time_steps, batch, *sample)


def example_values(
    spec: ModelSpec, time_steps: int | None, batch: int, single: bool = False, sizes: Mapping[str, int] | None = None
) -> tuple[Tensor, ...]:
    """Returns zeros for every input and every declared state, in the order of the ports."""
    timed = not (time_steps is None or single or spec.time_input == "image")
    lead = (time_steps, batch) if timed else (batch,)
    if sizes is None:
        sizes = probe_sizes(spec)
    steps = 1 if single else time_steps
    inputs = [(port, lead, port.sizes_over(steps)) for port in spec.inputs]
    return tuple(
        torch.zeros((*before, *(evaluate(size, sizes) for size in own)), dtype=getattr(torch, port.dtype))
        for port, before, own in (*inputs, *((state, (batch,), state.sizes) for state in spec.states))
    )


def probe_sizes(spec: ModelSpec) -> dict[str, int]:
    """Returns sizes for free axes with which a program is traced: unequal to each other, to 0, to 1 and to batches."""
    return example_sizes(spec.as_graph().dims.values(), first=5)


def set_time_steps(net: torch.nn.Module, time_steps: int) -> None:
    """Tells modules that repeat an image T times themselves (`neurokit.capture.step_count`) how often."""
    places = vars(net).get(PLACES)
    if places is not None:
        places.set(net, time_steps)
        return
    for module in net.modules():
        if _has_steps(module) and not vars(module).get(_OTHER_T, False):
            module.T = time_steps  # type: ignore[assignment]


def keep_other_attributes(net: torch.nn.Module, spec: ModelSpec) -> None:
    """Marks every attribute `T` that is no number of steps, such as a temperature; `set_time_steps` leaves it alone."""
    for module in net.modules():
        if _has_steps(module) and spec.time_input != "image" and spec.time_steps != module.T:
            setattr(module, _OTHER_T, True)


def _has_steps(module: torch.nn.Module) -> bool:
    held = vars(module).get("T")
    return isinstance(held, int) and not isinstance(held, bool) and not is_stateful(module)  # a neuron's T is its own


_OTHER_T = "_neurokit_other_t"


def probe(runs: DryRuns, time_steps: int | None, single: bool) -> Probe:
    """Runs a twin without data, with states at two batch sizes, and names these.

    Raises:
        InputError: If the module does not run on inputs of the declared shape.
    """
    twin, spec = runs.twin, runs.spec
    seen = []
    outputs: tuple[tuple[int, ...], ...] = ()
    # Of a model without states there is no size to find out by a second run.
    for batch in reversed(_BATCHES if twin.slots or spec.states else _BATCHES[:1]):
        # The last one is made in any case: what it leaves in the slots is read later.
        known = batch != _BATCHES[0] and not single
        run = runs.sequence(time_steps, batch) if known else runs.anew(time_steps, batch, single)
        outputs = tuple(tuple(int(size) for size in value.shape) for value in run.outputs)
        wrong = _wrong_states(spec, run.outputs, batch, len(twin.signature.output_names))
        if wrong:
            return Probe(
                (), outputs, tuple(Unsupported("", spec.name, why, "declare what it returns") for why in wrong)
            )
        seen.append(run.memories)
    states, problems = [], []
    for (slot, memory, small, dtype), (_, _, large, _) in zip(seen[-1], seen[0], strict=True):
        init = _initial_value(slot, memory, len(small))
        if init is None:
            problems.append(
                Unsupported(
                    slot.path,
                    type(slot.module).__name__,
                    f"its state {memory!r} does not start from one number",
                    "set a scalar reset value",
                )
            )
            continue
        name = f"{slot.path or 'model'}.{memory}".replace(".", "_")
        states.append(
            StateInfo(name, slot.path, memory, symbolic_sizes(small, large), str(dtype).removeprefix("torch."), init)
        )
        slot.names = (*slot.names, memory)
    declared = tuple(declared_state(state) for state in spec.states)
    return Probe((*declared, *states), outputs, tuple(problems))


def _wrong_states(spec: ModelSpec, found: tuple[Tensor, ...], batch: int, first: int) -> list[str]:
    """Returns how declared states do not come back as they were declared."""
    sizes, lead = {**probe_sizes(spec), BATCH: batch}, (1 * Dim(BATCH),)
    reasons = (wrong_state(state, value, lead, sizes) for state, value in zip(spec.states, found[first:], strict=False))
    return [reason for reason in reasons if reason]


def time_output(runs: DryRuns, time_steps: int | None) -> str:
    """Finds out what each output is over time: one a step, or the mean, sum, last or largest of the steps.

    It is "auto" where it is none of these.
    """
    twin, spec = runs.twin, runs.spec
    if time_steps is None:
        return "last"
    if spec.time_output != "auto" and spec.time_input == "step":
        return spec.time_output  # what the steps' outputs mean together is the specification's alone
    # Another number than T, so that the axes can be told apart.
    batch = next(size for size in reversed(_BATCHES) if size != time_steps)
    y = runs.sequence(time_steps, batch).outputs[: len(twin.signature.output_names)]
    over_time = [value.dim() >= 2 and tuple(value.shape[:2]) == (time_steps, batch) for value in y]
    if spec.time_output != "auto":
        return _as_declared(spec, over_time)
    if over_time and all(over_time):
        return "sequence"
    reduced = [at for at, each in enumerate(over_time) if not each]
    # Places and counts agree by chance in one sample.
    samples = 1 if all(y[at].is_floating_point() for at in reduced) else _WHOLE_SAMPLES
    found = dict(zip(reduced, _reductions(twin, spec, reduced, samples), strict=True))
    return joined([found.get(at, "sequence") for at in range(len(over_time))])


def _as_declared(spec: ModelSpec, over_time: list[bool]) -> str:
    """Returns what a specification says of outputs over time, where their shapes do not contradict it."""
    declared = spec.time_output
    if any(each != (declared == "sequence") for each in over_time):
        given = "[T, B, ...], one output a time step" if any(over_time) else "not [T, B, ...]"
        why = f"its specification says time_output={declared!r}, and its output is {given}"
        fix = 'give the right time_output in the ModelSpec, or leave it at "auto"'
        raise UnsupportedError(f"model {spec.name!r} cannot be captured", [Unsupported("", spec.name, why, fix)])
    return declared


def _reductions(twin: Twin, spec: ModelSpec, outputs: Sequence[int], samples: int) -> list[str]:
    """Compares a few steps at once with as many single steps, in float64, on random numbers, for some of the outputs.

    A network that stays silent has the same mean and last output; then more and stronger steps are tried, and at last
    its neurons are given other currents, the same at once and in steps, that make them fire. If an output never moves,
    the first that fits is taken: verification compares it with the sequence once more. Of whole numbers that never
    move, such as the one class that a silent network chooses, nothing is known: "auto".
    """
    generator = torch.Generator().manual_seed(0)
    fits = {at: [*_REDUCTIONS] for at in outputs}
    moved: set[int] = set()
    for trial, (steps, spread, reach) in enumerate(_TRIALS):
        given = tuple(
            random_values(port, value, spread, generator)
            for port, value in zip(spec.inputs, example_values(spec, steps, samples), strict=False)  # states follow
        )
        with _woken(twin, reach):
            found = _both_ways(twin, spec, given, steps)
        if found is None:
            fits = fits if trial else {}  # the model cannot run so many steps, or one step at a time
            break
        (together, stacked), tolerance = found
        for at, names in fits.items():
            if together[at].is_floating_point() or stacked[at].unique().numel() > 1:
                moved.add(at)
            fits[at] = [name for name in names if _close(_REDUCTIONS[name](stacked[at]), together[at], tolerance)]
        # One trial may fit by chance, and whole numbers, of which a quiet network gives few, in several.
        if trial and all(len(names) <= together[at].is_floating_point() for at, names in fits.items()):
            break
    return [next(iter(fits.get(at, ())), "auto") if at in moved else "auto" for at in outputs]


def _both_ways(
    twin: Twin, spec: ModelSpec, given: tuple[Tensor, ...], steps: int
) -> tuple[tuple[tuple[Tensor, ...], tuple[Tensor, ...]], float] | None:
    """Runs steps at once and one by one in float64; in its own types a module that is of several.

    Returns:
        What `together_and_apart` does, and how far apart rounding may bring the two; None where neither runs.
    """
    own = tuple(x.to(getattr(torch, port.dtype)) for x, port in zip(given, spec.inputs, strict=True))
    for double in (True, False):
        try:
            with torch.no_grad(), in_double(twin) if double else nullcontext():
                made = together_and_apart(twin, spec, given if double else own, steps)
        except (RuntimeError, ValueError, TypeError, AttributeError, IndexError, UnsupportedError):
            continue
        return made, 1e-9 if double else _OWN_TOLERANCE
    return None


@contextmanager
def _woken(twin: Twin, reach: float) -> Iterator[None]:
    """Gives every neuron currents from 0 to `reach` thresholds that its own decide, so that all fire; 0 leaves them.

    Whatever a neuron gets is a function of one element of its current, so the steps at once and one by one get the
    same, and an output that is the sum of its steps is still their sum.
    """

    def wake(module: torch.nn.Module, x: Tensor) -> Tensor:
        return reach * _level(module) * (x.abs() * _SCATTER + 0.37).frac()

    twin.wake = wake if reach else None
    try:
        yield
    finally:
        twin.wake = None


def _level(module: torch.nn.Module) -> float:
    """Returns the largest threshold of a neuron, 1 where it has none by that name."""
    held = (getattr(part, name, None) for part in module.modules() for name in ("v_threshold", "threshold"))
    levels = (float(torch.as_tensor(value).abs().max()) for value in held if isinstance(value, int | float | Tensor))
    return max((level for level in levels if 0.0 < level < float("inf")), default=1.0)


_REDUCTIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "mean": lambda steps: steps.double().mean(0),
    "sum": lambda steps: steps.sum(0),
    "last": lambda steps: steps[-1],
    "max": lambda steps: steps.amax(0),
}


def _close(value: Tensor, whole: Tensor, tolerance: float) -> bool:
    same = value.shape == whole.shape
    return same and torch.allclose(value.double(), whole.double(), rtol=tolerance, atol=tolerance)


def together_and_apart(
    twin: Twin, spec: ModelSpec, given: tuple[Tensor, ...], steps: int
) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Returns the outputs of all steps at once, and those of the steps taken one by one, stacked.

    States that the graph declares come last in both: what they are in the end.
    """
    batch = given[0].shape[0 if spec.time_input == "image" else 1]
    kept = tuple(_started(state, batch, given[0]) for state in spec.states)
    set_time_steps(twin.net, steps)
    together = _outputs(twin, (*given, *kept), (), single=False)
    set_time_steps(twin.net, 1)
    outputs: list[tuple[Tensor, ...]] = []
    states: tuple[Tensor, ...] = ()
    for t in range(steps):
        step = _step_of_image(spec, given, t) if spec.time_input == "image" else tuple(x[t] for x in given)
        found = _outputs(twin, (*step, *kept), states, single=True)
        own = len(found) - len(kept)
        outputs.append(found[:own])
        kept = found[own:]
        states = tuple(v for slot in twin.slots for v in slot.values if isinstance(v, Tensor))
    return together, (*(torch.stack(values) for values in zip(*outputs, strict=True)), *kept)


def _step_of_image(spec: ModelSpec, given: tuple[Tensor, ...], t: int) -> tuple[Tensor, ...]:
    """Returns what a step of a repeated image is given: the image again, and its own of the draws `[B, T, ...]`."""
    ports = zip(spec.inputs, given, strict=True)
    return tuple(x[:, t : t + 1] if port.over_steps else x for port, x in ports)


def _started(state: StateSpec, batch: int, like: Tensor) -> Tensor:
    """Returns a declared state before the first step, in the precision of the trial."""
    value = initial_state(declared_state(state), batch, {})  # one that grows was refused
    return value.to(like.dtype) if value.is_floating_point() else value


@contextmanager
def in_double(twin: Twin) -> Iterator[None]:
    """Runs in float64, and puts every parameter and buffer back as it was, bit for bit."""
    parameters = [(tensor, tensor.data) for tensor in twin.parameters()]
    buffers = [(part, name, value) for part in twin.modules() for name, value in part._buffers.items()]
    twin.double()
    try:
        yield
    finally:
        for tensor, data in parameters:
            tensor.data = data
        for part, name, value in buffers:
            part._buffers[name] = value


def _outputs(twin: Twin, given: tuple[Tensor, ...], states: tuple[Tensor, ...], single: bool) -> tuple[Tensor, ...]:
    """Runs the twin outside of a program; states are loaded by position over the memories that hold tensors."""
    twin.single = single
    names = [slot.names for slot in twin.slots]
    try:
        for slot in twin.slots:
            memories = list(getattr(slot.module, "_memories", ()))
            held = zip(memories, slot.values, strict=False)
            slot.names = tuple(m for m, v in held if isinstance(v, Tensor)) if states else ()
        found: tuple[Tensor, ...] = twin(*given, *states)
        return found[: len(twin.signature.output_names) + len(twin.signature.graph.states)]
    finally:
        twin.single = False
        for slot, old in zip(twin.slots, names, strict=True):
            slot.names = old


def _initial_value(slot: Slot, memory: str, dims: int) -> float | np.ndarray | None:
    """Returns what a state starts from: one number, one sample's values, or None if there is no such thing."""
    if memory in slot.starts:
        return numbers(slot.starts[memory])
    at = list(slot.module._memories).index(memory)  # type: ignore[arg-type]
    value = slot.initial[at]
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, Tensor) and value.numel() == 1:
        return float(value)
    if starts_from_nothing(slot.module, (value,)):
        return 0.0
    if value is None:
        x = torch.zeros([1] * dims)
        module = slot.module
        made = module.materialize_states((x,), slot.initial, "s")[at]  # type: ignore[operator]
        return float(made.reshape(-1)[0])
    return None


def symbolic_sizes(small: tuple[int, ...], large: tuple[int, ...]) -> tuple[Size, ...]:
    """Returns a shape in which the axes that grow with the batch are so many times B."""
    # The batches differ by one, so that the difference is the factor.
    return tuple(a if a == b else (b - a) * Dim(BATCH) for a, b in zip(small, large, strict=True))

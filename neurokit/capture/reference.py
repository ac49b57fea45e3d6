"""The reference: the captured program run by PyTorch, with every neuron's input current and spikes kept."""

from __future__ import annotations

import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.fx import GraphModule, Node

from neurokit.capture.drawing import uniform
from neurokit.capture.looping import record_feedback
from neurokit.capture.probe import input_shape, probe_sizes, set_time_steps
from neurokit.capture.signature import Signature, named_leaves
from neurokit.dims import evaluate, names_in, solve
from neurokit.errors import InputError
from neurokit.program.ops import Kind, kind_of
from neurokit.program.walk import PlainWalker
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    from neurokit.capture import Captured


@dataclass(frozen=True)
class Record:
    """One neuron node of one run: current and spikes `[T, B, ...]`, first and last membrane `[B, ...]`."""

    current: Tensor
    v0: Tensor
    spikes: Tensor
    v_last: Tensor


@dataclass(frozen=True)
class StepRecord:
    """One node of rare neurons of one run: current and output `[T, B, ...]`, first states `[B, ...]`, and its step."""

    current: Tensor
    states: tuple[Tensor, ...]
    spikes: Tensor
    key: str


#: What is shown every operation of a run: its node, its target and its arguments.
Watch = Callable[[Any, Any, tuple[Any, ...]], None]


class _Recorder(PlainWalker):
    def __init__(
        self,
        module: GraphModule,
        forced: Sequence[Tensor] | None = None,
        watch: Watch | None = None,
        steps: bool = False,
        wanted: int | None = None,
    ) -> None:
        super().__init__(module)
        self.records: list[Any] = []
        self._wanted = wanted
        self._steps = steps
        self._forced = None if forced is None else iter(forced)
        self._watch = watch

    def neuron(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._forced is not None and self._wanted is not None and _ends(self.node, self._wanted):
            result = (next(self._forced), args[1])
        else:
            result = super().neuron(target, args, kwargs)
            if self._forced is not None:
                result = (next(self._forced), result[1])
        self.records.append(Record(args[0], args[1], *result))
        return result

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self._watch is not None:
            self._watch(self.node, target, args)
        kind = kind_of(target)  # no value is of another kind here, so there are no rules
        result = self.neuron(target, args, kwargs) if kind is Kind.NEURON else target(*args, **kwargs)
        if self._steps and kind is Kind.STEPWISE:
            if self._forced is not None:
                result = [next(self._forced), *result[1:]]
            self.records.append(StepRecord(args[0], tuple(args[1]), result[0], str(args[2])))
        return result


def _ends(node: Node, wanted: int) -> bool:
    """Returns whether nothing reads a neuron's last membrane: it is an output behind so many, at most."""
    last = [user for user in node.users if user.target is operator.getitem and user.args[1] == 1]
    if len(last) + sum(user.target is operator.getitem and user.args[1] == 0 for user in node.users) < len(node.users):
        return False
    readers = {reader for user in last for reader in user.users}
    return all(reader.op == "output" and not {*last} & {*reader.args[0][:wanted]} for reader in readers)  # type: ignore


def record(
    module: GraphModule,
    inputs: tuple[Tensor, ...],
    forced: Sequence[Tensor] | None = None,
    watch: Watch | None = None,
) -> tuple[tuple[Tensor, ...], list[Record]]:
    """Runs a program's graph module; returns its outputs and a record a neuron node, in order.

    Args:
        module: The program as a graph module.
        inputs: Its inputs.
        forced: Spikes of every neuron node, in order, instead of its own; its membrane stays its own.
        watch: Called with node, target and arguments of every operation before it is run.
    """
    run = _Recorder(module, forced, watch)
    with torch.no_grad():
        outputs = run.run(*inputs)
    return tuple(outputs), run.records


def record_all(
    module: GraphModule,
    inputs: tuple[Tensor, ...],
    forced: Sequence[Tensor] | None = None,
    watch: Watch | None = None,
    wanted: int | None = None,
) -> tuple[tuple[Tensor, ...], list[Record | StepRecord]]:
    """As `record`, with layers of rare neurons as well; `forced` then holds what they put out, too.

    With `wanted`, only so many outputs are returned, and of neurons whose spikes are given last membranes that nothing
    else reads are not computed: the record holds the first ones in their place.
    """
    run = _Recorder(module, forced, watch, steps=True, wanted=wanted)
    with torch.no_grad():
        outputs = run.run(*inputs)
    return tuple(outputs)[:wanted], run.records


def fed_back(
    captured: Captured, module: GraphModule, given: tuple[Tensor, ...], forced: Sequence[Tensor] | None = None
) -> tuple[Tensor, ...]:
    """Returns the states with which an opened capture is the network itself: each step is given what the last fed back.

    Every run of the program makes at least one step more right, and a run that changes nothing is the answer. The
    first guess is the network run step by step, which only rounding keeps from being it already.

    Args:
        captured: An opened capture; of one without loops the initial states are returned.
        module: Its program as a graph module.
        given: The inputs, `[T, B, *shape]`.
        forced: Outputs of every neuron node, common and rare, in order, instead of its own.
    """
    batch = int(given[0].shape[given[0].dim() - len(captured.spec.inputs[0].shape) - 1])
    states = list(captured.initial_states(batch))
    if not captured.feedback:
        return tuple(states)
    if forced is None:
        with torch.no_grad():
            guess = record_feedback(captured.module, given)  # type: ignore[arg-type]
        flat = [value for path in captured.loops for value in guess.get(path, ())]
        if [v.shape for v in flat] == [states[at].shape for at in captured.feedback]:  # not of a loop in a loop
            states = _replaced(states, captured.feedback, flat)
    first = len(captured.output_names)
    for _ in range(int(captured.time_steps or 0) + 1):
        outputs, _records = record_all(module, (*given, *states), forced)
        fed = [outputs[first + at] for at in captured.feedback]
        late = [torch.cat((torch.zeros_like(value[:1]), value[:-1])) for value in fed]
        if all(torch.equal(states[at], value) for at, value in zip(captured.feedback, late, strict=True)):
            break
        states = _replaced(states, captured.feedback, late)
    return tuple(states)


def _replaced(states: Sequence[Tensor], places: Sequence[int], values: Sequence[Tensor]) -> list[Tensor]:
    new = list(states)
    for at, value in zip(places, values, strict=True):
        new[at] = value
    return new


def example_input(spec: ModelSpec, time_steps: int | None, batch: int, seed: int) -> Tensor:
    """Returns a realistic input of a model: its spec's own, or uniform numbers in the input's range.

    A sequence without an example of its own is one static image repeated, with one percent of jitter a step, so
    that no time step is a copy of another.
    """
    shape = input_shape(spec, time_steps, batch)
    info = spec.inputs[0]
    dtype = getattr(torch, info.dtype)
    if spec.example is not None:
        given = spec.example(batch, time_steps or 1, seed)
        x = (given[info.name] if isinstance(given, Mapping) else given).to(dtype)
        if x.dim() == len(shape) - 1:
            x = x.unsqueeze(0).expand(shape).contiguous()
        if tuple(x.shape) != shape:
            raise InputError(f"the example of model {spec.name!r} has shape {list(x.shape)}", expected=f"{list(shape)}")
        return x
    generator = torch.Generator().manual_seed(seed)
    image = torch.rand(shape[-len(info.shape) - 1 :], generator=generator, dtype=torch.float64)
    x = image
    if len(shape) == len(info.shape) + 2:
        x = (image + 0.01 * torch.rand(shape, generator=generator, dtype=torch.float64)).clamp(0.0, 1.0)
    return (x * (info.high - info.low) + info.low).to(dtype)


def example_inputs(
    spec: ModelSpec, time_steps: int | None, batch: int, seed: int, sizes: Mapping[str, int] | None = None
) -> dict[str, Tensor]:
    """Returns realistic inputs of a model by their names; see `example_input`.

    Args:
        spec: The model.
        time_steps: T, or None.
        batch: Number of samples.
        seed: Seed of the draw.
        sizes: Sizes of free axes; default is what states start with, and a few of the others.

    Raises:
        InputError: If the spec's own example lacks an input, or one does not fit its port.
    """
    if len(spec.inputs) == 1 and not names_in(spec.inputs[0].sizes) and spec.inputs[0].dtype.startswith("float"):
        return {spec.inputs[0].name: example_input(spec, time_steps, batch, seed)}
    timed = time_steps is not None and spec.time_input != "image"
    lead: tuple[int, ...] = (time_steps or 1, batch) if timed else (batch,)
    if spec.example is not None:
        known = {} if sizes is None or "sizes" not in inspect.signature(spec.example).parameters else {"sizes": sizes}
        made = spec.example(batch, time_steps or 1, seed, **known)
        return _checked(spec, made if isinstance(made, Mapping) else {spec.inputs[0].name: made}, lead)
    start = {name: spec.as_graph().dims[name].min for state in spec.states for name in state.grows}
    chosen = {**probe_sizes(spec), **start, **(sizes or {})}
    generator = torch.Generator().manual_seed(seed)
    return {
        port.name: uniform(port, (*lead, *(evaluate(size, chosen) for size in port.sizes)), generator)
        for port in spec.inputs
    }


def _checked(spec: ModelSpec, given: Mapping[str, Tensor], lead: tuple[int, ...]) -> dict[str, Tensor]:
    wanted = [port.name for port in spec.inputs]
    if sorted(given) != sorted(wanted):
        raise InputError(
            f"the example of model {spec.name!r} holds {', '.join(sorted(given))}", expected=", ".join(sorted(wanted))
        )
    solve([(port.name, (*lead, *port.sizes), tuple(given[port.name].shape)) for port in spec.inputs], {})
    return {port.name: given[port.name].to(getattr(torch, port.dtype)) for port in spec.inputs}


def run_module(module: nn.Module, spec: ModelSpec, *given: Tensor) -> tuple[Tensor, ...]:
    """Runs the user's module as its own library does: reset, then a sequence or step after step.

    The module is a private copy's business: give it one (`neurokit.capture.twin.private_copy`).

    Args:
        module: The module.
        spec: What it is.
        given: The inputs, then declared states, in the order of the ports.

    Returns:
        The outputs, then new values of declared states.
    """
    return module_runner(module, spec)[0](*given)


def module_runner(
    module: nn.Module, spec: ModelSpec
) -> tuple[Callable[..., tuple[Tensor, ...]], Callable[[], tuple[str, ...]]]:
    """Returns what `run_module` does with a module, bound once, and what returns the outputs' names after a run."""
    from neurokit.capture.cells import hands_on_state
    from neurokit.capture.time_input import start_over

    signature = Signature(spec.as_graph(), module)
    call = signature.call
    by_step = spec.time_input == "step" and spec.time_steps is not None
    hands_state = by_step and hands_on_state(module)
    names: list[str] = []

    def run(*given: Tensor) -> tuple[Tensor, ...]:
        start_over(module)
        with torch.no_grad():
            if hands_state:
                outputs = _stepped_with_state(module, given, names)
            elif by_step:
                outputs = _stepped(call, given, len(spec.inputs))
            else:
                if spec.time_input == "image" and spec.time_steps is not None:
                    set_time_steps(module, spec.time_steps)
                outputs = call(given)
        start_over(module)
        return outputs

    return run, lambda: signature.output_names or tuple(names)


def _stepped(call: Callable[..., tuple[Tensor, ...]], given: tuple[Tensor, ...], inputs: int) -> tuple[Tensor, ...]:
    """Calls a module once a step, declared states handed from step to step; they come last, as they are after all."""
    states, steps = given[inputs:], []
    for values in zip(*given[:inputs], strict=True):
        made = call((*values, *states))
        count = len(made) - len(states)
        steps.append(made[:count])
        states = made[count:]
    return (*(torch.stack(values) for values in zip(*steps, strict=True)), *states)


def _stepped_with_state(module: nn.Module, given: tuple[Tensor, ...], names: list[str]) -> tuple[Tensor, ...]:
    """Runs a module that takes and returns its state, step after step; notes the names of its outputs."""
    from neurokit.capture.cells import call_with_state, output_and_state, states_handed

    state, steps = None, []
    for (x_t,) in zip(*given, strict=True):
        y, state = output_and_state(call_with_state(module, x_t, state), states_handed(module))
        steps.append(dict(named_leaves(y)))
    names[:] = steps[0]
    return tuple(torch.stack([step[name] for step in steps]) for name in names)

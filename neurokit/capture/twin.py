"""The functional twin: a private copy of the user's module whose neurons take and return their state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import base, neuron
from torch import Tensor, nn

from neurokit.capture.cells import Cell, begin_again, run_cell
from neurokit.capture.draws import Draws
from neurokit.capture.foreign import adopt
from neurokit.capture.hidden import Held, Place, start_of
from neurokit.capture.hooks import private_hooks
from neurokit.capture.looping import run_loop
from neurokit.capture.neurons import Adapter, States, adapter_for, is_stateful
from neurokit.capture.ordinary import ordinary_copy
from neurokit.capture.own_memories import from_nothing, starts_from_nothing
from neurokit.capture.plain_weights import plain_weights
from neurokit.capture.refused_neurons import refuse, refuse_input
from neurokit.capture.resets import acting_on_adopted
from neurokit.capture.signature import Signature, named_leaves
from neurokit.capture.slots import Order, Slot, Timeline
from neurokit.capture.starts import begun, note_written
from neurokit.capture.step_count import own_range
from neurokit.errors import ModelLoadError, Unsupported, UnsupportedError
from neurokit.neurons.loops import Loop
from neurokit.neurons.stepwise import TENSOR, Step, stepwise
from neurokit.over_time import of_each
from neurokit.spec import ONE_GRAPH, GraphSpec, TensorSpec


def private_copy(module: nn.Module) -> tuple[nn.Module, list[str]]:
    """Returns a copy in evaluation mode on the CPU, without state, and notes for the user.

    Hooks of the forward pass come with it: see `neurokit.capture.hooks.settle`.

    The user's module is not touched: its state, mode and hooks stay as they are.

    Raises:
        ModelLoadError: If the module cannot be copied.
    """
    memo: dict[int, Any] = {}
    try:
        twin = ordinary_copy(module, memo)
    except Exception as error:
        raise ModelLoadError(
            f"the module cannot be copied: {type(error).__name__}: {error}",
            expected="a module that copy.deepcopy can copy",
            fix="keep open files, locks and generators out of the module",
        ) from error
    private_hooks(twin, memo)
    for part in twin.modules():
        if isinstance(part, base.MemoryModule):
            part._memories = copy.deepcopy(part._memories_rv)
            if hasattr(part, "v_seq"):
                part.v_seq = None
        if isinstance(part, neuron.MaskedPSN):
            # As a tensor it would make control flow depend on data; after training it is a constant.
            part._lambda_ = float(part._buffers.pop("_lambda_"))
    notes: list[str] = []
    twin, adopted = adopt(plain_weights(twin.cpu().eval()))
    return twin, [*notes, *adopted]


def over_time(steps: Tensor, time_output: str) -> Tensor:
    """Returns the outputs `[T, B, ...]` of single steps as the specification says they are meant over time."""
    if time_output == "last":
        return steps[-1]
    if time_output in ("mean", "sum"):
        return steps.mean(0) if time_output == "mean" else steps.sum(0)
    if time_output == "max":
        return steps.amax(0)
    return steps


class Twin(nn.Module):
    """Runs one graph of the copied module as `forward(*inputs, *states) -> (*outputs, *new_states)`.

    States that the graph declares come first, then those of its neurons.

    Args:
        net: A private copy of the user's module.
        time_input: What its forward takes ("sequence", "image" or "step"), or "none" without time.
        signature: How the graph is called; default is forward with one input.
        hidden: State outside of its neurons.
    """

    def __init__(
        self, net: nn.Module, time_input: str, signature: Signature | None = None, hidden: Sequence[Place] = ()
    ) -> None:
        super().__init__()
        self.net = net
        self.signature = signature or Signature(GraphSpec(ONE_GRAPH, (TensorSpec("x", (1,)),)), net)
        self.time_input = time_input
        self.single = False
        self.tracing = False  # rare neurons are one operation each in a trace, and run as they are in dry runs
        self.opened = False  # loops are given what they feed back, `[T, B, ...]`, and run at once
        self.feedback: dict[str, tuple[Tensor, ...]] | None = None  # where loops note what they fed back
        self.wake: Callable[[nn.Module, Tensor], Tensor] | None = (
            None  # makes other currents, in trials of what outputs are
        )
        self.time_output = "auto"
        self.timeline = Timeline()
        self.slots: list[Slot] = []
        self.order = Order()
        self.state_count = 0
        self.starts_known = False  # whether initial values that the module writes itself were looked for
        for path, module in net.named_modules():
            if is_stateful(module):
                self._adopt(path, module)
        for place in hidden:
            slot = Slot(place.path, Held(place), Adapter("hidden", {}, None, None), (), (start_of(place),))
            self.slots.append(slot)
        self.by_step = bool(hidden)  # a step-wise forward is called once a step, and not once for all of them

    def refusals(self) -> list[Unsupported]:
        """Returns every reason why the module cannot be captured."""
        found = (refuse(slot.path, slot.module) for slot in self.slots)
        return [reason for reason in found if reason is not None]

    def forward(self, x: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Runs one sequence, or one step where `single` is set, from the given states."""
        count = len(self.signature.names)
        given = (x, *rest)[:count]
        self._load((x, *rest)[count:])
        self.timeline = Timeline(folded=self.time_input == "step", steps=1 if self.single else x.shape[0])
        with acting_on_adopted(self.net), own_range(self.net):
            outputs = self._outputs(given)
        if self.single and self.time_input != "step":
            own = len(self.signature.output_names)  # behind them are declared states, which have no time
            timed = (kind == "sequence" for kind in self.kinds())
            pairs = zip(outputs[:own], timed, strict=True)
            outputs = (*(value.squeeze(0) if each else value for value, each in pairs), *outputs[own:])
        states = self._states()
        return (*_distinct(outputs, (*given, *states)), *states)

    def _outputs(self, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        call = partial(self.signature.call, net=self.net)
        if self.time_input in ("none", "image"):
            return call(given)
        if self.time_input == "sequence":
            inputs = [x.unsqueeze(0) for x in given[: self._inputs]] if self.single else given[: self._inputs]
            return call((*inputs, *given[self._inputs :]))
        if self.by_step and not self.single:
            return self._step_by_step(given)
        # A step-wise model treats axis 0 as the batch everywhere but in its neurons, which unfold the time again.
        if self.single:
            return call(given)
        lead = given[0].shape[:2]
        ys = (y.unflatten(0, (lead[0], lead[1])) for y in call([x.flatten(0, 1) for x in given]))
        return tuple(over_time(y, kind) for y, kind in zip(ys, self.kinds(), strict=True))

    def _step_by_step(self, given: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Calls a step-wise forward once a step, as the user does, and hands on the states that the graph declares."""
        self.timeline = Timeline()
        inputs, states = given[: self._inputs], given[self._inputs :]
        steps: list[tuple[Tensor, ...]] = []
        for step in zip(*(x.unbind(0) for x in inputs), strict=True):
            found = self.signature.call((*step, *states))
            own = len(found) - len(states)
            steps.append(found[:own])
            states = found[own:]
        stacked = (torch.stack(values) for values in zip(*steps, strict=True))
        return (*(over_time(y, kind) for y, kind in zip(stacked, self.kinds(len(steps[0])), strict=True)), *states)

    def kinds(self, count: int | None = None) -> tuple[str, ...]:
        """Returns what each output is over time."""
        return of_each(self.time_output, len(self.signature.output_names) if count is None else count)

    @property
    def _inputs(self) -> int:
        """The number of inputs; behind them come the states that the graph declares."""
        return len(self.signature.graph.inputs)

    def _load(self, states: tuple[Tensor, ...]) -> None:
        self.order.clear()
        at = 0
        for slot in self.slots:
            slot.calls, slot.carried, slot.forgotten = 0, True, False
            slot.written, slot.rewritten = {}, False
            slot.values = slot.initial
            if slot.names:
                named = dict(zip(slot.names, states[at : at + len(slot.names)], strict=True))
                memories = _memory_names(slot.module)
                slot.values = tuple(named.get(name, old) for name, old in zip(memories, slot.initial, strict=True))
                at += len(slot.names)
            if isinstance(slot.module, Held):
                place = slot.module.place[0]
                value = slot.values[0] if slot.names else place.start
                place.write(value.clone() if isinstance(value, Tensor) else value)
            elif isinstance(slot.module, base.MemoryModule):
                slot.module._memories.update(zip(_memory_names(slot.module), slot.values, strict=True))

    def _states(self) -> list[Tensor]:
        new: list[Tensor] = []
        for slot in self.slots:
            if isinstance(slot.module, Held):
                slot.values = (_tensor(slot.module.place[0].read(), slot.initial[0]),)
                slot.module.place[0].write(slot.module.place[0].start)
            held = dict(zip(_memory_names(slot.module), slot.values, strict=True))
            new += [held[name] for name in slot.names]
            _restore(slot)
        return new

    def _adopt(self, path: str, module: nn.Module) -> None:
        slot = Slot(path, module, adapter_for(module), (), _initial(module))
        self.slots.append(slot)

        def loop_forward(*xs: Tensor, call: Any = None) -> Any:
            slot.calls += 1
            self.order.append(slot.path)
            return run_loop(self, slot, xs, call)

        def forward(x: Tensor, *args: Any, **kwargs: Any) -> Tensor:
            if args or kwargs:
                raise NotImplementedError(f"{path}: a neuron with more than one input")
            return self._run(slot, x)

        def cell_forward(x: Tensor, *args: Any, **kwargs: Any) -> Any:
            return run_cell(self, slot, x, args, kwargs)

        def reset() -> None:
            slot.forgotten = slot.calls > 0  # before the first call there is nothing to forget

        module.reset = reset  # type: ignore[assignment]
        if isinstance(module, Cell):
            module.slot = slot
            module.forward = cell_forward  # type: ignore[method-assign]
        else:
            module.forward = loop_forward if isinstance(module, Loop) else forward

    def _run(self, slot: Slot, x: Tensor) -> Tensor:
        slot.calls += 1
        self.order.append(slot.path)
        multi = getattr(slot.module, "step_mode", "m") == "m"
        folded = not multi and self.timeline.folded and not self.single
        slot.has_time = multi or folded
        if folded:
            x = x.unflatten(0, (self.timeline.steps, -1))
        if (reason := refuse_input(slot.path, slot.module, x)) is not None:
            raise UnsupportedError(f"a {type(slot.module).__name__} cannot be captured here", [reason])
        self._start(slot)
        slot.values = _materialize(slot, x, slot.has_time, slot.calls == 1 and not self.tracing)
        slot.scanned = False
        if self.wake is not None:
            x = self.wake(slot.module, x)
        adapter = slot.adapter
        if not slot.has_time:
            assert adapter.step is not None
            y, slot.values = adapter.step(slot.module, x, slot.values)
        elif adapter.sequence is not None:
            y, slot.values = adapter.sequence(slot.module, x, slot.values)
        else:
            y, slot.values = self._steps(slot, x)
        if isinstance(slot.module, base.MemoryModule):
            slot.module._memories.update(zip(_memory_names(slot.module), slot.values, strict=True))
        return y.flatten(0, 1) if folded else y

    def _start(self, slot: Slot) -> None:
        """Lets a call start from what the user's forward set: the initial state after a reset, or another membrane."""
        module = slot.module
        if not isinstance(module, base.MemoryModule):
            return
        if slot.forgotten:
            begin_again(self, slot)
            return
        unknown = note_written(slot)
        if unknown and self.single and slot.calls == 1:
            raise UnsupportedError("its steps cannot be told apart", [_sets(slot)])
        now = module._memories
        slot.values = tuple(
            now[name] if name in unknown else value
            for name, value in zip(now, slot.values, strict=len(now) == len(slot.values))
        )

    def _steps(self, slot: Slot, x_seq: Tensor) -> tuple[Tensor, States]:
        """Takes the steps of a rare neuron: as one operation where its step is a function, else as `_loop` does."""
        if not self.tracing:
            before = Draws.taken
            y, states = _loop(slot, x_seq)
            # What draws in its step is no function of current and state alone.
            alike = y.shape == x_seq.shape and y.dtype == x_seq.dtype and _alike(slot.values, states)
            slot.uniform = alike and Draws.taken == before
            return y, states
        if not slot.uniform or slot.adapter.why_not_dynamic:
            return _loop(slot, x_seq)
        return _stepwise(slot, x_seq)


def _sets(slot: Slot) -> Unsupported:
    why = "the module's forward sets its state before it is called, which one step would do at every step"
    return Unsupported(slot.path, type(slot.module).__name__, why, "use the sequence form")


def _tensor(value: Any, start: Any) -> Any:
    """Returns a hidden state as a tensor; a counter is a whole number."""
    if isinstance(value, Tensor):
        return value
    return torch.tensor(value) if isinstance(value, int | float) and value != start else torch.tensor(start)


def _alike(before: States, after: States) -> bool:
    """Returns whether states keep their shapes and types, and what is no tensor its value."""
    return all(
        (new.shape == old.shape and new.dtype == old.dtype)
        if isinstance(old, Tensor) and isinstance(new, Tensor)
        else new is old
        for old, new in zip(before, after, strict=True)
    )


def _stepwise(slot: Slot, x_seq: Tensor) -> tuple[Tensor, States]:
    """Runs a rare neuron over time as one operation of the program."""
    held = tuple(TENSOR if isinstance(value, Tensor) else value for value in slot.values)
    if slot.step is None or slot.step.held != held:
        assert slot.adapter.step is not None
        slot.step = Step(slot.path, slot.module, slot.adapter.step, held)
    y, *new = stepwise(x_seq, [value for value in slot.values if isinstance(value, Tensor)], slot.step.key)
    given = iter(new)
    return y, tuple(next(given) if isinstance(value, Tensor) else value for value in slot.values)


def _loop(slot: Slot, x_seq: Tensor) -> tuple[Tensor, States]:
    """Takes the steps of a rare neuron: unrolled where T is a number, as one scan where it is symbolic."""
    step = slot.adapter.step
    assert step is not None
    if isinstance(x_seq.shape[0], int):
        outputs, states = [], slot.values
        for x in x_seq.unbind(0):
            y, states = step(slot.module, x, states)
            outputs.append(y)
        return torch.stack(outputs), states
    from torch._higher_order_ops.scan import scan

    held = slot.values
    moving = [index for index, value in enumerate(held) if isinstance(value, Tensor)]

    def combine(carry: list[Tensor], x: Tensor) -> tuple[list[Tensor], Tensor]:
        states = list(held)
        for index, value in zip(moving, carry, strict=True):
            states[index] = value
        y, new = step(slot.module, x, tuple(states))
        # A scan may not hand out an alias of what it carries.
        return [new[index].clone() for index in moving], y.clone()

    carry, y_seq = scan(combine, [held[index] for index in moving], x_seq)
    states = list(held)
    for index, value in zip(moving, carry, strict=True):
        states[index] = value
    return y_seq, tuple(states)


def _materialize(slot: Slot, x: Tensor, has_time: bool, noting: bool) -> States:
    module = slot.module
    if not isinstance(module, base.MemoryModule):
        return slot.values
    states = slot.values
    if not _fits(module, states, x, has_time):
        states = module.materialize_states((x,), states, "m" if has_time else "s")
    if starts_from_nothing(module, states):
        states = from_nothing(slot, x[0] if has_time else x, states, noting=noting)
    return begun(slot, states)


def _fits(module: nn.Module, states: States, x: Tensor, has_time: bool) -> bool:
    """Returns whether SpikingJelly would take a neuron's states as they are; asking it traces a step of the input."""
    v = next(iter(states), None)
    asked = getattr(type(module), "materialize_states", None)
    if asked is not neuron.BaseNode.materialize_states or not isinstance(v, Tensor):
        return False
    own = has_time and module._neuron_precision is not None
    return not own and v.dtype == x.dtype and v.device == x.device and v.shape == x.shape[has_time:]


def _memory_names(module: nn.Module) -> list[str]:
    return list(module._memories) if isinstance(module, base.MemoryModule) else []


def _initial(module: nn.Module) -> States:
    if not isinstance(module, base.MemoryModule):
        return ()
    return tuple(copy.deepcopy(module._memories_rv[name]) for name in module._memories)


def _restore(slot: Slot) -> None:
    """Takes traced tensors out of the module again, so that no later run starts from them."""
    if isinstance(slot.module, base.MemoryModule):
        for name, value in zip(_memory_names(slot.module), _initial(slot.module), strict=True):
            slot.module._memories[name] = value
        if getattr(slot.module, "v_seq", None) is not None:
            slot.module.v_seq = None


def _distinct(outputs: tuple[Tensor, ...], others: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Gives every output a value of its own: a membrane may be an output and a state."""
    seen = {id(value) for value in others}
    made = []
    for value in outputs:
        made.append(value.clone() if id(value) in seen else value)
        seen.add(id(value))
    return tuple(made)


def flatten_outputs(outputs: Any) -> tuple[Tensor, ...]:
    """Returns the tensors of whatever a module returned (a tensor, tuple, list or dict), in order."""
    return tuple(tensor for _, tensor in named_leaves(outputs))

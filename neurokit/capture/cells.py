"""Neurons of snnTorch and norse, run by their library's own code with the state taken in and handed out."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import base
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from neurokit.errors import Unsupported, UnsupportedError

if TYPE_CHECKING:
    from neurokit.capture.slots import Slot
    from neurokit.capture.twin import Twin

STATES = "_neurokit_states"  # attribute of a module by hand: its states and the numbers that they start from
REST = "_neurokit_rest"  # beside it: what these attributes hold before the first call
HANDED = "_neurokit_handed"  # of a module whose caller hands on its state: how many arguments that is
PARTS = "_neurokit_parts"  # and how those that are lists, tuples or dicts hold states
LIBRARIES = ("snntorch", "norse")
FRESH: Any = object()  # a state that was asked of the library and not yet computed: the initial one
_SNNTORCH = {"Leaky", "Synaptic", "Alpha", "Lapicque", "RLeaky", "RSynaptic", "SLSTM", "SConv2dLSTM"}
_OWN_SHAPE = {"SLSTM", "SConv2dLSTM"}  # their state has not the shape of their input


def library_of(module: nn.Module) -> str:
    """Returns "snntorch" or "norse" for a module of these libraries, or of a class derived from theirs, else ""."""
    homes = [cls.__module__.partition(".")[0] for cls in type(module).__mro__]
    return next((name for name in LIBRARIES if name in homes), "")


def cell_kind(module: nn.Module) -> type[Cell] | None:
    """Returns the class of `Cell` that runs a library's neuron, or None if it is no neuron with a state."""
    library = library_of(module)
    kinds = {cls.__name__ for cls in type(module).__mro__}
    if library == "snntorch" and _SNNTORCH & kinds and "DeltaLeaky" not in kinds:  # its state is a pair in one
        return SnntorchCell
    if library == "norse" and _norse_state(module) is not None:
        return NorseCell
    return None


def hands_on_state(module: nn.Module) -> bool:
    """Returns whether a module takes its state as an argument and returns it, as norse's modules do.

    That is `forward(x, state=None)`, which returns the output and the state; its caller hands the state on.
    """
    if library_of(module) == "norse" or vars(module).get(HANDED):
        return True
    parameters = list(inspect.signature(module.forward).parameters.values())
    if len(parameters) != 2 or parameters[1].default is not None or "state" not in parameters[1].name:
        return False
    return any(library_of(part) == "norse" for part in module.modules())


def output_and_state(made: Any, count: int = 1) -> tuple[Any, Any]:
    """Returns what a module that takes its state returned: the output, and the state where it hands one on.

    Args:
        made: What it returned.
        count: How many arguments its state has: `spk, mem1, mem2 = net(x, mem1, mem2)` has two.
    """
    if isinstance(made, tuple) and len(made) == 1 + count:
        return (made[0], made[1]) if count == 1 else (made[0], Several(made[1:]))
    return made, None


class Several(tuple[Any, ...]):
    """States that a module takes as arguments of their own."""


def call_with_state(call: Callable[..., Any], x: Any, state: Any) -> Any:
    """Calls a module that takes its state with what it returned at its last call, or with nothing."""
    return call(x, *state) if isinstance(state, Several) else call(x) if state is None else call(x, state)


def states_handed(module: nn.Module) -> int:
    """Returns how many arguments the state of a module has that takes and returns it (`hands_on_state`)."""
    return int(vars(module).get(HANDED, 1))


def step_mode_of(module: nn.Module) -> str:
    """Returns "m" for a library's neuron that takes all steps `[T, B, ...]` at once, "s" for one step a call."""
    kinds = {cls.__name__ for cls in type(module).__mro__}
    return "m" if kinds & {"SNN", "SNNRecurrent"} else "s"


class Cell(base.MemoryModule):  # type: ignore[misc]  # SpikingJelly carries no types
    """A neuron of another library whose step is a function of its input and its state.

    Attributes of the library's module (its thresholds, its membrane) are read through this one, so that a user's
    forward finds what it expects.

    Args:
        cell: The library's module, of a private copy.
        names: Its states, in the order in which it takes them.
        starts: The value that every element of each state starts from.
    """

    library = ""

    def __init__(self, cell: nn.Module, names: Sequence[str], starts: Sequence[float]) -> None:
        super().__init__()
        self.cell = cell
        for name, start in zip(names, starts, strict=True):
            self._memories[name] = start
            self._memories_rv[name] = start
        self.step_mode = step_mode_of(cell)
        self.hands_out = True  # whether a call returns the state beside the spikes
        self.slot: Any = None

    def __getattr__(self, name: str) -> Any:
        """Falls back to the library's module."""
        try:
            return super().__getattr__(name)
        except AttributeError:
            cell = self.__dict__.get("_modules", {}).get("cell")
            if cell is None or name.startswith("__"):
                raise
            return getattr(cell, name)

    @property
    def supports_single_and_multi(self) -> tuple[str, ...]:
        """Returns the step modes, all of which `run_cell` knows."""
        return ("s", "m")

    def parameters_of_interest(self) -> dict[str, float]:
        """Returns the numbers that define the dynamics, by the library's names."""
        raise NotImplementedError

    def state_shape(self, x: Tensor) -> tuple[Any, ...]:
        """Returns the shape of the states for one step's input `[B, ...]`."""
        return tuple(x.shape)

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> tuple[Any, ...]:
        """Turns initial numbers into tensors."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        if all(isinstance(value, Tensor) for value in states):
            return tuple(states)
        shape = self.state_shape(x)
        return tuple(v if isinstance(v, Tensor) else x.new_full(shape, float(v)) for v in states)

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Any, tuple[Tensor, ...]]:
        """Runs one step `[B, ...]`; returns the output (a tensor, or several by hand) and the new states."""
        raise NotImplementedError

    def over_time(self, x_seq: Tensor, states: Sequence[Tensor]) -> tuple[Any, list[Tensor], tuple[Tensor, ...]]:
        """Takes the steps of `[T, B, ...]`; returns the outputs, what each step hands out, and the last states."""
        outputs, seen, last = [], [], tuple(states)
        for x in x_seq.unbind(0):
            before = last
            y, last = self.step(x, before)
            outputs.append(y)
            seen.append(self.handed_out(x, before, last))
        y = pytree.tree_map(lambda *values: torch.stack(values), *outputs)
        return y, [torch.stack(values) for values in zip(*seen, strict=True)], last

    def handed_out(self, x: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> Sequence[Tensor]:
        """Returns the states as the library hands them out after a step, from those before and after it."""
        return after

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the states that a call was given, `FRESH` where it asks for the initial one, or None for none."""
        raise NotImplementedError

    def returned(self, y: Tensor, states: Sequence[Tensor]) -> Any:
        """Returns what a call of the library's module returns."""
        raise NotImplementedError

    def forward(self, x: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Runs it as the library does, from the states handed over or from its own; a twin replaces this."""
        own, starts = tuple(self._memories.values()), tuple(self._memories_rv.values())
        handed = self.given(args, kwargs) or [None] * len(own)
        values = [o if v is None else s if v is FRESH else v for v, o, s in zip(handed, own, starts, strict=True)]
        states = self.materialize_states((x,), values, self.step_mode)
        if self.step_mode == "m":
            y, _, states = self.over_time(x, states)
            shown: Sequence[Tensor] = states
        else:
            before = states
            y, states = self.step(x, before)
            shown = self.handed_out(x, before, states)
        self._memories.update(zip(list(self._memories), states, strict=True))
        return self.returned(y, shown)

    def extra_repr(self) -> str:
        """Returns what `print` shows of it."""
        return f"run by {self.library}"


class SnntorchCell(Cell):
    """A neuron of snnTorch; its states are buffers of the module that its forward assigns."""

    library = "snntorch"

    def __init__(self, cell: nn.Module) -> None:
        names = [n for n in list(inspect.signature(type(cell).forward).parameters)[2:] if n in cell._buffers]
        for name in names:
            del cell._buffers[name]
            cell._non_persistent_buffers_set.discard(name)
            cell.__dict__[name] = torch.zeros(0)
        # Its forward branches on it: as a tensor it would make control flow depend on data.
        cell.__dict__["reset_mechanism_val"] = int(cell._buffers.pop("reset_mechanism_val"))  # type: ignore[arg-type]
        super().__init__(cell, names, [0.0] * len(names))
        self.hands_out = bool(cell.output or not cell.init_hidden)

    def __getattr__(self, name: str) -> Any:
        """Falls back to the library's module; what resets its state resets this one's."""
        starts = name == "reset_mem" or (name.startswith("init_") and name != "init_hidden")
        if starts and hasattr(type(self.cell), name):
            return self._start_over
        return super().__getattr__(name)

    def _start_over(self) -> Any:
        """Returns what the library's reset returns: states without a shape yet."""
        self.reset()
        tokens = tuple(torch.zeros(0) for _ in self._memories)
        return tokens if len(tokens) > 1 else tokens[0]

    def reset(self) -> None:
        """Starts over; in a twin, before the first step, what starts is the state that the program was given."""
        super().reset()
        if self.slot is not None and self.slot.calls:
            self.slot.values = self.slot.initial

    def parameters_of_interest(self) -> dict[str, float]:
        """Returns decay and threshold where they are single numbers."""
        found = {}
        for name in ("beta", "alpha", "threshold"):
            value = getattr(self.cell, name, None)
            if isinstance(value, Tensor) and value.numel() == 1:
                found[name] = float(value)
        return found

    def state_shape(self, x: Tensor) -> tuple[Any, ...]:
        """Returns the input's shape, or what the library's own first step gives."""
        if not _OWN_SHAPE & {cls.__name__ for cls in type(self.cell).__mro__}:
            return tuple(x.shape)
        return tuple(self.step(x, [x.new_zeros(0)] * len(self._memories))[1][-1].shape)

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs the library's forward with its buffers set to the states."""
        kept = dict(self.cell.__dict__)
        self.cell.__dict__.update(zip(self._memories, states, strict=True))
        try:
            out = type(self.cell).forward(self.cell, x)
            new = tuple(self.cell.__dict__[name] for name in self._memories)
        finally:
            self.cell.__dict__.clear()
            self.cell.__dict__.update(kept)
        # Its surrogates give single precision whatever the membrane's is.
        y, new = (out[0] if isinstance(out, tuple) else out).to(x.dtype), tuple(v.to(x.dtype) for v in new)
        return (y.clone() if any(y is value for value in new) else y), new

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the states handed over; those without a shape are initial ones, those left out its own."""
        named = {**dict(zip(self._memories, args, strict=False)), **kwargs}
        if all(value is None for value in named.values()):
            return None
        return [
            None if value is None else FRESH if isinstance(value, Tensor) and value.numel() == 0 else value
            for value in (named.get(name) for name in self._memories)
        ]

    def returned(self, y: Tensor, states: Sequence[Tensor]) -> Any:
        """Returns the spikes, with the states where the module was made so."""
        if not self.hands_out:
            return y
        return tuple(states) if "spk" in self._memories else (y, *states)  # recurrent ones hold their spikes as a state


class NorseCell(Cell):
    """A neuron of norse; its state is a named tuple that the caller hands over, or None at first."""

    library = "norse"

    def __init__(self, cell: nn.Module) -> None:
        initial = _norse_state(cell)
        leaves, self.structure = pytree.tree_flatten(initial)
        names = list(_field_names(initial))
        starts = [float(leaf.reshape(-1)[0]) for leaf in leaves]
        self.uneven = any(bool((leaf != leaf.reshape(-1)[0]).any()) for leaf in leaves)
        super().__init__(cell, names, starts)
        size = getattr(cell, "hidden_size", None)
        self.hidden = None if size is None else int(size)  # norse keeps it as a tensor

    def parameters_of_interest(self) -> dict[str, float]:
        """Returns the neuron's constants where they are single numbers, and the time step in seconds."""
        p, found = getattr(self.cell, "p", None), {"dt": float(getattr(self.cell, "dt", 0.001))}
        for name in getattr(p, "_fields", ()):
            value = getattr(p, name)
            if isinstance(value, int | float) or (isinstance(value, Tensor) and value.numel() == 1):
                found[name] = float(value)
        return found

    def state_shape(self, x: Tensor) -> tuple[Any, ...]:
        """Returns the input's shape, or that with the number of hidden neurons."""
        return tuple(x.shape) if self.hidden is None else (*x.shape[:-1], self.hidden)

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs the library's step."""
        state, cell = pytree.tree_unflatten(list(states), self.structure), self.cell
        if self.step_mode == "s" or not hasattr(cell, "activation"):
            y, new = type(cell).forward(cell, x, state)
        else:
            weights = [cell.input_weights, cell.recurrent_weights] if hasattr(cell, "input_weights") else []
            y, new = cell.activation(x, state, *weights, cell.p, cell.dt)  # type: ignore[operator]
        leaves = pytree.tree_leaves(new)
        # A leaf may be one number at first; as a state it has the shape of the others.
        leaves = [leaf.expand(old.shape).to(old.dtype) for leaf, old in zip(leaves, states, strict=True)]
        return (y.clone() if any(y is leaf for leaf in leaves) else y), tuple(leaves)

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the leaves of the state handed over; None asks for the initial state."""
        if not self.hands_out:
            return None
        state = args[0] if args else kwargs.get("state")
        return [FRESH] * len(self._memories) if state is None else pytree.tree_leaves(state)

    def returned(self, y: Tensor, states: Sequence[Tensor]) -> Any:
        """Returns output and state; inside of a sequence of modules the output alone."""
        return (y, pytree.tree_unflatten(list(states), self.structure)) if self.hands_out else y

    def forward(self, x: Tensor, state: Any = None) -> Any:
        """Takes a state, which is how norse's containers know a module that has one."""
        return super().forward(x, state)


def cell_of(kind: type[Cell], module: nn.Module) -> Cell:
    """Returns a cell for a module, of a class that is called as the module's."""
    named: type[Any] = type(type(module).__name__, (kind,), {"__module__": kind.__module__})
    return named(module)


def _norse_state(cell: Any) -> Any:
    """Returns the initial state of a neuron of norse for a small input, or None if it has none."""
    kinds = {cls.__name__ for cls in type(cell).__mro__}
    if "LILinearCell" in kinds:
        hints = typing.get_type_hints(type(cell).forward)
        state_type = next(kind for kind in typing.get_args(hints["state"]) if kind is not type(None))
        return state_type(v=cell.p.v_leak.detach(), i=torch.zeros(()))
    if not kinds & {"SNN", "SNNCell", "SNNRecurrent", "SNNRecurrentCell"} or not hasattr(cell, "initial_state"):
        return None
    size = int(cell.input_size) if hasattr(cell, "input_size") else 2
    shape = (1, 1, size) if step_mode_of(cell) == "m" else (1, size)
    state = cell.initial_state(torch.zeros(shape))
    return pytree.tree_map(lambda leaf: leaf.detach(), state)


def _field_names(state: Any, before: str = "") -> Iterator[str]:
    for name, value in zip(state._fields, state, strict=True):
        if hasattr(value, "_fields"):
            yield from _field_names(value, f"{before}{name}_")
        else:
            yield f"{before}{name}"


def begin_again(twin: Twin, slot: Slot) -> None:
    """Starts a neuron over that the user's forward has reset since its last call.

    Raises:
        UnsupportedError: Of a single step: the next one would not know of it.
    """
    if twin.single:
        why = "the module's forward resets it between two calls"
        reason = Unsupported(slot.path, type(slot.module).__name__, why, "use the sequence form")
        raise UnsupportedError("its steps cannot be told apart", [reason])
    slot.values, slot.forgotten = slot.initial, False


def run_cell(twin: Twin, slot: Slot, x: Tensor, args: Sequence[Any], kwargs: dict[str, Any]) -> Any:
    """Runs one call of a cell inside a twin, with the states that it is handed or those that the slot carries.

    The initial state that a user's forward asks for is the one that the program takes, so that a sequence can go on
    where the last one ended. A tensor that the user made is taken as it is.
    """
    cell: Cell = slot.module  # type: ignore[assignment]
    slot.calls += 1
    twin.order.append(slot.path)
    multi, outer = cell.step_mode == "m", twin.timeline
    folded = not multi and outer.folded and not twin.single
    slot.has_time = multi or folded
    if slot.forgotten:
        begin_again(twin, slot)
    handed = cell.given(args, kwargs)
    if handed is not None and not folded:
        values = []
        for value, own, start in zip(handed, slot.values, slot.initial, strict=True):
            fresh = own if slot.calls == 1 else start
            values.append(own if value is None else fresh if value is FRESH else value)
        slot.carried = slot.carried and (slot.calls > 1 or all(v is None or v is FRESH for v in handed))
        slot.values = tuple(values)
    if folded:
        x = x.unflatten(0, (outer.steps, -1))
    if twin.wake is not None:
        x = twin.wake(cell, x)
    slot.values = cell.materialize_states((x,), slot.values, "m" if slot.has_time else "s")
    slot.scanned = False
    before = slot.values
    if not slot.has_time:
        y, slot.values = cell.step(x, before)
        shown = cell.handed_out(x, before, slot.values)
    else:
        y, seen, slot.values = cell.over_time(x, before)
        y = pytree.tree_map(lambda part: part.flatten(0, 1), y) if folded else y
        shown = [v.flatten(0, 1) for v in seen] if folded else slot.values
    cell._memories.update(zip(list(cell._memories), slot.values, strict=True))
    return cell.returned(y, shown)

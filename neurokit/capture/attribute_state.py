"""Neurons written by hand that keep their membrane in an attribute between calls, one time step a call."""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves, tree_map

from neurokit.capture.attribute_parts import Parts, anew, parts_of
from neurokit.capture.cells import PARTS, REST, STATES, Cell
from neurokit.capture.first_written import first_written, one_number
from neurokit.capture.time_input import quiet_copy
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.spec import TensorSpec

_BATCH = 2


class AttributeCell(Cell):
    """A module whose state is what its forward leaves in its attributes.

    Args:
        cell: The module, as it is before its first call, marked by `mark_states`.
    """

    library = "its own code"

    def __init__(self, cell: nn.Module) -> None:
        named: dict[str, float] = vars(cell)[STATES]
        self.parts: dict[str, Parts] = vars(cell).get(PARTS, {})
        before_first = {name: _taken_out(cell, name) for name in vars(cell)[REST]}
        super().__init__(cell, list(named), list(named.values()))
        self.before_first = before_first
        self.hands_out = False

    def parameters_of_interest(self) -> dict[str, float]:
        """Returns the numbers among its attributes."""
        own = vars(self.cell).items()
        return {k: float(v) for k, v in own if isinstance(v, int | float) and not isinstance(v, bool) and k[0] != "_"}

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> tuple[Any, ...]:
        """Turns initial numbers into tensors of the shape that a first step leaves."""
        if all(isinstance(value, Tensor) for value in states):
            return tuple(states)
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        first = self._run(x, anew(self.before_first))[1]
        return tuple(
            v if isinstance(v, Tensor) else torch.full_like(like, float(v))
            for v, like in zip(states, first, strict=True)
        )

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Any, tuple[Tensor, ...]]:
        """Runs the module with its attributes set to the states; its output may be several tensors."""
        y, new = self._run(x, self._attributes(states))
        return tree_map(lambda part: part.clone() if any(part is value for value in new) else part, y), new

    def _attributes(self, states: Sequence[Any]) -> dict[str, Any]:
        """Returns the attributes that hold states."""
        left, made = list(states), {}
        for name in self.before_first:
            parts = self.parts.get(name)
            own = [left.pop(0) for _ in (parts.leaves if parts else (name,))]
            made[name] = parts.filled(own) if parts else own[0]
        return made

    def _states(self) -> tuple[Tensor, ...]:
        """Returns the states that its attributes hold."""
        found: list[Any] = []
        for name in self.before_first:
            value = self.cell.__dict__[name]
            parts = parts_of(value) if name in self.parts else None
            if parts is not None and parts.names != self.parts[name].names:
                why, fix = f"{name} holds more at every call", "keep a tensor of a fixed size"
                raise UnsupportedError("cannot be captured", [Unsupported("", type(self.cell).__name__, why, fix)])
            found += parts.leaves if parts else (value,)
        return tuple(found)

    def _run(self, x: Tensor, attributes: dict[str, Any]) -> tuple[Any, tuple[Tensor, ...]]:
        kept = dict(self.cell.__dict__)
        self.cell.__dict__.update(attributes)
        try:
            y = type(self.cell).forward(self.cell, x)
            if not all(isinstance(part, Tensor) for part in tree_leaves(y)):
                why = f"it keeps {', '.join(self._memories)} between calls and returns what is no tensor"
                fix = "return tensors"
                raise UnsupportedError("cannot be captured", [Unsupported("", type(self.cell).__name__, why, fix)])
            return y, self._states()
        finally:
            self.cell.__dict__.clear()
            self.cell.__dict__.update(kept)

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns None: its state is never handed over."""
        return None

    def returned(self, y: Any, states: Sequence[Tensor]) -> Any:
        """Returns the output."""
        return y


def mark_states(module: nn.Module, tensor: TensorSpec, known: Collection[str] = ()) -> tuple[str, ...]:
    """Marks every part of a module that keeps tensors in its attributes from one call to the next.

    It is found out by running copies twice on one input. What a forward only leaves behind (its last spikes, for a
    record) is no state: the answer does not depend on it.

    Args:
        module: The module, in evaluation mode, before its first call.
        tensor: Its input.
        known: Paths of the neurons whose state is known; what holds one is not marked.

    Returns:
        What is kept but cannot be taken as a state, "path (Class): attribute", for a message.
    """
    trial = quiet_copy(module)
    x = torch.rand((_BATCH, *tensor.numbers), generator=torch.Generator().manual_seed(0)).to(
        getattr(torch, tensor.dtype)
    )
    before = {path: _held(part) for path, part in trial.named_modules()}
    try:
        _called(trial, x)
        after = {path: _held(part) for path, part in trial.named_modules()}
        if not any(_changed(before[path], held) for path, held in after.items() if not _within(path, known)):
            return ()
        second = _called(copy.deepcopy(trial), x)
    except Exception:  # it does not take such an input: nothing can be said
        return ()
    refused = []
    for path, held in after.items():
        if _within(path, known):
            continue
        changed = _changed(before[path], held)
        kept = [name for name in changed if _matters(trial, path, name, before[path].get(name), x, second)]
        if not kept:
            continue
        part = module.get_submodule(path)
        from_none = _from_none(module, path, [name for name in kept if before[path].get(name) is None], held, x)
        first = {**before[path], **from_none}
        starts = {key: start for name in kept for key, start in _starts(name, first.get(name), held[name])}
        inner = [other for other in after if other != path and other.startswith(f"{path}." if path else "")]
        nested = any(other in known or _changed(before[other], after[other]) for other in inner)
        # A number that counts calls has no place for a batch, which every state has.
        counts = any(not isinstance(leaf, Tensor) for name in kept for leaf in _leaves(held[name]))
        if nested or counts or any(value is None for value in starts.values()):
            refused.append(f"{path or 'the model'} ({type(part).__name__}): {', '.join(kept)}")
        else:
            vars(part)[STATES] = starts
            vars(part)[REST] = {name: _value(before[path].get(name)) for name in kept}
            vars(part)[PARTS] = {name: held[name] for name in kept if isinstance(held[name], Parts)}
    return tuple(refused)


def _within(path: str, known: Collection[str]) -> bool:
    return any(path == other or path.startswith(f"{other}.") for other in known)


def _changed(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    pairs = [(name, value, before.get(name)) for name, value in after.items()]
    return [name for name, new, old in pairs if not (new.same(old) if isinstance(new, Parts) else new is old)]


def _called(module: nn.Module, x: Tensor) -> list[Tensor]:
    """Runs a module; returns its outputs and every tensor that it holds in an attribute then."""
    with torch.no_grad():
        outputs = tree_leaves(module(x))
    held = [leaf for part in module.modules() for value in _held(part).values() for leaf in _leaves(value)]
    return [leaf for leaf in [*outputs, *held] if isinstance(leaf, Tensor)]


def _held(part: nn.Module) -> dict[str, Any]:
    tensors = {name: value for name, value in vars(part).items() if isinstance(value, Tensor)}
    plain = {name: value for name, value in vars(part).items() if value is None or isinstance(value, float | int)}
    buffers = {name: value for name, value in part._buffers.items() if value is not None}
    named = {name: value for name, value in vars(part).items() if not name.startswith("_")}
    nested = {name: parts for name, value in named.items() if (parts := parts_of(value)) is not None}
    return {
        n: v for n, v in {**plain, **tensors, **buffers, **nested}.items() if not n.startswith("_") and n != "training"
    }


def _leaves(held: Any) -> tuple[Any, ...]:
    return held.leaves if isinstance(held, Parts) else (held,)


def _value(held: Any) -> Any:
    return held.filled(held.leaves) if isinstance(held, Parts) else held


def _starts(name: str, before: Any, held: Any) -> list[tuple[str, float | None]]:
    """Returns the name and the start of every state that an attribute holds after a call."""
    if not isinstance(held, Parts):
        return [(name, _start(before))]
    first = dict(zip(before.names, before.leaves, strict=True)) if isinstance(before, Parts) else {}
    return [(f"{name}_{key}", _start(first.get(key))) for key in held.names]


def _matters(trial: nn.Module, path: str, name: str, first: Any, x: Tensor, second: list[Tensor]) -> bool:
    """Returns whether a second call depends on what the first one left in an attribute."""
    again = copy.deepcopy(trial)
    setattr(again.get_submodule(path), name, _value(first))
    try:
        return not _same(_called(again, x), second)
    except Exception:  # a forward that needs what was there
        return True


def _from_none(module: nn.Module, path: str, names: list[str], held: dict[str, Any], x: Tensor) -> dict[str, float]:
    """Returns the numbers that attributes start from which hold None before the first call, where they are known.

    They are what the first call writes into them first, if it gives with them what it gives with None.
    """
    fresh = quiet_copy(module)
    with first_written(fresh.get_submodule(path)) as first:
        expected = _called(fresh, x)
    noted = {name: one_number(first.get(name)) for name in names}
    starts = {name: start for name, start in noted.items() if start is not None}
    again = quiet_copy(module)
    for name, start in starts.items():
        setattr(again.get_submodule(path), name, torch.full_like(held[name], start))
    try:
        return starts if _same(_called(again, x), expected) else {}
    except Exception:  # whatever a user's code raises
        return {}


def _start(value: Any) -> float | None:
    """Returns the number that a state starts from: what was in the attribute, zero for nothing; None if it is none."""
    if isinstance(value, bool) or (isinstance(value, Tensor) and value.numel() > 1 and bool((value != 0).any())):
        return None
    if isinstance(value, Tensor):
        return float(value.reshape(-1)[0]) if value.numel() else 0.0
    return 0.0 if value is None else float(value)


def _taken_out(cell: nn.Module, name: str) -> Any:
    """Returns what an attribute holds before the first call; a buffer becomes a plain attribute."""
    if name in cell._buffers:
        value = cell._buffers.pop(name)
        cell._non_persistent_buffers_set.discard(name)
        cell.__dict__[name] = value
    return cell.__dict__.get(name)


def _same(a: list[Tensor], b: list[Tensor]) -> bool:
    return len(a) == len(b) and all(x.shape == y.shape and torch.equal(x, y) for x, y in zip(a, b, strict=True))

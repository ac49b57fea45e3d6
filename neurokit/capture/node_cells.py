"""Neurons of other libraries that are one operation here, also with their states handed through the user's forward.

The operation carries the membrane after the reset. snnTorch with a delayed reset hands out the one before it, which is
made of the former membrane and the input where somebody reads it; where nobody does, as in a loop that keeps spikes
alone, a neuron called once a step is one operation over all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextvars import ContextVar
from typing import Any

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from neurokit.capture.cells import FRESH, Cell, NorseCell, SnntorchCell
from neurokit.capture.recording import membrane_after, membranes
from neurokit.neurons import ops
from neurokit.neurons.parameters import NeuronParameters

BY_LIBRARY: ContextVar[bool] = ContextVar("neurons are run by their library's code", default=False)


class NodeCell(Cell):
    """Runs a neuron operation in the place of a library's neuron, and hands out the library's membrane.

    Attributes:
        constants: What defines the operation.
        gain: What the input is multiplied by to be a current.
    """

    constants: NeuronParameters
    gain = 1.0

    def over(self, constants: NeuronParameters) -> None:
        """Sets the neuron that is run, and its membrane as the only state."""
        self.constants = constants
        for held in (self._memories, self._memories_rv):
            held.clear()
            held["v"] = float(constants.rest)
        self.tau = constants.tau if constants.op == "lif" else None
        self.shown: tuple[Any, Any] = (None, None)  # the membrane that was handed out last, and the state it stands for
        self.beside: tuple[Any, Any] = (None, None)  # the last state of the operation, and the same in plain operations

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step `[B, ...]`."""
        spikes, v = self._run(self.current(x).unsqueeze(0), states[-1])
        return spikes.squeeze(0), (v,)

    def over_time(self, x_seq: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        """Runs all steps at once; the membranes between them are computed where somebody reads them."""
        current = self.current(x_seq)
        spikes, last = self._run(current, states[-1])
        return spikes, [self._membranes(current, states[-1])] if self.hands_out else [], (last,)

    def _membranes(self, current: Tensor, v0: Tensor) -> Tensor:
        """Returns the membranes `[T, B, ...]` that the library hands out."""
        after = membranes(self.constants, current, v0)
        return self.membrane(current, torch.cat((v0.unsqueeze(0), after[:-1])), after)

    def current(self, x: Tensor) -> Tensor:
        """Returns the current that an input is."""
        return x if self.gain == 1.0 else x * self.gain

    def _run(self, x_seq: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        return (ops.lif if self.constants.op == "lif" else ops.if_)(x_seq, v, *self.constants.arguments())

    def handed_out(self, x: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> Sequence[Tensor]:
        """Returns the membrane, and keeps in mind what it stands for."""
        return (self._shown(self.current(x), before[-1], after[-1]),)

    def _shown(self, current: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Computes the membrane beside the operation, which over all steps of a loop has none between them."""
        known = self.beside[1] if before is self.beside[0] else before
        own = membrane_after(self.constants, known, current)
        self.beside = (after, own)
        membrane = self.membrane(current, known, own)
        self.shown = (membrane, after)
        return membrane

    def membrane(self, current: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Returns what the library hands out after a step, from the state before and after it."""
        return after

    def state(self, membrane: Tensor) -> Tensor:
        """Returns the state that a membrane of the library stands for."""
        return membrane

    def taken(self, handed: Any) -> Any:
        """Returns the state that a call was handed: that of its own last step, or what a user's membrane stands for."""
        if not isinstance(handed, Tensor):
            return handed
        return self.shown[1] if handed is self.shown[0] else self.state(handed)


class SnntorchNode(NodeCell, SnntorchCell):
    """snnTorch's Leaky, Lapicque or RLeaky.

    Its membrane is `beta v + x`. With a delayed reset (`reset_delay=True`, its default) the spike that a membrane
    above the threshold gives is taken back in the next step: `beta v - threshold` there is `beta (v - threshold/beta)`,
    a reset in this step by so much.
    """

    def __init__(self, cell: nn.Module, constants: NeuronParameters, gain: float = 1.0) -> None:
        super().__init__(cell)
        self.late = bool(getattr(cell, "reset_delay", True))  # Lapicque has no other
        self.gain = gain
        self.over(constants)

    def membrane(self, current: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Returns the membrane; with a delayed reset that before the reset."""
        decay: Any = self.constants.decay  # a number, or one a channel
        charged: Tensor = (1.0 - decay) * before + current if self.late else after
        return charged

    def state(self, membrane: Tensor) -> Tensor:
        """Takes the reset that is still to come."""
        if not self.late:
            return membrane
        threshold: Any = self.constants.v_threshold
        fired = (membrane >= threshold).to(membrane.dtype)
        return self.constants.after_spike(membrane, fired)

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the state handed over."""
        handed = args[-1] if args else kwargs.get("mem")
        if handed is None:
            return None
        return [_fresh(handed, self.taken(handed))]

    def returned(self, y: Tensor, states: Sequence[Tensor]) -> Any:
        """Returns the spikes, with the states where the module was made so."""
        return (y, *states) if self.hands_out else y


class SynapticNode(SnntorchNode):
    """snnTorch's Synaptic: a current that decays by alpha drives a Leaky in the same step."""

    def over(self, constants: NeuronParameters) -> None:
        """Sets the neuron that is run; its states are the current and the membrane."""
        super().over(constants)
        for held in (self._memories, self._memories_rv):
            start = held.pop("v")
            held["syn"], held["v"] = 0.0, start
        self.kept = float(self.cell.alpha.detach().clamp(0, 1))  # type: ignore[operator]

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step `[B, ...]`."""
        syn = self.kept * states[0] + x
        y, (v,) = super().step(syn, states)
        return y, (syn, v)

    def over_time(self, x_seq: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        """Runs all steps at once, behind the current, which is a loop of its own."""
        current = self._filtered(x_seq, states[0])
        y, seen, (v,) = super().over_time(current, states)
        return y, [current, *seen] if self.hands_out else [], (current[-1], v)

    def _filtered(self, x_seq: Tensor, syn: Tensor) -> Tensor:
        if isinstance(x_seq.shape[0], int):
            made = []
            for x in x_seq.unbind(0):
                syn = self.kept * syn + x
                made.append(syn)
            return torch.stack(made)
        from torch._higher_order_ops.scan import scan

        def combine(carry: list[Tensor], x: Tensor) -> tuple[list[Tensor], Tensor]:
            new = self.kept * carry[0] + x
            return [new], new.clone()

        return scan(combine, [syn], x_seq)[1]

    def handed_out(self, x: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> Sequence[Tensor]:
        """Returns current and membrane."""
        return (after[0], self._shown(after[0], before[1], after[1]))

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the states handed over."""
        named = {**dict(zip(("syn", "mem"), args, strict=False)), **kwargs}
        syn, mem = named.get("syn"), named.get("mem")
        if syn is None and mem is None:
            return None
        return [None if syn is None else _fresh(syn, syn), None if mem is None else _fresh(mem, self.taken(mem))]


class NorseNode(NodeCell, NorseCell):
    """norse's LIFBoxCell or IAFCell; its membrane is the one after the reset."""

    def __init__(self, cell: nn.Module, constants: NeuronParameters) -> None:
        super().__init__(cell)
        self.over(constants)

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the state handed over."""
        found = super().given(args, kwargs)
        return None if found is None else [self.taken(value) for value in found]


def _fresh(handed: Any, value: Any) -> Any:
    """Returns a state handed over, or what asks for the initial one: snnTorch makes it a tensor without elements."""
    return FRESH if isinstance(handed, Tensor) and handed.numel() == 0 else value


def node_cell(library: str, module: nn.Module, constants: NeuronParameters, gain: float = 1.0) -> NodeCell:
    """Returns a library's neuron run as an operation."""
    kind: Any = NorseNode if library == "norse" else SynapticNode if hasattr(module, "alpha") else SnntorchNode
    named = type(type(module).__name__, (kind,), {"__module__": kind.__module__})
    return named(module, constants) if library == "norse" else named(module, constants, gain)


def constants_of(node: Any) -> NeuronParameters | None:
    """Returns the constants of one of SpikingJelly's neurons that is an operation, or None for any other."""
    if type(node) not in (neuron.IFNode, neuron.LIFNode):
        return None
    given = {"v_threshold": float(node.v_threshold), "v_reset": node.v_reset, "detach_reset": node.detach_reset}
    if type(node) is neuron.IFNode:
        return NeuronParameters("if_", **given)
    return NeuronParameters("lif", **given, leak=float(node.tau), decay_input=node.decay_input)

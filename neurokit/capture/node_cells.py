"""Neurons of other libraries that are one operation here, with their states handed through the user's forward.

The operation carries the membrane after the reset. snnTorch with a delayed reset hands out the one before it, which is
made of the former membrane and the input where somebody reads it; where nobody does, as in a loop that keeps spikes
alone, a neuron called once a step is one operation over all steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

from neurokit.capture.cells import FRESH, Cell, NorseCell, SnntorchCell
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.neurons import dynamics, ops


class NodeCell(Cell):
    """Runs a SpikingJelly neuron in the place of a library's one, and hands out the library's membrane.

    Attributes:
        node: An `IFNode` or `LIFNode` with the same spikes.
    """

    node: Any

    def over(self, node: Any) -> None:
        """Sets the neuron that is run, and its membrane as the only state."""
        self.__dict__["node"] = node  # no submodule: a twin would run it as a neuron of its own
        start = 0.0 if node.v_reset is None else float(node.v_reset)
        for held in (self._memories, self._memories_rv):
            held.clear()
            held["v"] = start
        self.tau = getattr(node, "tau", None)
        self.shown: tuple[Any, Any] = (None, None)  # the membrane that was handed out last, and the state it stands for

    def step(self, x: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Runs one step `[B, ...]`."""
        spikes, v = self._run(x.unsqueeze(0), states[0])
        return spikes.squeeze(0), (v,)

    def over_time(self, x_seq: Tensor, states: Sequence[Tensor]) -> tuple[Tensor, list[Tensor], tuple[Tensor, ...]]:
        """Runs all steps at once; the membranes between them are computed where somebody reads them."""
        if not isinstance(x_seq.shape[0], int):
            why = "it hands out its membrane at every step, so that T must be a number"
            reason = Unsupported("", type(self).__name__, why, "give a number of time steps")
            raise UnsupportedError("a neuron cannot have a dynamic T", [reason])
        spikes, last = self._run(x_seq, states[0])
        v, seen, node = states[0], [], self.node
        kind, given = ("lif", vars(node)) if isinstance(node, neuron.LIFNode) else ("if_", {})
        for x, spike in zip(x_seq.unbind(0), spikes.unbind(0), strict=True):
            before = v
            v = ops.reset(dynamics.charge(kind, v, x, given), spike, node.v_threshold, node.v_reset)
            seen.append(self.membrane(x, before, v))
        return spikes, [torch.stack(seen)], (last,)

    def _run(self, x_seq: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        node, fire = self.node, (self.node.v_threshold, self.node.v_reset)
        tail = ("none", 1.0, node.detach_reset)
        if isinstance(node, neuron.LIFNode):
            return ops.lif(x_seq, v, node.tau, *fire, node.decay_input, *tail)
        return ops.if_(x_seq, v, *fire, *tail)

    def handed_out(self, x: Tensor, before: Sequence[Tensor], after: Sequence[Tensor]) -> Sequence[Tensor]:
        """Returns the membrane, and keeps in mind what it stands for."""
        membrane = self.membrane(x, before[0], after[0])
        self.shown = (membrane, after[0])
        return (membrane,)

    def membrane(self, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
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
    """snnTorch's Leaky that resets to zero."""

    def __init__(self, cell: nn.Module, node: Any) -> None:
        super().__init__(cell)
        self.over(node)

    def membrane(self, x: Tensor, before: Tensor, after: Tensor) -> Tensor:
        """Returns the membrane; with a delayed reset that before the reset."""
        late = self.cell.reset_delay
        return self.cell.beta.clamp(0, 1) * before + x if late else after  # type: ignore[operator]

    def state(self, membrane: Tensor) -> Tensor:
        """Takes the reset that is still to come."""
        fired = (membrane > self.cell.threshold).to(membrane.dtype)  # type: ignore[operator]
        if not self.cell.reset_delay:
            return membrane
        return (1 - fired) * membrane

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the state handed over."""
        handed = args[0] if args else kwargs.get("mem")
        if handed is None:
            return None
        return [FRESH if isinstance(handed, Tensor) and handed.numel() == 0 else self.taken(handed)]

    def returned(self, y: Tensor, states: Sequence[Tensor]) -> Any:
        """Returns spikes and membrane."""
        return y, states[0]


class NorseNode(NodeCell, NorseCell):
    """norse's LIFBoxCell or IAFCell; its membrane is the one after the reset."""

    def __init__(self, cell: nn.Module, node: Any) -> None:
        super().__init__(cell)
        self.over(node)

    def given(self, args: Sequence[Any], kwargs: dict[str, Any]) -> list[Any] | None:
        """Returns the state handed over."""
        found = super().given(args, kwargs)
        return None if found is None else [self.taken(value) for value in found]


def node_cell(library: str, module: nn.Module, node: Any) -> NodeCell | None:
    """Returns a neuron run as an operation, or None where the counterpart is none."""
    if type(node) not in (neuron.IFNode, neuron.LIFNode) or node.v_reset is None:
        return None  # a soft reset subtracts the threshold, which lies one bit above the library's
    kind: Any = SnntorchNode if library == "snntorch" else NorseNode
    named = type(type(module).__name__, (kind,), {"__module__": kind.__module__})
    return named(module, node)


def used_parameters(cell: NodeCell) -> dict[str, Any]:
    """Returns the constants of the operation, as every neuron that is one has them."""
    node = cell.node
    found: dict[str, Any] = {
        "v_threshold": node.v_threshold,
        "v_reset": node.v_reset,
        "surrogate": "none",
        "alpha": 1.0,
        "detach_reset": node.detach_reset,
    }
    if isinstance(node, neuron.LIFNode):
        found |= {"tau": node.tau, "decay_input": node.decay_input}
    return found

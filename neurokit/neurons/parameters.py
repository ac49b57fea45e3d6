"""A neuron's parameters: one record, from capture to ONNX functions, NIR, the simulator and compiled kernels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.neurons import dynamics

#: One number for a whole layer, or an array that broadcasts against one sample: `[C, 1, 1]` for one a channel.
Number = float | NDArray[np.floating[Any]]

_TRAINING = ("surrogate", "alpha", "detach_reset")
_TAIL = (*_TRAINING, "v_subtract")
#: Arguments of each neuron operation after its input and membrane, in order (neurokit/neurons/ops.py).
ARGUMENTS: dict[str, tuple[str, ...]] = {
    "if_": ("v_threshold", "v_reset", *_TAIL),
    "lif": ("tau", "v_threshold", "v_reset", "decay_input", *_TAIL),
    "plif": ("decay", "v_threshold", "v_reset", "decay_input", *_TAIL),
}


@dataclass(frozen=True)
class NeuronParameters:
    """What defines the dynamics of a layer of common neurons; the equations are in `neurokit.neurons.dynamics`.

    Attributes:
        op: "if_", "lif" or "plif".
        v_threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike (hard reset), or None to subtract the threshold (soft reset).
        leak: tau of a LIF neuron in time steps, decay = 1 / tau of a PLIF neuron, 0 for an IF neuron.
        decay_input: Whether the leak acts on the input too; of no meaning for an IF neuron.
        surrogate: Name of the surrogate gradient, or "none".
        alpha: Its slope.
        detach_reset: Whether the gradient stops at the reset.
        v_subtract: What a soft reset subtracts, or None for the threshold. A neuron that resets one step late, as
            snnTorch's do, subtracts before the leak: threshold / beta after it.
    """

    op: str
    v_threshold: Number
    v_reset: Number | None = None
    leak: Number = 0.0
    decay_input: bool = True
    surrogate: str = "none"
    alpha: float = 1.0
    detach_reset: bool = False
    v_subtract: float | None = None

    @classmethod
    def from_arguments(cls, op: str, given: Sequence[Any]) -> NeuronParameters:
        """Returns the parameters of a call of an operation, from its arguments after input and membrane."""
        return cls.from_names(op, dict(zip(ARGUMENTS[op], given, strict=False)))

    @classmethod
    def from_names(cls, op: str, named: Mapping[str, Any]) -> NeuronParameters:
        """Returns the parameters by the names that operations and manifests use; others are not looked at."""
        leak = named.get({"lif": "tau", "plif": "decay"}.get(op, ""), 0.0)
        given = {key: named[key] for key in ("decay_input", *_TAIL) if key in named}
        return cls(op, _number(named["v_threshold"]), _number(named["v_reset"]), _number(leak), **given)

    @property
    def hard(self) -> bool:
        """Whether a spike sets the membrane to a potential."""
        return self.v_reset is not None

    @property
    def rest(self) -> Number:
        """Potential that the membrane leaks towards."""
        return 0.0 if self.v_reset is None else self.v_reset

    @property
    def tau(self) -> Number:
        """Membrane time constant in time steps; infinite for an IF neuron."""
        return math.inf if self.op == "if_" else self.leak if self.op == "lif" else 1.0 / self.leak

    @property
    def decay(self) -> Number:
        """Share of the membrane that leaks away in a step; 0 for an IF neuron."""
        return 1.0 / self.leak if self.op == "lif" else self.leak

    @property
    def scalar(self) -> bool:
        """Whether one number each holds for the whole layer."""
        numbers = (self.v_threshold, self.rest, self.leak)
        return all(isinstance(number, float) for number in numbers)

    def arguments(self) -> tuple[Any, ...]:
        """Returns the arguments of the operation after input and membrane."""
        named = {**vars(self), "tau": self.leak, "decay": self.leak}
        return tuple(named[name] for name in ARGUMENTS[self.op])

    def listed(self) -> dict[str, Any]:
        """Returns what a manifest lists."""
        made: dict[str, Any] = {name: getattr(self, name) for name in ("v_threshold", "v_reset", *_TRAINING)}
        if self.v_subtract is not None:
            made["v_subtract"] = self.v_subtract
        if self.op != "if_":
            made["decay_input"] = self.decay_input
        if self.op == "plif":
            made["decay"] = self.leak
        return made if self.op == "if_" else {**made, "tau": self.tau}

    def charge(self, v: Any, x: Any) -> Any:
        """Returns the charged membrane, for tensors, arrays or numbers."""
        leaks = {"tau": self.leak, "decay": self.leak, "decay_input": self.decay_input}
        return dynamics.charge(self.op, v, x, {"v_reset": self.v_reset, **leaks})

    def after_spike(self, h: Any, spike: Any) -> Any:
        """Returns the membrane after firing, for a spike of 0 or 1 in the dtype of `h`."""
        return dynamics.after_spike(h, spike, vars(self))


def _number(value: Any) -> Any:
    """Returns a tensor, array or number as a number, or as an array where it is more than one."""
    if value is None or isinstance(value, int | float):
        return None if value is None else float(value)
    array = np.asarray(value.detach().cpu().numpy() if hasattr(value, "detach") else value)
    return float(array.reshape(-1)[0]) if array.size == 1 else array

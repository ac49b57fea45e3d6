"""A neuron as GPU assembly: what a target asks of the kernels, and what it gets; the two find each other by name."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from neurokit.errors import InputError
from neurokit.neurons.parameters import NeuronParameters
from neurokit.registry import Registry


@dataclass(frozen=True)
class NeuronCall:
    """A neuron over T steps as a kernel is compiled for it; every number is a float32.

    Attributes:
        op: "if_", "lif" or "plif" (names as in neurokit/neurons/ops.py).
        leak: tau of a LIF neuron in steps, decay = 1 / tau of a PLIF neuron, 0 for an IF neuron.
        v_threshold: Firing threshold; a membrane equal to it fires.
        v_reset: Potential after a spike, or None to subtract the threshold.
        decay_input: Whether the leak acts on the input too.
        half_input: Whether the input current is float16; membranes are float32 always.
        half_spikes: Whether spikes are written as float16.
        steps: T where it is known, None where it is free.
        aligned: Whether the number of neurons is known to be a multiple of 16, which lets a kernel move whole vectors.
    """

    op: str
    leak: float
    v_threshold: float
    v_reset: float | None
    decay_input: bool = True
    half_input: bool = False
    half_spikes: bool = False
    steps: int | None = None
    aligned: bool = False

    @classmethod
    def of(cls, parameters: NeuronParameters, **settings: Any) -> NeuronCall:
        """Returns the call of a neuron with these parameters.

        Args:
            parameters: The neuron's.
            settings: What else a kernel is compiled for: the fields after `decay_input`.

        Raises:
            InputError: If a parameter differs by channel, or its reset subtracts another number than its threshold: a
                kernel is compiled for one number each.
        """
        if not parameters.scalar:
            raise InputError(
                "a compiled neuron has parameters that differ by channel", expected="one number for the layer"
            )
        if parameters.v_subtract is not None:
            what = "a compiled neuron subtracts another number than its threshold"
            raise InputError(what, expected="a soft reset by the threshold, or a hard one")
        given: Any = parameters
        return cls(given.op, given.leak, given.v_threshold, given.v_reset, given.decay_input, **settings)


@dataclass(frozen=True)
class DeviceCode:
    """A kernel for CUDA's driver. Its arguments are x, v0, T, the number of neurons, spikes and v_last, in this order.

    Attributes:
        entry: Name of the entry point; different code has different names.
        ptx: The assembly, for compute capability 8.0 and every later one.
        threads: Threads a block.
        neurons: Neurons a block: the grid is the number of neurons over this, rounded up.
    """

    entry: str
    ptx: str
    threads: int
    neurons: int


NEURON_CODE: Registry[Callable[[NeuronCall], DeviceCode]] = Registry("neuron kernel", "neurokit.kernels")

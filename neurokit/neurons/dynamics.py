"""The equations of the neurons, once: written with operators alone, so that tensors, arrays and numbers all fit.

With the membrane before the step `v`, the input current `x`, the reset potential `r` (0 where there is none) and the
charged membrane `h`:

    if_     h = v + x
    lif     h = v + (x - (v - r)) / tau     (decay_input)      h = v - (v - r) / tau + x     (else)
    plif    h = v + (x - (v - r)) * decay   (decay_input)      h = v - (v - r) * decay + x   (else)
    s = 1 if h >= threshold else 0
    v' = r where s, else h      (hard reset: v_reset is a number)
    v' = h - s * subtract       (soft reset: v_reset is None; subtract is the threshold where nothing else is given)

The order of the floating-point operations is SpikingJelly 2.0's (`_ops/*/reference.py`), so that equal inputs give
equal bits.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

V = TypeVar("V")


def charge_if(v: V, x: V) -> V:
    """Returns the charged membrane of an integrate-and-fire neuron."""
    return v + x  # type: ignore[operator]


def charge_lif(v: Any, x: Any, tau: float, v_reset: float | None, decay_input: bool) -> Any:
    """Returns the charged membrane of a leaky integrate-and-fire neuron; `tau` in time steps."""
    rest = 0.0 if v_reset is None else v_reset
    if decay_input:
        return v + (x - (v - rest)) / tau
    return v - (v - rest) / tau + x


def charge_plif(v: Any, x: Any, decay: Any, v_reset: float | None, decay_input: bool) -> Any:
    """Returns the charged membrane of a LIF neuron whose decay 1/tau is learnt."""
    rest = 0.0 if v_reset is None else v_reset
    if decay_input:
        return v + (x - (v - rest)) * decay
    return v - (v - rest) * decay + x


def charge(op: str, v: Any, x: Any, parameters: Mapping[str, Any]) -> Any:
    """Returns the charged membrane for an operation and its parameters as a manifest lists them."""
    if op == "if_":
        return charge_if(v, x)
    tail = (parameters["v_reset"], parameters["decay_input"])
    if op == "lif":
        return charge_lif(v, x, parameters["tau"], *tail)
    return charge_plif(v, x, parameters["decay"], *tail)


def subtracted(parameters: Mapping[str, Any]) -> Any:
    """Returns what a soft reset subtracts: the threshold, unless `v_subtract` says otherwise."""
    given = parameters.get("v_subtract")
    return parameters["v_threshold"] if given is None else given


def after_spike(h: Any, spike: Any, parameters: Mapping[str, Any]) -> Any:
    """Returns the membrane after firing, for a spike of 0 or 1 in the dtype of `h`."""
    v_reset = parameters["v_reset"]
    if v_reset is None:
        return h - spike * subtracted(parameters)
    return spike * v_reset + (1.0 - spike) * h

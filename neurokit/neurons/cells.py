"""NIR's neurons as modules: SpikingJelly's own where they are the same, else their equations step by step.

A neuron of NIR is a differential equation. It is advanced by Euler's forward step of dt seconds, which is what
SpikingJelly's neurons compute for `tau = tau_steps * dt`. NIR fires above the threshold, SpikingJelly at it: the
thresholds of the two are neighbouring float32 numbers, so that both decide alike on every float32 membrane.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import base, neuron
from torch import Tensor, nn

_DIGITS = 12  # of a time constant in steps: tau / dt in float64 carries fifteen


def fires_at(above: np.ndarray) -> np.ndarray:
    """Returns the smallest float32 above each threshold: firing above the one is firing at the other."""
    near = np.asarray(above, dtype=np.float32)
    up = np.nextafter(near, np.float32(np.inf))
    return np.where(near.astype(np.float64) > np.asarray(above, dtype=np.float64), near, up)


def fires_above(at: float | np.ndarray) -> np.ndarray:
    """Returns the largest float32 below each threshold: firing at the one is firing above the other."""
    return np.nextafter(np.asarray(at, dtype=np.float32), np.float32(-np.inf))


def in_steps(tau: float, dt: float) -> float:
    """Returns a time constant in steps of dt, without the rounding of the division."""
    return float(f"{tau / dt:.{_DIGITS}g}")


def make_neuron(kind: str, fields: Mapping[str, Any], dt: float) -> nn.Module:
    """Returns the module of one neuron node, in multi-step mode, with no input gain left outside of it."""
    simple = _simple(kind, fields, dt)
    return simple if simple is not None else NirCell(kind, fields, dt)


def _simple(kind: str, fields: Mapping[str, Any], dt: float) -> nn.Module | None:
    """Returns SpikingJelly's neuron where it computes the same, else None."""
    if kind not in ("IF", "LIF"):
        return None
    values = {key: _one(fields.get(key)) for key in ("tau", "r", "v_leak", "v_threshold", "v_reset")}
    if fields.get("v_reset") is None:
        values["v_reset"] = 0.0
    threshold, v_reset, r = values["v_threshold"], values["v_reset"], values["r"]
    if threshold is None or v_reset is None or r is None:
        return None
    threshold = float(fires_at(np.asarray(threshold)))
    if not threshold > v_reset:
        return None
    if kind == "IF":
        if not _close(r * dt, 1.0):
            return None
        return neuron.IFNode(v_threshold=threshold, v_reset=v_reset, step_mode="m")
    tau = values["tau"]
    if tau is None or values["v_leak"] is None or not _close(values["v_leak"], v_reset) or tau / dt <= 1.0:
        return None
    steps = in_steps(tau, dt)
    if not (_close(r, 1.0) or _close(r, tau / dt)):
        return None
    return neuron.LIFNode(tau=steps, decay_input=_close(r, 1.0), v_threshold=threshold, v_reset=v_reset, step_mode="m")


def _one(value: Any) -> float | None:
    """Returns the one number that all elements are, or None."""
    if value is None:
        return None
    flat = np.asarray(value, dtype=np.float64).reshape(-1)
    return float(flat[0]) if flat.size and (flat == flat[0]).all() else None


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= 1e-6 * max(abs(a), abs(b), 1e-6)


class NirCell(base.MemoryModule):  # type: ignore[misc]
    """A NIR neuron with parameters of any shape: leaky or not, current-based or not, firing or not.

    The synaptic current is advanced first and drives the membrane of the same step, as in SpikingJelly's
    CUBALIFNode and snnTorch's Synaptic.

    Args:
        kind: "I", "IF", "LI", "LIF", "CubaLI" or "CubaLIF".
        fields: The node's fields.
        dt: Seconds a time step.
    """

    def __init__(self, kind: str, fields: Mapping[str, Any], dt: float) -> None:
        super().__init__()
        self.kind, self.dt = kind, float(dt)
        self.fields = {key: np.array(value, dtype=np.float64) for key, value in fields.items() if value is not None}
        get = self.fields
        self.leaky, self.current, self.fires = "tau" in get or "tau_mem" in get, "tau_syn" in get, "v_threshold" in get
        tau: Any = get.get("tau", get.get("tau_mem"))
        self._constant("leak", dt / tau if self.leaky else 0.0)
        self._constant("gain", get["r"] * (dt / tau if self.leaky else dt))
        self._constant("rest", get.get("v_leak", 0.0))
        if self.current:
            self._constant("decay", dt / get["tau_syn"])
            self._constant("drive", get.get("w_in", 1.0) * (dt / get["tau_syn"]))
            self.register_memory("current_v", 0.0)
        if self.fires:
            self._constant("threshold", fires_at(get["v_threshold"]))
            self._constant("after", get.get("v_reset", 0.0))
        start = _one(get.get("v_reset")) if self.fires else None
        self.register_memory("v", start or 0.0)
        self.step_mode = "m"

    def _constant(self, name: str, value: Any) -> None:
        array = np.asarray(value, dtype=np.float32)
        self.register_buffer(name, torch.from_numpy(array.reshape(()) if array.size == 1 else array.copy()))

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> tuple[Any, ...]:
        """Turns the initial numbers into tensors of the input's shape."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        return tuple(torch.full_like(x, value) if isinstance(value, float) else value for value in states)

    def single_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Runs one step `[B, ...]` from the given states."""
        x, states = inputs[0], self.materialize_states(inputs, states, "s")
        named = dict(zip(self._memories, states, strict=True))
        if self.current:
            named["current_v"] = x = named["current_v"] - named["current_v"] * self.decay + x * self.drive
        h = named["v"] + x * self.gain
        if self.leaky:
            h = h + (self.rest - named["v"]) * self.leak
        y = h
        if self.fires:
            fired = h >= self.threshold
            y, h = fired.to(h.dtype), torch.where(fired, self.after.to(h.dtype), h)
        named["v"] = h
        return (y,), tuple(named[name] for name in self._memories)

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Runs one step `[B, ...]` from the module's own states."""
        (y,), states = self.single_step_functional_forward((x,), tuple(self._memories.values()))
        for name, value in zip(list(self._memories), states, strict=True):
            self._memories[name] = value
        return y

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Runs a sequence `[T, B, ...]`."""
        return torch.stack([self.single_step_forward(x) for x in x_seq])

    def extra_repr(self) -> str:
        """Returns what `print` shows of it."""
        return f"{self.kind}, dt={self.dt:g} s"

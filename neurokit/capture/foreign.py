"""Neurons of snnTorch and norse, replaced by modules with the same equations that can be captured.

So are SpikingJelly's recurrent containers and its delay, whose states are a tensor of no fixed start and a list.

snnTorch's Leaky is `v = beta v + x`, fires above its threshold and, by default, takes the reset at the next step;
Synaptic puts `i = alpha i + x` before it. norse's LIFCell and LIFBoxCell are NIR's CubaLIF and LIF, stepped by dt.
Where one of them is SpikingJelly's neuron it becomes that; time constants then divide where snnTorch multiplies, so
membranes may differ in the last bit unless beta is a dyadic number.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import base, layer, neuron
from torch import Tensor, nn

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.neurons.cells import fires_at, make_neuron
from neurokit.neurons.delay import Delay
from neurokit.neurons.loops import Container, Recurrent

_HINT = "use SpikingJelly's neurons, or export it with its library to .nir and load that"


def adopt(net: nn.Module) -> tuple[nn.Module, int]:
    """Replaces the neurons of other libraries in a private copy; returns the module and how many there were.

    Raises:
        UnsupportedError: If one has no counterpart; lists each.
    """
    reasons: list[Unsupported] = []
    found = _replace(net, "", reasons)
    if reasons:
        raise UnsupportedError("neurons of another library cannot be captured", reasons)
    count = sum(getattr(module, "_neurokit_adopted", False) for module in found.modules())
    return found, count


def _replace(module: nn.Module, path: str, reasons: list[Unsupported]) -> nn.Module:
    home = type(module).__module__.partition(".")[0]
    kind = type(module).__name__
    if type(module) is layer.Delay:
        return _in_mode(Delay(module.delay_steps), module.step_mode) if module.delay_steps else nn.Identity()
    if home == "norse" and kind == "SequentialState":
        # It hands states from step to step; the replaced neurons keep their own.
        parts = [
            (name, _replace(part, f"{path}.{name}".lstrip("."), reasons)) for name, part in module.named_children()
        ]
        sequence = nn.Sequential()
        for name, part in parts:
            sequence.add_module(name, part)
        return sequence
    if home in ("snntorch", "norse") and kind in _MAKERS:
        made = _MAKERS[kind](module)
        if isinstance(made, str):
            reasons.append(Unsupported(path, f"{home}.{kind}", made, _HINT))
            return module
        made._neurokit_adopted = True
        return made
    if home in ("snntorch", "norse") and not list(module.children()) and _is_stateful(module):
        reasons.append(Unsupported(path, f"{home}.{kind}", "it has no counterpart here", _HINT))
        return module
    for name, part in list(module.named_children()):
        new = _replace(part, f"{path}.{name}".lstrip("."), reasons)
        if new is not part:
            setattr(module, name, new)
    if type(module) in (layer.ElementWiseRecurrentContainer, layer.LinearRecurrentContainer):
        return Container(module)
    return module


def _is_stateful(module: nn.Module) -> bool:
    return hasattr(module, "mem") or hasattr(module, "initial_state") or hasattr(module, "reset_mem")


def _leaky(module: Any) -> nn.Module | str:
    why = _snntorch_refusal(module)
    if why:
        return why
    beta, threshold = _array(module.beta).clip(0, 1), _array(module.threshold)
    reset = module.reset_mechanism
    if reset == "subtract" and module.reset_delay and (beta == 1).all() and threshold.size == 1:
        return neuron.IFNode(v_threshold=float(fires_at(threshold)), v_reset=None, step_mode="s")
    if reset == "zero" and (beta < 1).all():
        tau = 1 / (1 - beta)
        fields = {"tau": tau, "r": tau, "v_leak": 0 * tau, "v_threshold": threshold, "v_reset": 0 * threshold}
        return _single_step(make_neuron("LIF", fields, 1.0))
    return Leaky(beta, threshold, reset, late=bool(module.reset_delay))


def _synaptic(module: Any) -> nn.Module | str:
    why = _snntorch_refusal(module)
    if why:
        return why
    alpha, beta = _array(module.alpha).clip(0, 1), _array(module.beta).clip(0, 1)
    if module.reset_mechanism != "zero" or module.reset_delay or (alpha == 1).any() or (beta == 1).any():
        return "only reset_mechanism='zero' with reset_delay=False and alpha, beta < 1 has a counterpart here"
    tau_syn, tau_mem, threshold = 1 / (1 - alpha), 1 / (1 - beta), _array(module.threshold)
    fields = {
        "tau_syn": tau_syn,
        "tau_mem": tau_mem,
        "r": tau_mem,
        "w_in": tau_syn,
        "v_leak": 0 * tau_mem,
        "v_threshold": threshold,
        "v_reset": 0 * threshold,
    }
    return _single_step(make_neuron("CubaLIF", fields, 1.0))


def _rleaky(module: Any) -> nn.Module | str:
    why = _snntorch_refusal(module)
    if why:
        return why
    beta, threshold = _array(module.beta).clip(0, 1), _array(module.threshold)
    if module.reset_mechanism != "zero" or module.reset_delay or (beta == 1).any():
        return "only reset_mechanism='zero' with reset_delay=False and beta < 1 has a counterpart here"
    tau = 1 / (1 - beta)
    fields = {"tau": tau, "r": tau, "v_leak": 0 * tau, "v_threshold": threshold, "v_reset": 0 * threshold}
    return Recurrent(module.recurrent, _single_step(make_neuron("LIF", fields, 1.0)))


def _rsynaptic(module: Any) -> nn.Module | str:
    return "snnTorch 1.0 runs it with reset_delay=True only, which resets by rules of its own"


def _snntorch_refusal(module: Any) -> str:
    if not module.init_hidden or module.output:
        return "its state is handed through the user's forward (init_hidden=False, or output=True)"
    if module.inhibition or module.state_quant or float(module.graded_spikes_factor) != 1.0:
        return "it inhibits, quantises its state or grades its spikes"
    return ""


def _norse(kind: str) -> Any:
    def make(module: Any) -> nn.Module | str:
        p, dt = module.p, float(module.dt)
        fields = {
            "r": np.ones(()),
            "v_leak": _array(p.v_leak),
            "v_threshold": _array(p.v_th),
            "v_reset": _array(p.v_reset),
        }
        if kind == "LIF":
            if getattr(p.reset_method, "__name__", "") != "reset_value":
                return "its reset subtracts, and only reset_value is known for it"
            return _single_step(make_neuron(kind, {**fields, "tau": 1 / _array(p.tau_mem_inv)}, dt))
        tau_syn = 1 / _array(p.tau_syn_inv)
        fields |= {"tau_mem": 1 / _array(p.tau_mem_inv), "tau_syn": tau_syn, "w_in": tau_syn / dt}
        return _single_step(make_neuron(kind, fields, dt))

    return make


_MAKERS: dict[str, Any] = {
    "Leaky": _leaky,
    "Synaptic": _synaptic,
    "RLeaky": _rleaky,
    "RSynaptic": _rsynaptic,
    "LIFCell": _norse("CubaLIF"),
    "LIFBoxCell": _norse("LIF"),
}


def _single_step(module: Any) -> nn.Module:
    return _in_mode(module, "s")


def _in_mode(module: Any, step_mode: str) -> nn.Module:
    module.step_mode = step_mode
    return module  # type: ignore[no-any-return]


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)


class Leaky(base.MemoryModule):
    """snnTorch's Leaky with its own order of operations, where SpikingJelly has no such neuron.

    Args:
        beta: Decay a step, of one number or one a neuron.
        threshold: What the membrane must exceed.
        reset: "subtract", "zero" or "none".
        late: Whether the reset is taken at the next step.
    """

    def __init__(self, beta: np.ndarray, threshold: np.ndarray, reset: str, late: bool) -> None:
        super().__init__()
        self.reset_mechanism, self.late = reset, late
        self.register_buffer("beta", torch.as_tensor(beta, dtype=torch.float32))
        self.register_buffer("threshold", torch.as_tensor(threshold, dtype=torch.float32))
        self.register_memory("v", 0.0)

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> tuple[Any, ...]:
        """Turns the initial number into a tensor of the input's shape."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        return tuple(torch.full_like(x, value) if isinstance(value, float) else value for value in states)

    def single_step_forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """Runs one step `[B, ...]`."""
        (v,) = self.materialize_states((x,), (self._memories["v"],), "s")
        before = (v > self.threshold).to(v.dtype)
        if self.reset_mechanism == "zero":
            v = (1 - before) * v
        h = self.beta * v + x
        if self.reset_mechanism == "subtract":
            h = h - before * self.threshold
        spike = (h > self.threshold).to(h.dtype)
        if not self.late:  # what was taken above is given back
            h = h - (spike - before) * {"subtract": self.threshold, "zero": h, "none": 0.0}[self.reset_mechanism]
        self._memories["v"] = h
        return spike

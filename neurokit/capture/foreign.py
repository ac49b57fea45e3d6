"""Neurons of snnTorch and norse, replaced by modules that can be captured.

Where a neuron is one of SpikingJelly's or NIR's, or an operation, it becomes that, which every target knows: snnTorch's
Leaky is a LIF (with its delayed reset one that subtracts threshold / beta), norse's LIFCell and LIFBoxCell are NIR's
CubaLIF and LIF, stepped by dt. Time constants then divide where snnTorch multiplies, so membranes may differ in the
last bit unless beta is a dyadic number. Every other is a `Cell`, run by its library's own code.

So are SpikingJelly's recurrent containers, its delay and its encoders with a memory, whose states are a tensor of no
fixed start, a list and a code that is None at first.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MethodType
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import encoding, layer
from torch import Tensor, nn

from neurokit.capture.attribute_state import AttributeCell
from neurokit.capture.cells import (
    STATES,
    Cell,
    call_with_state,
    cell_kind,
    cell_of,
    hands_on_state,
    library_of,
    output_and_state,
    states_handed,
)
from neurokit.capture.legacy import modernised
from neurokit.capture.node_cells import BY_LIBRARY, NodeCell, constants_of, node_cell
from neurokit.capture.ordinary import follow
from neurokit.capture.resets import BEGIN, KIND
from neurokit.capture.thresholds import finite_thresholds
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.neurons.cells import fires_at, make_neuron
from neurokit.neurons.delay import Delay
from neurokit.neurons.encoders import Encoder
from neurokit.neurons.loops import Container, Recurrent
from neurokit.neurons.parameters import NeuronParameters


def adopt(net: nn.Module) -> tuple[nn.Module, list[str]]:
    """Replaces the neurons of other libraries in a private copy; returns the module and notes for the user.

    Raises:
        UnsupportedError: If one cannot be taken; lists each.
    """
    reasons: list[Unsupported] = []
    finite = finite_thresholds(net)
    outputs_first = hands_on_state(net) and library_of(net) != "norse"
    net = modernised(net)
    before = dict(net.named_modules(remove_duplicate=False))
    found = _replace(net, "", reasons)
    follow(found, before)
    if outputs_first:  # the program carries the state
        found = _handing_on(found)
    if reasons:
        raise UnsupportedError("neurons of another library cannot be captured", reasons)
    parts = list(found.modules())
    cells = sum(isinstance(part, Cell) and not isinstance(part, NodeCell) for part in parts)
    same = sum(getattr(part, "_neurokit_adopted", False) for part in parts) - cells
    notes = [f"{same} neuron(s) of another library were replaced by ones with the same equations"] if same else []
    notes += finite
    return found, [*notes, *([f"{cells} neuron(s) are run step by step by their own code"] if cells else [])]


def _replace(module: Any, path: str, reasons: list[Unsupported], chained: bool = False) -> nn.Module:
    """Returns what stands for a module; `chained` where the container around it hands its state on."""
    kind = type(module).__name__
    if type(module) is layer.Delay:
        steps, mode = module.delay_steps, module.step_mode
        return _in_mode(Delay(steps), mode) if steps else nn.Identity()
    if isinstance(module, encoding.StatefulEncoder) and not isinstance(module, encoding.PeriodicEncoder):
        return Encoder(module)
    if STATES in vars(module):
        return _marked(cell_of(AttributeCell, module))
    library = library_of(module)
    if library == "norse" and (kind == "SequentialState" and (chained or not path)) and not module.return_hidden:
        return _sequence(module, path, reasons)
    if library == "norse" and kind == "RecurrentSequential" and not path:
        why = "it hands its own output to its next call"
        reasons.append(Unsupported(path, "norse.RecurrentSequential", why, "call it in a loop of a module of your own"))
        return module
    if library and cell_kind(module) is not None:
        return _neuron(module, library, path, chained, reasons)
    for name, part in list(module.named_children()):
        new = _replace(part, f"{path}.{name}".lstrip("."), reasons)
        if new is not part:
            setattr(module, name, new)
    if library == "norse" and kind == "Lift":
        return _lifted(module, chained)
    if type(module) in (layer.ElementWiseRecurrentContainer, layer.LinearRecurrentContainer):
        return Container(module)
    return module


class _HandsOn(nn.Module):
    """Base of a module in norse's manner, which takes and returns its state: the calls of one run hand it on."""

    _handed: Any = None

    def forward(self, x: Tensor) -> Any:
        """Returns the output of one step alone; the state is kept for the next."""
        y, state = output_and_state(call_with_state(super().forward, x, self._handed), states_handed(self))
        self._handed = self._handed if state is None else state
        return y

    def begin(self) -> None:
        """Forgets the state: the next call is the first of a run."""
        self._handed = None


def _handing_on(module: nn.Module) -> nn.Module:
    kind = type(module)
    module.__class__ = type(kind.__name__, (_HandsOn, kind), {"__module__": kind.__module__})
    setattr(module, BEGIN, True)
    return module


def _sequence(module: nn.Module, path: str, reasons: list[Unsupported]) -> nn.Module:
    """Returns a SequentialState that nobody hands a state as a sequence whose neurons keep their own."""
    sequence = nn.Sequential()
    for name, part in list(module.named_children()):
        sequence.add_module(name, _replace(part, f"{path}.{name}".lstrip("."), reasons, chained=True))
    return sequence


def _neuron(module: Any, library: str, path: str, chained: bool, reasons: list[Unsupported]) -> nn.Module:
    """Returns a neuron with the same equations where its state is its own, else one run by the library's code."""
    kept = chained if library == "norse" else module.init_hidden and not module.output
    theirs = type(module).__module__.startswith(f"{library}.")  # a class derived from theirs may do anything
    made = _MAKERS[type(module).__name__](module) if theirs and type(module).__name__ in _MAKERS else None
    if BY_LIBRARY.get() and not (kept and isinstance(made, nn.Module)):
        made = None
    elif isinstance(made, Operation):
        made = node_cell(library, module, made.constants, made.gain)
    elif made is not None and not kept:
        constants = constants_of(made)
        made = None if constants is None else node_cell(library, module, constants)
    elif made is not None and library == "snntorch":
        made.reset_mem = MethodType(_start_over, made)
    if made is None:
        made = cell_of(cell_kind(module) or Cell, module)
        if chained:
            made.hands_out = False
        if getattr(made, "uneven", False):
            why = "its state does not start from one number"
            reasons.append(Unsupported(path, f"{library}.{type(module).__name__}", why, "give it one v_leak and v_th"))
    setattr(made, KIND, type(module))
    return _marked(made)


def _start_over(neuron: Any) -> None:
    """What stands for snnTorch's `reset_mem` at a neuron of SpikingJelly."""
    neuron.reset()


def _marked(made: Any) -> nn.Module:
    made._neurokit_adopted = True
    return made


def _lifted(module: Any, chained: bool) -> nn.Module:
    """Returns norse's Lift with time folded into the batch, or a neuron of it that takes all steps at once."""
    inner = module.lifted_module
    if isinstance(inner, Cell):
        inner.hands_out = not chained
        return _in_mode(inner, "m")
    return module if module.is_stateful else Folded(inner)


class Folded(nn.Module):
    """A module without state run on every step of `[T, B, ...]`, all at once."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.lifted_module = inner

    def forward(self, x: Any) -> Tensor:
        """Runs `[T, B, ...]`; of a pair of tensor and state, as norse hands on, the state is dropped."""
        x = x[0] if isinstance(x, tuple) else x
        return self.lifted_module(x.flatten(0, 1)).unflatten(0, x.shape[:2])


@dataclass(frozen=True)
class Operation:
    """A neuron operation that a library's neuron is.

    Attributes:
        constants: What defines the operation.
        gain: What its input is multiplied by to be a current.
    """

    constants: NeuronParameters
    gain: float = 1.0


#: Below it a delayed reset is no operation: its membrane falls by threshold / beta, whose rounding grows with 1 / beta.
_LEAST_BETA = 0.0625


def _late_reset(beta: np.ndarray, threshold: np.ndarray, gain: float = 1.0) -> Operation | None:
    """Returns snnTorch's neuron with a reset by subtraction one step late, or None where numbers differ by neuron."""
    if beta.size != 1 or threshold.size != 1 or beta.item() < _LEAST_BETA:
        return None
    kept, at = beta.item(), threshold.item()
    fires = float(fires_at(np.asarray(at)))
    if kept == 1.0:
        return Operation(NeuronParameters("if_", fires, None, v_subtract=at), gain)
    leak = 1.0 / (1.0 - kept)
    return Operation(NeuronParameters("lif", fires, None, leak, decay_input=False, v_subtract=at / kept), gain)


def _leaky(module: Any) -> nn.Module | Operation | None:
    if _has_extras(module):
        return None
    beta, threshold = _array(module.beta).clip(0, 1), _array(module.threshold)
    reset = module.reset_mechanism
    if reset == "subtract" and module.reset_delay:
        return _late_reset(beta, threshold)
    if reset == "zero" and (beta < 1).all():
        tau = 1 / (1 - beta)
        fields = {"tau": tau, "r": tau, "v_leak": 0 * tau, "v_threshold": threshold, "v_reset": 0 * threshold}
        return _single_step(make_neuron("LIF", fields, 1.0))
    return None


def _lapicque(module: Any) -> Operation | None:
    if _has_extras(module) or module.reset_mechanism != "subtract":
        return None  # its reset to zero drops the input of the next step as well
    share = _array(module.time_step) / _array(module.C)
    beta = 1 - _array(module.time_step) / (_array(module.R) * _array(module.C))
    return _late_reset(beta, _array(module.threshold), share.item()) if share.size == 1 else None


def _synaptic(module: Any) -> nn.Module | Operation | None:
    if _has_extras(module):
        return None
    alpha, beta = _array(module.alpha).clip(0, 1), _array(module.beta).clip(0, 1)
    if module.reset_mechanism == "subtract" and module.reset_delay and alpha.size == 1:
        return _late_reset(beta, _array(module.threshold))
    if module.reset_mechanism != "zero" or module.reset_delay or (alpha == 1).any() or (beta == 1).any():
        return None
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


def _rleaky(module: Any) -> nn.Module | None:
    if _has_extras(module):
        return None
    beta, threshold = _array(module.beta).clip(0, 1), _array(module.threshold)
    if module.reset_mechanism == "subtract" and module.reset_delay and module.init_hidden and not module.output:
        late = _late_reset(beta, threshold)
        return None if late is None else Recurrent(module.recurrent, node_cell("snntorch", module, late.constants))
    if module.reset_mechanism != "zero" or module.reset_delay or (beta == 1).any():
        return None
    tau = 1 / (1 - beta)
    fields = {"tau": tau, "r": tau, "v_leak": 0 * tau, "v_threshold": threshold, "v_reset": 0 * threshold}
    return Recurrent(module.recurrent, _single_step(make_neuron("LIF", fields, 1.0)))


def _has_extras(module: Any) -> bool:
    """Returns whether a neuron of snnTorch does what no neuron here does."""
    graded = not bool((_array(module.graded_spikes_factor) == 1).all())
    return bool(module.inhibition or module.state_quant or graded) or not _steps_above_zero(module)


def _steps_above_zero(module: Any) -> bool:
    """Returns whether its surrogate's forward pass is the step function with f(0) = 0; some draw noise."""
    x = torch.tensor([-1.0, -1e-3, 0.0, 1e-3, 0.6, 7.0])
    with torch.no_grad():
        return bool(torch.equal(module.spike_grad(x).float(), (x > 0).float()))


def _norse(kind: str) -> Any:
    def make(module: Any) -> nn.Module | None:
        p, dt = module.p, float(module.dt)
        fields = {
            "r": np.ones(()),
            "v_leak": _array(p.v_leak),
            "v_threshold": _array(p.v_th),
            "v_reset": _array(p.v_reset),
        }
        if kind == "LIF":
            if getattr(p.reset_method, "__name__", "") != "reset_value":
                return None
            return _single_step(make_neuron(kind, {**fields, "tau": 1 / _array(p.tau_mem_inv)}, dt))
        tau_syn = 1 / _array(p.tau_syn_inv)
        fields |= {"tau_mem": 1 / _array(p.tau_mem_inv), "tau_syn": tau_syn, "w_in": tau_syn / dt}
        return _single_step(make_neuron(kind, fields, dt))

    return make


def _iaf_fields(module: Any) -> dict[str, np.ndarray]:
    p = module.p
    return {"r": np.ones(()), "v_threshold": _array(p.v_th), "v_reset": _array(p.v_reset)}


_MAKERS: dict[str, Any] = {
    "Leaky": _leaky,
    "Lapicque": _lapicque,
    "Synaptic": _synaptic,
    "RLeaky": _rleaky,
    "LIFCell": _norse("CubaLIF"),
    "LIFBoxCell": _norse("LIF"),
    "IAFCell": lambda module: _single_step(make_neuron("IF", _iaf_fields(module), 1.0)),
}


def _single_step(module: Any) -> nn.Module:
    return _in_mode(module, "s")


def _in_mode(module: Any, step_mode: str) -> nn.Module:
    module.step_mode = step_mode
    return module


def _array(value: Any) -> np.ndarray:
    return np.asarray(value.detach().cpu() if isinstance(value, Tensor) else value, dtype=np.float64)

"""How each stateful SpikingJelly module is run as a pure function of its input and its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from spikingjelly.activation_based import base, neuron
from torch import Tensor, nn

from neurokit import ops
from neurokit.target import Unsupported

States = tuple[Any, ...]
# One step: (module, input [B, ...], states) -> (output, states).
Step = Callable[[nn.Module, Tensor, States], tuple[Tensor, States]]

_SURROGATES = {"Sigmoid": "sigmoid", "ATan": "atan", "PiecewiseQuadratic": "triangle"}
_NOISY = (neuron.NoisyBaseNode, neuron.NoisyNonSpikingBaseNode)


@dataclass(frozen=True)
class Adapter:
    """How to run one module functionally.

    Attributes:
        op: "if_", "lif", "plif", or "decomposed".
        parameters: Scalars that define the dynamics.
        sequence: Runs `[T, B, ...]` at once, or None where steps must be taken one by one.
        step: Runs `[B, ...]` once.
        streams: Whether running step by step is the same as running the sequence.
        why_not_streaming: The reason, where it is not.
    """

    op: str
    parameters: dict[str, Any]
    sequence: Step | None
    step: Step | None
    streams: bool = True
    why_not_streaming: str = ""


def is_stateful(module: nn.Module) -> bool:
    """Returns whether a module must be run through an adapter."""
    return isinstance(module, (base.MemoryModule, neuron.NonSpikingBaseNode, neuron.ILCBaseNode))


def adapter_for(module: nn.Module) -> Adapter:
    """Returns how to run `module`; see `refuse` for modules that cannot be run."""
    common = _common(module)
    if common is not None:
        return common
    parameters = {k: v for k, v in vars(module).items() if isinstance(v, int | float | str) and not k.startswith("_")}
    parameters.pop("training", None)
    step = _STEPS.get(type(module), _own_step)
    if isinstance(module, neuron.PSN | neuron.GatedLIFNode | neuron.DSRIFNode | neuron.DSRLIFNode):
        why = "its output at one step depends on the steps after it, or on the number of the step"
        return Adapter("decomposed", parameters, _own_sequence, None, False, why)
    if isinstance(module, neuron.NonSpikingBaseNode | neuron.ILCBaseNode):
        return Adapter("decomposed", parameters, _own_sequence, None, False, "it keeps no state between calls")
    if isinstance(module, neuron.SlidingPSN | neuron.MaskedPSN):
        sequence = _own_sequence if getattr(module, "step_mode", "m") == "m" else None
        return Adapter("decomposed", parameters, sequence, step, False, "its state is a queue that grows")
    return Adapter("decomposed", parameters, None, step)


def refuse(path: str, module: nn.Module) -> Unsupported | None:
    """Returns why a module cannot be captured, or None."""
    kind = type(module).__name__
    if isinstance(module, _NOISY):
        return Unsupported(path, kind, "it draws random noise at inference", "use its noise-free counterpart")
    if isinstance(module, neuron.MaskedPSN) and float(module.lambda_) < 1.0 and module.step_mode == "s":
        return Unsupported(path, kind, "its mask is not fully applied (lambda < 1)", "set lambda_ = 1.0 after training")
    if isinstance(module, neuron.FlexSN) and not callable(getattr(module, "core", None)):
        return Unsupported(path, kind, "it has no core function", "give it one")
    if getattr(module, "_neuron_precision", None) is not None:
        return Unsupported(
            path, kind, "its state is stored in mixed precision", "remove the precision policy before capturing"
        )
    return None


def fires_at_zero(surrogate: nn.Module) -> bool:
    """Returns whether a surrogate's forward pass is the step function with f(0) = 1."""
    probe = torch.tensor([-1.0, -1e-3, 0.0, 1e-3, 0.6, 7.0])
    with torch.no_grad():
        return bool(torch.equal(surrogate(probe), (probe >= 0).to(probe.dtype)))


def _common(module: nn.Module) -> Adapter | None:
    """Returns the adapter of a neuron that is one operation, or None if `module` is none."""
    kind = type(module)
    if kind not in (neuron.IFNode, neuron.HalfThresholdIFNode, neuron.LIFNode, neuron.ParametricLIFNode):
        return None  # a subclass may have overridden anything
    if module.store_v_seq or not fires_at_zero(module.surrogate_function):
        return None
    name = _SURROGATES.get(type(module.surrogate_function).__name__, "none")
    alpha = getattr(module.surrogate_function, "alpha", 1.0)
    if not isinstance(alpha, int | float):
        name, alpha = "none", 1.0
    tail = (name, float(alpha), module.detach_reset)
    fire = (module.v_threshold, module.v_reset)
    parameters: dict[str, Any] = {
        "v_threshold": module.v_threshold, "v_reset": module.v_reset, "surrogate": name, "alpha": float(alpha),
        "detach_reset": module.detach_reset,
    }  # fmt: skip
    if kind in (neuron.IFNode, neuron.HalfThresholdIFNode):
        return Adapter("if_", parameters, *_op_runs(lambda m, x, v: ops.if_(x, v, *fire, *tail)))
    leak = (*fire, module.decay_input, *tail)
    parameters["decay_input"] = module.decay_input
    if kind is neuron.LIFNode:
        parameters["tau"] = module.tau
        return Adapter("lif", parameters, *_op_runs(lambda m, x, v: ops.lif(x, v, m.tau, *leak)))
    parameters["decay"] = float(module.w.detach().sigmoid())
    parameters["tau"] = 1.0 / parameters["decay"]
    return Adapter("plif", parameters, *_op_runs(lambda m, x, v: ops.plif(x, v, m.w.sigmoid(), *leak)))


def _op_runs(call: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]) -> tuple[Step, Step]:
    def sequence(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
        spikes, v = call(module, x, states[0])
        return spikes, (v,)

    def step(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
        spikes, new = sequence(module, x.unsqueeze(0), states)
        return spikes.squeeze(0), new

    return sequence, step


def _run_own(module: nn.Module, x: Tensor, states: States, forward: Callable[..., Any]) -> tuple[Tensor, States]:
    """Runs a module's own method with its memories set to `states`; returns them as they are after it."""
    if not isinstance(module, base.MemoryModule):
        y = forward(module, x)
        module.__dict__.pop("v", None)  # a per-call temporary; keeping it would keep a traced tensor
        return y, states
    names = list(module._memories)
    module._memories.update(zip(names, states, strict=True))
    y = forward(module, x)
    return y, tuple(module._memories[name] for name in names)


def _own_sequence(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
    def forward(m: Any, value: Tensor) -> Any:
        return m.multi_step_forward(value) if hasattr(m, "multi_step_forward") else type(m).forward(m, value)

    return _run_own(module, x, states, forward)


def _own_step(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
    return _run_own(module, x, states, lambda m, value: m.single_step_forward(value))


def _activation_aware_step(module: Any, x: Tensor, states: States) -> tuple[Tensor, States]:
    """IF with an offset before the comparison; SpikingJelly's own is an opaque operation."""
    threshold = module._broadcast_parameter(module.v_threshold, x, "v_threshold")
    offset = module._broadcast_parameter(module.v_offset, x, "v_offset")
    h = states[0] + x
    spike = (h + offset >= threshold).to(x.dtype)
    v = h - spike * threshold if module.v_reset is None else spike * module.v_reset + (1.0 - spike) * h
    return spike, (v,)


def _stbif_step(module: Any, x: Tensor, states: States) -> tuple[Tensor, States]:
    """Spike-tracer bipolar IF (SpikeZIP); SpikingJelly's own is an opaque operation.

    A spike of either sign leaves while the charge q is outside [0, 1) and the tracer is inside its limits.
    """
    q, tracer, _ = states
    scale = module.q_threshold.to(x.dtype)
    q = q + x / scale
    tracer = tracer.round()
    up = ((q >= 1) & (tracer < module.pos_max.to(x.dtype))).to(x.dtype)
    down = ((q < 0) & (tracer > module.neg_min.to(x.dtype))).to(x.dtype)
    spike = up - down
    return spike * scale, (q - up + down, tracer + spike, spike)


_STEPS: dict[type, Step] = {
    neuron.ActivationAwareIFNode: _activation_aware_step,
    neuron.STBIFNode: _stbif_step,
}

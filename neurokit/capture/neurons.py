"""How each stateful SpikingJelly module is run as a pure function of its input and its state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from spikingjelly.activation_based import base, functional, layer, neuron, surrogate
from torch import Tensor, nn

from neurokit.capture.cells import Cell
from neurokit.capture.legacy import cls_of
from neurokit.capture.node_cells import NodeCell
from neurokit.capture.plain_neurons import number, plain_kind
from neurokit.capture.recording import membranes
from neurokit.neurons import ops
from neurokit.neurons.cells import NirCell
from neurokit.neurons.delay import Delay
from neurokit.neurons.encoders import Encoder
from neurokit.neurons.loops import Loop
from neurokit.neurons.parameters import NeuronParameters

States = tuple[Any, ...]
# One step: (module, input [B, ...], states) -> (output, states).
Step = Callable[[nn.Module, Tensor, States], tuple[Tensor, States]]

_SURROGATES = {"Sigmoid": "sigmoid", "ATan": "atan", "PiecewiseQuadratic": "triangle"}
_IN_ATTRIBUTE = "it keeps its membrane in an attribute while it runs"
_LIBRARY_CODE = "it is run by its library's own code, step by step"
_LOOPS, _OWN_FORWARD, _AT_ONCE = (
    "it loops over the steps",
    "it has a forward of its own",
    "it defines its steps at once only",
)
_UNROLLED = (_IN_ATTRIBUTE, _LIBRARY_CODE, _LOOPS, _OWN_FORWARD, _AT_ONCE)
NOISY = neuron.NoisyBaseNode | neuron.NoisyNonSpikingBaseNode


@dataclass(frozen=True)
class Adapter:
    """How to run one module functionally.

    Attributes:
        op: "if_", "lif", "plif", "decomposed", or what is no neuron: "loop", "delay".
        parameters: Scalars that define the dynamics.
        sequence: Runs `[T, B, ...]` at once, or None where steps must be taken one by one.
        step: Runs `[B, ...]` once.
        streams: Whether running step by step is the same as running the sequence.
        why_not_streaming: The reason, where it is not.
        fixed_steps: The only T that the module takes, or None.
        why_not_dynamic: Why it cannot be traced with a T that is no number, or "".
    """

    op: str
    parameters: dict[str, Any]
    sequence: Step | None
    step: Step | None
    streams: bool = True
    why_not_streaming: str = ""
    fixed_steps: int | None = None
    why_not_dynamic: str = ""

    @property
    def unrolls(self) -> bool:
        """Whether it is traced for two numbers of steps where T is free, and its loop is found in them."""
        return self.why_not_dynamic in _UNROLLED


def is_stateful(module: nn.Module) -> bool:
    """Returns whether a module must be run through an adapter."""
    if isinstance(module, layer.Dropout):
        return False  # it keeps a mask in training only; a capture is of evaluation
    return isinstance(
        module,
        base.MemoryModule | neuron.NonSpikingBaseNode | neuron.ILCBaseNode | neuron.PSN | neuron.FewSpikeNode | NOISY,
    )


def adapter_for(module: nn.Module) -> Adapter:
    """Returns how to run `module`; see `refuse` for modules that cannot be run."""
    common = _common(module)
    if common is not None:
        return common
    if isinstance(module, Loop):
        return Adapter("loop", {}, None, None)
    if isinstance(module, Delay):
        return Adapter("delay", {}, _delay_sequence, _delay_step)
    if isinstance(module, NodeCell):
        return Adapter(module.constants.op, module.constants.listed(), None, None)
    if isinstance(module, Cell):
        return Adapter("decomposed", module.parameters_of_interest(), None, None, why_not_dynamic=_LIBRARY_CODE)
    parameters = {k: v for k, v in vars(module).items() if isinstance(v, int | float | str) and not k.startswith("_")}
    parameters.pop("training", None)
    for known in (NirCell, Encoder):
        if isinstance(module, known):
            return Adapter("decomposed", parameters, None, partial(_functional_step, known))
    special = _special(module, parameters)
    if special is not None:
        return special
    if _overrides_forward(module):
        single = getattr(module, "step_mode", "m") == "s"
        why = _OWN_FORWARD
        return Adapter(
            "decomposed", parameters, None if single else _forward, _forward if single else None, why_not_dynamic=why
        )
    multi = getattr(module, "step_mode", "m") == "m"
    step = _STEPS.get(type(module)) or (_multi_mode_step(module) if multi else _own_step)
    if step is None:
        why = _AT_ONCE
        return Adapter("decomposed", parameters, _own_sequence, None, False, why, why_not_dynamic=why)
    dynamic = "" if _is_functional(module) else _IN_ATTRIBUTE
    return Adapter("decomposed", parameters, None, step, why_not_dynamic=dynamic)


def _special(module: nn.Module, parameters: dict[str, Any]) -> Adapter | None:
    """Returns the adapter of a module that is no function of one step's input and state alone."""
    no_state, fixed = "it keeps no state between calls", "it has parameters for every time step"
    multi = getattr(module, "step_mode", "m") == "m"
    if isinstance(module, neuron.PSN | neuron.GatedLIFNode):
        why = "its output at one step depends on the steps after it, or on the number of the step"
        return Adapter("decomposed", parameters, _own_sequence, None, False, why, module.T, fixed)
    if isinstance(module, neuron.DSRIFNode | neuron.DSRLIFNode):
        return Adapter("decomposed", parameters, _own_sequence, None, False, no_state, None, _LOOPS)
    if isinstance(module, neuron.NonSpikingBaseNode):
        run = _non_spiking_sequence
        return Adapter("decomposed", parameters, run, None, False, no_state, None, _LOOPS)
    if isinstance(module, neuron.ILCBaseNode):
        return Adapter("decomposed", parameters, _ilc_sequence, None, False, no_state, None, _LOOPS)
    if isinstance(module, neuron.SlidingPSN | neuron.MaskedPSN):
        steps = module.T if isinstance(module, neuron.MaskedPSN) else None
        why = "its state is a queue that grows"
        whole = _own_sequence if multi else None
        return Adapter("decomposed", parameters, whole, _own_step, False, why, steps, fixed if steps else why)
    if isinstance(module, neuron.FewSpikeNode):
        if multi:
            why = "it sums the whole input sequence before its first spike"
            return Adapter("decomposed", parameters, _own_sequence, None, False, why, module.K, fixed)
        # Without state, element by element: a time axis is one more axis.
        return Adapter("decomposed", parameters, _own_step, _own_step)
    return None


def fires_at_zero(surrogate: nn.Module) -> bool:
    """Returns whether a surrogate's forward pass is the step function with f(0) = 1."""
    probe = torch.tensor([-1.0, -1e-3, 0.0, 1e-3, 0.6, 7.0])
    with torch.no_grad():
        return bool(torch.equal(surrogate(probe), (probe >= 0).to(probe.dtype)))


def _common(module: Any) -> Adapter | None:
    """Returns the adapter of a neuron that is one operation, or None if `module` is none."""
    kind = plain_kind(type(module))
    if kind is None or not fires_at_zero(module.surrogate_function):
        return None
    try:
        v_threshold, v_reset = number(module.v_threshold), number(module.v_reset)
        tau = number(getattr(module, "tau", None))
    except ValueError:
        return None  # one number a channel
    name = _SURROGATES.get(type(module.surrogate_function).__name__, "none")
    alpha = getattr(module.surrogate_function, "alpha", 1.0)
    if not isinstance(alpha, int | float):
        name, alpha = "none", 1.0
    op = {neuron.LIFNode: "lif", neuron.ParametricLIFNode: "plif"}.get(kind, "if_")
    if v_threshold is None:
        return None  # no number: a neuron that never fires is run by its own code
    leak: float | None = {"lif": lambda: tau, "plif": lambda: float(module.w.detach().sigmoid())}.get(op, float)()
    parameters = NeuronParameters(
        op,
        v_threshold,
        v_reset,
        0.0 if leak is None else leak,
        decay_input=getattr(module, "decay_input", True),
        surrogate=name,
        alpha=float(alpha),
        detach_reset=module.detach_reset,
    )
    given = parameters.arguments()
    runs = {
        "if_": lambda m, x, v: ops.if_(x, v, *given),
        "lif": lambda m, x, v: ops.lif(x, v, *given),
        "plif": lambda m, x, v: ops.plif(x, v, m.w.sigmoid(), *given[1:]),
    }
    return Adapter(op, parameters.listed(), *_op_runs(parameters, runs[op]))


def _op_runs(
    parameters: NeuronParameters, call: Callable[[nn.Module, Tensor, Tensor], tuple[Tensor, Tensor]]
) -> tuple[Step, Step]:
    def sequence(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
        spikes, v = call(module, x, states[0])
        if module.store_v_seq:  # what is not read falls out of the program
            new = membranes(parameters, x, states[0])
            old = module.v_seq if module.step_mode == "s" and isinstance(module.v_seq, Tensor) else None
            module.v_seq = new if old is None else torch.cat((old, new))
        return spikes, (v,)

    def step(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
        spikes, new = sequence(module, x.unsqueeze(0), states)
        return spikes.squeeze(0), new

    return sequence, step


def _run_own(module: nn.Module, x: Tensor, states: States, forward: Callable[..., Any]) -> tuple[Tensor, States]:
    """Runs a module's own method with its memories set to `states`; returns them as they are after it."""
    if not isinstance(module, base.MemoryModule):
        return forward(module, x), states
    names = list(module._memories)
    module._memories.update(zip(names, states, strict=True))
    y = forward(module, x)
    return y, tuple(module._memories[name] for name in names)


def _own_sequence(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
    def forward(m: Any, value: Tensor) -> Any:
        return m.multi_step_forward(value) if hasattr(m, "multi_step_forward") else type(m).forward(m, value)

    return _run_own(module, x, states, forward)


def _delay_sequence(module: Any, x_seq: Tensor, states: States) -> tuple[Tensor, States]:
    (y,), new = module.multi_step_functional_forward((x_seq,), states)
    return y, new


def _delay_step(module: Any, x: Tensor, states: States) -> tuple[Tensor, States]:
    return _functional_step(Delay, module, x, states)


def _forward(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
    return _run_own(module, x, states, lambda m, value: type(m).forward(m, value))


def _own_step(module: nn.Module, x: Tensor, states: States) -> tuple[Tensor, States]:
    if _is_functional(module):
        return _functional_step(type(module), module, x, states)
    return _run_own(module, x, states, lambda m, value: m.single_step_forward(value))


def _functional_step(kind: type, module: Any, x: Tensor, states: States) -> tuple[Tensor, States]:
    more = {"static_inputs": module.static_inputs} if isinstance(module, neuron.FlexSN) else {}
    outputs, new = kind.single_step_functional_forward(module, (x,), states, **more)  # type: ignore[attr-defined]
    return (outputs[0] if len(outputs) == 1 else outputs), tuple(new)


def _is_functional(module: nn.Module) -> bool:
    """Returns whether one step is a function of input and state that leaves the module alone."""
    if not isinstance(module, base.MemoryModule) or isinstance(module, neuron.SimpleBaseNode):
        return False
    kind = type(module)
    single = cls_of(kind, "single_step_forward")
    bare = (base.MemoryModule, neuron.BaseNode)
    return cls_of(kind, "single_step_functional_forward") not in bare and _is_spikingjelly(single)


def _is_spikingjelly(kind: type) -> bool:
    return kind.__module__.startswith("spikingjelly.")


def _overrides_forward(module: nn.Module) -> bool:
    """Returns whether a user's class runs other code than its steps one after the other."""
    methods = ("forward", "multi_step_forward") if getattr(module, "step_mode", "m") == "m" else ("forward",)
    kind = type(module)
    return any(hasattr(kind, name) and not _is_spikingjelly(cls_of(kind, name)) for name in methods)


def _multi_mode_step(module: nn.Module) -> Step | None:
    """Returns the step that a sequence in step mode 'm' is made of, or None if it is not made of steps.

    A class that overrides the single step alone still runs its base's sequence in step mode 'm' (SpikingJelly's
    LIAFNode is one), and that is what has to be captured.
    """
    kind = type(module)
    if not isinstance(module, base.MemoryModule):
        return _own_step
    sequence = cls_of(kind, "multi_step_functional_forward")
    single = cls_of(kind, "single_step_functional_forward")
    if sequence is base.MemoryModule or sequence is single:
        return _own_step
    if issubclass(single, sequence):
        return lambda m, x, states: _functional_step(sequence, m, x, states)
    return None


def _non_spiking_sequence(module: Any, x_seq: Tensor, states: States) -> tuple[Any, States]:
    """Integrates without firing; SpikingJelly's own detaches its start in a way that torch.export cannot follow."""
    module.v = torch.zeros_like(x_seq[0])
    v_seq = []
    for x in x_seq:
        module.neuronal_charge(x)
        v_seq.append(module.v)
    del module.v
    if module.decode in ("max-mem", "max-abs-mem", "mean-mem"):
        stacked = torch.stack(v_seq)
        if module.decode == "mean-mem":
            return stacked.mean(0), states
        high = stacked.max(0).values
        if module.decode == "max-mem":
            return high, states
        low = stacked.min(0).values
        return high * (high.abs() > low.abs()) + low * (high.abs() <= low.abs()), states
    return (v_seq[-1] if module.decode == "last_mem" else v_seq), states


def _ilc_sequence(module: Any, x_seq: Tensor, states: States) -> tuple[Tensor, States]:
    """Fires with inter-layer connections: a step's spikes are added to the next step's input."""
    module.init_tensor(torch.zeros_like(x_seq[0]))
    spikes: list[Tensor] = []
    for x in x_seq:
        if spikes:
            feedback = module.conn(spikes[-1].view(-1, module.act_dim, module.dec_pop_dim))
            x = x + feedback.view(-1, module.out_pop_dim)
        module.neuronal_charge(x)
        spikes.append(module.neuronal_fire())
        module.neuronal_reset(spikes[-1])
    for name in ("v", "c"):
        vars(module).pop(name, None)
    return torch.stack(spikes), states


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


def _online_step(module: Any, x: Tensor, states: States) -> tuple[Tensor, States]:
    """LIF for online training, as in evaluation; its own picks a plain function that a scan cannot be traced with."""
    args = (module.tau, module.decay_input, module.v_threshold, module.v_reset, _HEAVISIDE, module.detach_reset)
    spike, v = functional.lif_step(x, states[0], *args)
    return spike, (v, *states[1:])


def _clif_step(module: Any, x: Tensor, states: States) -> tuple[Tensor, States]:
    """Complementary LIF, with the step function in the same way."""
    fire = _HEAVISIDE if module.surrogate_function.spiking else module.surrogate_function
    spike, v, m = functional.clif_step(x, *states, module.tau, module.v_threshold, fire)
    return spike, (v, m)


_HEAVISIDE = surrogate.Sigmoid()  # its forward pass is the step function
_STEPS: dict[type, Step] = {
    neuron.ActivationAwareIFNode: _activation_aware_step,
    neuron.ComplementaryLIFNode: _clif_step,
    neuron.OTTTLIFNode: _online_step,
    neuron.SLTTLIFNode: _online_step,
    neuron.STBIFNode: _stbif_step,
}

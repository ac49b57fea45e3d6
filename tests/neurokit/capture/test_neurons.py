"""Every neuron class that SpikingJelly ships, in the settings that change its equations, captured and compared."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import nn

from neurokit.capture import capture
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec

WIDTH = 8
T = 4  # what the neurons with a fixed T are made for

Build = Callable[[str], nn.Module]


@dataclass(frozen=True)
class Case:
    """One neuron in one setting: how to make it for a step mode, and what it can do."""

    name: str
    build: Build
    modes: tuple[str, ...] = ("s", "m")
    fixed_t: bool = False  # its parameters are of one T
    streams: bool = True
    image: bool = False  # it takes [T, B, C, H, W]


def table(seed):
    values = torch.rand(3, T, generator=torch.Generator().manual_seed(seed))
    return neuron.FewSpikeTable(values[0], values[1], values[2])


def with_mode(build):
    """For classes without a step mode among their arguments."""

    def make(mode):
        module = build()
        module.step_mode = mode
        return module

    return make


def flexsn(mode):
    def core(x: torch.Tensor, v: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        h = 0.5 * v + x
        s = (h >= 1.0).to(x.dtype)
        return s, h * (1.0 - s)

    return neuron.FlexSN(core, 1, step_mode=mode)


def mpbn(mode):
    module = neuron.MPBNLIFNode(step_mode=mode, out_features=WIDTH)
    module.vbn.running_mean.uniform_(-0.2, 0.2)
    module.vbn.running_var.uniform_(0.5, 1.5)
    return module


def leaky(kind, name):
    tau = "init_tau" if kind is neuron.ParametricLIFNode else "tau"
    return [
        Case(
            f"{name}-{'decayed' if decayed else 'undecayed'}-{v_reset}",
            lambda mode, d=decayed, r=v_reset: kind(**{tau: 2.7}, decay_input=d, v_reset=r, step_mode=mode),
        )
        for decayed in (True, False)
        for v_reset in (0.0, -0.25, None)
    ]


def resetting(kind, name, resets=(0.0, -0.25, None), **more):
    return [
        Case(f"{name}-{v_reset}", lambda mode, r=v_reset: kind(v_reset=r, step_mode=mode, **more)) for v_reset in resets
    ]


CASES = [
    *resetting(neuron.IFNode, "IFNode"),
    *leaky(neuron.LIFNode, "LIFNode"),
    *leaky(neuron.ParametricLIFNode, "ParametricLIFNode"),
    Case("HalfThresholdIFNode", lambda mode: neuron.HalfThresholdIFNode(step_mode=mode)),
    *resetting(neuron.SimpleIFNode, "SimpleIFNode"),
    *resetting(neuron.SimpleLIFNode, "SimpleLIFNode", (0.0, -0.25), tau=2.7, decay_input=True),
    *resetting(neuron.SimpleLIFNode, "SimpleLIFNode-undecayed", (0.0,), tau=2.7, decay_input=False),
    *resetting(neuron.ActivationAwareIFNode, "ActivationAwareIFNode", (0.0, None), v_offset=0.1),
    Case(
        "ActivationAwareIFNode-channels",
        lambda mode: neuron.ActivationAwareIFNode(
            v_threshold=torch.linspace(0.5, 1.5, WIDTH), v_offset=torch.linspace(0.0, 0.2, WIDTH), step_mode=mode
        ),
    ),
    Case("ILIFNode", lambda mode: neuron.ILIFNode(step_mode=mode)),
    *resetting(neuron.QIFNode, "QIFNode", (-0.1, None)),
    *resetting(neuron.EIFNode, "EIFNode", (-0.1, None)),
    *resetting(neuron.IzhikevichNode, "IzhikevichNode", (0.0, None), a=0.1, b=0.2),
    *resetting(neuron.RAFNode, "RAFNode", (0.0, None)),
    *resetting(neuron.KLIFNode, "KLIFNode", (0.0, None)),
    Case("KLIFNode-scaled", lambda mode: neuron.KLIFNode(scale_reset=True, decay_input=False, step_mode=mode)),
    Case("ComplementaryLIFNode", lambda mode: neuron.ComplementaryLIFNode(step_mode=mode)),
    Case("CUBALIFNode", with_mode(neuron.CUBALIFNode)),
    Case("LIAFNode", lambda mode: neuron.LIAFNode(torch.relu, True, tau=2.0, step_mode=mode)),
    Case("LIAFNode-unrelated", lambda mode: neuron.LIAFNode(torch.relu, False, tau=2.0, step_mode=mode)),
    Case("MPBNLIFNode", mpbn),
    *resetting(neuron.TernaryIFNode, "TernaryIFNode", (0.0, None)),
    *resetting(neuron.TernaryLIFNode, "TernaryLIFNode", (0.0, None)),
    Case("STBIFNode", with_mode(lambda: neuron.STBIFNode(torch.tensor(0.5), 8))),
    Case("STBIFNode-symmetric", with_mode(lambda: neuron.STBIFNode(torch.tensor(0.5), 8, sym=True))),
    Case("PSN", lambda mode: neuron.PSN(T), ("m",), fixed_t=True, streams=False),
    Case("SlidingPSN", lambda mode: neuron.SlidingPSN(2, step_mode=mode), streams=False),
    Case("MaskedPSN", lambda mode: neuron.MaskedPSN(2, T, 1.0, step_mode=mode), fixed_t=True, streams=False),
    Case("GatedLIFNode", lambda mode: neuron.GatedLIFNode(T), ("m",), fixed_t=True, streams=False, image=True),
    Case("DSRIFNode", lambda mode: neuron.DSRIFNode(T, v_threshold=1.0), ("m",), streams=False),
    Case("DSRLIFNode", lambda mode: neuron.DSRLIFNode(T, v_threshold=0.1), ("m",), streams=False),
    Case("OTTTLIFNode", lambda mode: neuron.OTTTLIFNode(), ("s",)),
    Case("SLTTLIFNode", lambda mode: neuron.SLTTLIFNode(), ("s",)),
    Case("NonSpikingIFNode", lambda mode: neuron.NonSpikingIFNode(decode="mean-mem"), ("m",), streams=False),
    Case("NonSpikingLIFNode", lambda mode: neuron.NonSpikingLIFNode(decode="last_mem"), ("m",), streams=False),
    Case("NonSpikingLIFNode-max", lambda mode: neuron.NonSpikingLIFNode(decode="max-abs-mem"), ("m",), streams=False),
    Case("ILCIFNode", lambda mode: neuron.ILCIFNode(2, WIDTH // 2), ("m",), streams=False),
    Case("ILCLIFNode", lambda mode: neuron.ILCLIFNode(2, WIDTH // 2), ("m",), streams=False),
    Case("ILCCUBALIFNode", lambda mode: neuron.ILCCUBALIFNode(2, WIDTH // 2), ("m",), streams=False),
    Case("FlexSN", flexsn),
    Case("FewSpikeNode", lambda mode: neuron.FewSpikeNode(table(0), step_mode=mode), fixed_t=True, streams=False),
    Case(
        "HGNode",
        lambda mode: neuron.HGNode([table(0), table(1)], [0.3], step_mode=mode),
        fixed_t=True,
        streams=False,
    ),
    Case(
        "OutlierAwareThresholdNode",
        lambda mode: neuron.OutlierAwareThresholdNode(table(0), table(1), 0.5, step_mode=mode),
        fixed_t=True,
        streams=False,
    ),
    Case("IFNode-rect", lambda mode: neuron.IFNode(surrogate_function=surrogate.Rect(), step_mode=mode)),
    Case("LIFNode-stored", lambda mode: neuron.LIFNode(store_v_seq=True, step_mode=mode)),
]

NOISY = {
    "NoisyCUBALIFNode": lambda: neuron.NoisyCUBALIFNode(WIDTH),
    "NoisyILCCUBALIFNode": lambda: neuron.NoisyILCCUBALIFNode(2, WIDTH // 2),
    "NoisyNonSpikingIFNode": lambda: neuron.NoisyNonSpikingIFNode(WIDTH),
}
# Base classes without dynamics of their own.
ABSTRACT = {
    "AdaptBaseNode",
    "BaseNode",
    "ILCBaseNode",
    "MPBNBaseNode",
    "NoisyBaseNode",
    "NoisyILCBaseNode",
    "NoisyNonSpikingBaseNode",
    "NonSpikingBaseNode",
    "SimpleBaseNode",
}


def network(case, mode):
    """Returns linear (or convolution), neuron, linear, in evaluation mode."""
    torch.manual_seed(3)
    np.random.seed(3)  # noqa: NPY002 - GatedLIFNode draws from it
    if case.image:
        parts = [layer.Conv2d(WIDTH, WIDTH, 1, step_mode=mode), case.build(mode)]
        parts += [layer.Conv2d(WIDTH, 5, 1, step_mode=mode)]
    else:
        parts = [layer.Linear(WIDTH, WIDTH, step_mode=mode), case.build(mode), layer.Linear(WIDTH, 5, step_mode=mode)]
    net = nn.Sequential(*parts).eval()
    with torch.no_grad():
        net[0].weight *= 3.0  # enough current to fire
    return net


def sequence(case, steps, batch=2, seed=0):
    generator = torch.Generator().manual_seed(seed)
    shape = (steps, batch, WIDTH, 3, 3) if case.image else (steps, batch, WIDTH)
    return torch.rand(shape, generator=generator) * 2.0 - 0.3


def spec_of(case, mode, net=None):
    net = network(case, mode) if net is None else net
    shape = tuple(sequence(case, 1).shape[2:])
    tensor = TensorSpec("x", shape, layout="F" if len(shape) == 1 else "CHW")
    return ModelSpec("net", lambda: net, (tensor,), time_steps=T, time_input="sequence" if mode == "m" else "step")


def by_spikingjelly(case, mode, x):
    """Runs a fresh network as SpikingJelly does."""
    net = network(case, mode)
    with torch.no_grad():
        # A clone, because neurons with inter-layer connections write into their input.
        return net(x.clone()) if mode == "m" else torch.stack([net(x_t) for x_t in x])


def run(captured, x):
    states = captured.initial_states(x.shape[1])
    with torch.no_grad():
        return captured.program.module()(x.clone(), *states)[0]


# A case of every class; the others are its other settings.
FIRST = list({case.name.partition("-")[0]: case for case in reversed(CASES)}.values())


def _later(case):
    """Marks a class's other settings slow where what is crossed with them does not depend on them."""
    return () if case in FIRST else pytest.mark.slow


# The other step mode differs in what is around the neuron only: every setting is captured in one mode and every class
# in both in each run, all of them in the slow one.
ALL = [
    pytest.param(case, mode, id=f"{case.name}-{mode}", marks=() if mode == case.modes[-1] else _later(case))
    for case in CASES
    for mode in case.modes
]
ONE_MODE = [pytest.param(case, case.modes[-1], id=case.name) for case in CASES]
# A free T is the same loop whatever a step's settings are, which sequences and steps are held to.
ANY_STEPS = [pytest.param(case, case.modes[-1], id=case.name, marks=_later(case)) for case in CASES]


def test_every_class_of_spikingjelly_has_a_case():
    classes = {
        name
        for name, value in vars(neuron).items()
        if inspect.isclass(value) and issubclass(value, nn.Module) and value.__module__.startswith(neuron.__name__)
    }
    covered = {type(case.build(case.modes[0])).__name__ for case in CASES}
    assert classes == covered | set(NOISY) | ABSTRACT


@pytest.mark.parametrize(("case", "mode"), ALL)
def test_a_sequence_is_the_modules(case, mode):
    captured = capture(spec_of(case, mode))
    assert captured.time_steps == T
    for seed in (0, 1):
        x = sequence(case, T, batch=3, seed=seed)
        expected = by_spikingjelly(case, mode, x)
        assert expected.std() > 0.1  # something fires
        if case.name.startswith(
            "LIAF"
        ):  # no spikes, but values: a product of T x B rows may round otherwise than one of B
            torch.testing.assert_close(run(captured, x), expected, rtol=0, atol=1e-6)
        else:
            assert torch.equal(run(captured, x), expected)


REFUSED_DYNAMIC = ("PSN", "SlidingPSN", "MaskedPSN", "GatedLIF")


@pytest.mark.parametrize(("case", "mode"), ANY_STEPS)
def test_any_number_of_steps_or_a_reason(case, mode):
    if case.fixed_t or case.name.startswith(REFUSED_DYNAMIC):
        with pytest.raises(UnsupportedError) as refused:
            capture(spec_of(case, mode), time_steps="dynamic")
        (reason,) = refused.value.reasons
        assert (reason.path, reason.what) == ("1", case.name.partition("-")[0])
        assert "cannot have a dynamic T" in reason.why
        assert reason.fix.startswith("give a number of time steps" + (f" ({T})" if case.fixed_t else ""))
        return
    captured = capture(spec_of(case, mode), time_steps="dynamic")
    for steps in (1, 2, 7):
        x = sequence(case, steps, batch=3)
        assert torch.equal(run(captured, x), by_spikingjelly(case, mode, x))


@pytest.mark.parametrize("case", [c for c in CASES if c.fixed_t], ids=lambda c: c.name)
def test_a_neuron_made_for_one_t_refuses_another(case):
    with pytest.raises(UnsupportedError) as refused:
        capture(spec_of(case, case.modes[-1]), time_steps=T + 1)
    assert [str(reason) for reason in refused.value.reasons] == [
        f"1: {case.name}: it was made for T={T}, not {T + 1}; fix: use T={T}"
    ]


@pytest.mark.parametrize(("case", "mode"), ONE_MODE)
def test_step_by_step_is_the_sequence_or_a_reason(case, mode):
    if not case.streams:
        with pytest.raises(UnsupportedError) as refused:
            capture(spec_of(case, mode), form="step")
        (reason,) = refused.value.reasons
        assert (reason.path, reason.what) == ("1", case.name.partition("-")[0])
        assert reason.why
        assert reason.fix == "use the sequence form"
        return
    captured = capture(spec_of(case, mode), form="step")
    x = sequence(case, T, batch=3)
    module, states, steps = captured.program.module(), captured.initial_states(3), []
    with torch.no_grad():
        for x_t in x:
            y, *states = module(x_t, *states)
            steps.append(y)
    assert torch.equal(torch.stack(steps), by_spikingjelly(case, mode, x))
    assert captured.states
    for state in captured.states:
        assert (state.neuron, [str(size) for size in state.shape], state.dtype) == ("1", ["B", str(WIDTH)], "float32")


@pytest.mark.parametrize("name", NOISY)
def test_noise_is_refused(name):
    net = nn.Sequential(nn.Linear(WIDTH, WIDTH), NOISY[name]())
    spec = ModelSpec("net", lambda: net, (TensorSpec("x", (WIDTH,), layout="F"),), time_steps=5)
    with pytest.raises(UnsupportedError, match=f"1: {name}: it draws random noise at inference"):
        capture(spec)


def test_a_masked_psn_that_is_still_training_is_refused_in_single_steps():
    net = neuron.MaskedPSN(2, T, lambda_init=0.5, step_mode="s")
    spec = ModelSpec("net", lambda: net, (TensorSpec("x", (WIDTH,), layout="F"),), time_steps=T, time_input="step")
    with pytest.raises(UnsupportedError, match=r"set lambda_ = 1\.0 after training"):
        capture(spec)


class Doubled(neuron.LIFNode):
    """A user's neuron with a forward of its own."""

    def forward(self, x):
        return 2.0 * super().forward(x)


class Halved(neuron.LIFNode):
    """A user's neuron that overrides the single step: in step mode 'm' SpikingJelly does not run it."""

    def single_step_functional_forward(self, inputs, states, **kwargs):
        (spike,), states = super().single_step_functional_forward(inputs, states, **kwargs)
        return (0.5 * spike,), states


class Own(neuron.BaseNode):
    """A user's neuron with equations of its own."""

    def single_step_functional_forward(self, inputs, states, **kwargs):
        h = 0.9 * states[0] + inputs[0].tanh()
        spike = self.surrogate_function(h - self.v_threshold)
        return (spike,), (h * (1.0 - spike), *states[1:])


class OldStyle(neuron.SimpleBaseNode):
    """A user's neuron in SpikingJelly's older style."""

    def neuronal_charge(self, x):
        self.v = 0.7 * self.v + x


@pytest.mark.parametrize("mode", ["s", "m"])
@pytest.mark.parametrize("kind", [Doubled, Halved, Own, OldStyle])
def test_a_users_own_class(kind, mode):
    case = Case(kind.__name__, lambda mode: kind(step_mode=mode))
    captured = capture(spec_of(case, mode))
    x = sequence(case, T, batch=3)
    assert torch.equal(run(captured, x), by_spikingjelly(case, mode, x))
    step = capture(spec_of(case, mode), form="step")
    module, states, steps = step.program.module(), step.initial_states(3), []
    for x_t in x:
        y, *states = module(x_t, *states)
        steps.append(y)
    assert torch.equal(torch.stack(steps), by_spikingjelly(case, mode, x))

"""A capture is held against the user's own module: what would be another network is refused and named."""

import random

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import asking
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec
from tests.neurokit.contracts import nets

T, FEATURES = 6, 10


class Base(nn.Module):
    mode = "m"

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(FEATURES, 12), nn.Linear(12, 3)
        self.sn = neuron.LIFNode(v_threshold=0.5, step_mode=self.mode)
        with torch.no_grad():
            self.first.weight.mul_(3.0)
        self.more()

    def more(self):
        pass

    def forward(self, x):
        return self.last(self.sn(self.first(x)))


class Stepwise(Base):
    mode = "s"


class Counter(Stepwise):
    def more(self):
        self.k = 0

    def forward(self, x):
        self.k += 1
        return super().forward(x) * 0.5**self.k


class ResetCounter(Counter):
    def reset(self):
        self.k = 0


class Schedule(Stepwise):
    def more(self):
        self.t = 0

    def reset(self):
        self.t = 0

    def forward(self, x):
        self.sn.v_threshold = 0.3 + 0.1 * self.t
        self.t += 1
        return super().forward(x)


class Gain(Stepwise):
    def more(self):
        self.register_buffer("energy", torch.ones(()))

    def forward(self, x):
        self.energy.mul_(0.9).add_(0.1 * x.pow(2).mean())
        return super().forward(x / self.energy.sqrt())


class Clamped(Stepwise):
    def forward(self, x):
        y = super().forward(x)
        self.sn.v = self.sn.v.clamp(min=-0.1)
        return y


class Standardised(Stepwise):
    def forward(self, x):
        return super().forward((x - x.mean()) / (x.std() + 1e-5))


class Dropped(Base):
    def forward(self, x):
        return super().forward(F.dropout(x, 0.5, training=True))


class Encoded(Base):
    def forward(self, x):
        return super().forward((torch.rand_like(x) < x).to(x.dtype))


class Rolled(Base):
    def forward(self, x):
        return super().forward(x) * random.random()


class LoudestOfAll(Base):
    def forward(self, x):
        return super().forward(x / x.max())


class Cached(Base):
    """What it remembers has no part in its answer."""

    def more(self):
        self.seen = None

    def forward(self, x):
        self.seen = tuple(x.shape)
        return super().forward(x)


class Temperature(Base):
    def more(self):
        self.T = 2

    def forward(self, x):
        return (super().forward(x) / self.T).softmax(-1)


class OverTime(Base):
    def forward(self, x):
        return super().forward(x - x.mean(0, keepdim=True))


def spec(kind):
    net, inputs = kind().eval(), (TensorSpec("x", (FEATURES,)),)
    time_input = "step" if kind.mode == "s" else "sequence"
    return ModelSpec(kind.__name__, lambda: net, inputs, time_steps=T, time_input=time_input)


def plain(net, x, stepwise):
    functional.reset_net(net)
    with torch.no_grad():
        y = torch.stack([net(x_t) for x_t in x]) if stepwise else net(x)
    functional.reset_net(net)
    return y


def captured_answer(captured, x):
    with torch.no_grad():
        return captured.program.module()(x, *captured.initial_states(x.shape[1]))[0]


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        (Schedule, ("another network", "t")),
        (Dropped, ("random numbers", "same input has two answers")),
        (Encoded, ("random numbers",)),
        (Rolled, ("random numbers",)),
    ],
)
def test_another_network_is_refused_by_name(kind, words):
    with pytest.raises(UnsupportedError) as caught:
        nk.capture(spec(kind))
    assert all(word in str(caught.value) for word in words), str(caught.value)


class CallByCall(nn.Module):
    """Without neurons a call is no time step, so what it keeps is no state of one."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(FEATURES, 3)
        self.register_buffer("energy", torch.ones(()))

    def forward(self, x):
        self.energy.mul_(0.9).add_(0.1 * x.pow(2).mean())
        return self.fc(x / self.energy.sqrt())


def test_what_is_kept_where_there_is_no_time_is_refused_by_name():
    with pytest.raises(UnsupportedError, match=r"no reset clears(.|\n)*through energy"):
        nk.capture(CallByCall(), torch.rand(2, FEATURES))


@pytest.mark.parametrize("kind", [ResetCounter, Counter, Gain, Clamped, Standardised])
def test_state_outside_of_neurons_is_captured_as_it_is_called(kind):
    """Counters and averages, a membrane written after each step, and steps that may not be run as one batch."""
    captured = nk.capture(spec(kind))
    x = torch.rand(T, 4, FEATURES, generator=torch.Generator().manual_seed(7))
    want = plain(kind().eval(), x, stepwise=True)
    assert torch.allclose(captured_answer(captured, x), want, atol=1e-5)
    assert ("batch" in captured.fidelity.refused) == (kind in (Standardised, Gain))
    assert ("no reset of the module clears" in " ".join(captured.notes)) == (kind in (Counter, Gain))


@pytest.mark.parametrize("kind", [Base, Stepwise, Cached, Temperature])
def test_what_is_captured_equals_the_module(kind):
    captured = nk.capture(spec(kind))
    x = torch.rand(T, 4, FEATURES, generator=torch.Generator().manual_seed(7))
    want = plain(kind().eval(), x, kind.mode == "s")
    assert torch.allclose(captured_answer(captured, x), want, atol=1e-6)
    sides = {(one.side, one.time_steps, one.batch) for one in captured.fidelity.comparisons}
    assert {("program", T, 3), ("program", T, 1), ("twin", T + 2, 1), ("steps", T, 1)} == sides
    assert all(one.spikes_differ == 0 and one.output_error < 1e-6 for one in captured.fidelity.comparisons)


def test_a_batch_that_is_mixed_is_lowered_for_one_sample_only(tmp_path):
    captured = nk.capture(spec(LoudestOfAll))
    assert "other samples" in captured.fidelity.refused["batch"]
    with pytest.raises(UnsupportedError, match="--batch 1"):
        nk.lower(captured, "onnx", tmp_path / "many")
    assert not (tmp_path / "many").exists()
    assert nk.lower(captured, "onnx", tmp_path / "one", batch=1, verified=False).manifest.fidelity["refused"]


def test_what_looks_at_all_steps_has_no_streaming_form(tmp_path):
    captured = nk.capture(spec(OverTime))
    with pytest.raises(UnsupportedError, match="depends on other steps"):
        nk.lower(captured, "onnx-step", tmp_path / "step")
    assert nk.lower(captured, "onnx", tmp_path / "whole", verified=False).path.is_dir()


def test_single_step_neurons_are_not_given_a_sequence_at_once():
    snn = pytest.importorskip("snntorch")
    net = nn.Sequential(nn.Linear(FEATURES, 5), snn.Leaky(beta=0.9, init_hidden=True)).eval()
    declared = ModelSpec("declared", lambda: net, (TensorSpec("x", (FEATURES,)),), time_steps=4)
    with pytest.raises(UnsupportedError, match=r"1: Leaky: it takes one step a call"):
        nk.capture(declared)


def standardise(module, _inputs):
    weight = module.weight.data
    module.weight.data = (weight - weight.mean(1, keepdim=True)) / weight.std(1, keepdim=True)


HOOKS = {
    "input": lambda net: net.first.register_forward_pre_hook(lambda _m, xs: (xs[0] * 2 - 1,)),
    "output": lambda net: net.sn.register_forward_hook(lambda _m, _xs, y: y * 0.5),
    "weights": lambda net: net.first.register_forward_pre_hook(standardise),
}


@pytest.mark.parametrize("hook", HOOKS)
def test_hooks_that_compute_are_captured(hook):
    net = Base().eval()
    HOOKS[hook](net)
    x = torch.rand(T, 2, FEATURES, generator=torch.Generator().manual_seed(1))
    captured = nk.capture(net, x)
    assert any("hook" in note and "captured" in note for note in captured.notes)
    want = plain(net, x, False)
    assert torch.allclose(captured_answer(captured, x), want, atol=1e-6)
    assert not torch.allclose(plain(Base().eval(), x, False), want, atol=1e-2), "the hook does nothing"


def test_hooks_that_only_look_are_left_out_and_write_nowhere():
    net, seen = Base().eval(), []
    net.first.register_forward_hook(lambda _m, _xs, y: seen.append(y))
    captured = nk.capture(net, torch.rand(T, 2, FEATURES))
    assert not seen
    assert any("only look" in note for note in captured.notes)


def test_the_callers_random_numbers_stay_as_they_are():
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    want = torch.rand(1), np.random.rand(), random.random()  # noqa: NPY002
    torch.manual_seed(3), np.random.seed(3), random.seed(3)  # noqa: NPY002
    with pytest.raises(UnsupportedError):
        nk.capture(spec(Rolled))
    net = nn.Sequential(layer.Linear(FEATURES, 3, step_mode="m"), neuron.IFNode(step_mode="m")).eval()
    torch.manual_seed(3)
    nk.capture(ModelSpec("net", lambda: net, (TensorSpec("x", (FEATURES,)),), time_steps=T))
    assert (torch.rand(1), np.random.rand(), random.random()) == want  # noqa: NPY002


class Two(Base):
    def forward(self, x, z=None):
        return super().forward(x if z is None else x + z)


def test_a_second_input_with_a_default_is_not_dropped():
    ports = (TensorSpec("x", (FEATURES,)), TensorSpec("z", (FEATURES,)))
    captured = nk.capture(ModelSpec("two", lambda: Two().eval(), ports, time_steps=T))
    assert [port.name for port in captured.inputs] == ["x", "z"]
    assert {(one.time_steps, one.batch, one.precision) for one in captured.fidelity.comparisons} == {
        (T, 2, "float64"),
        (T, 1, "float64"),
    }
    assert captured.fidelity.output_error < 1e-9


class Otherwise(Two):
    """Another network while it is traced."""

    def forward(self, x, z):
        return super().forward(x, z if torch.compiler.is_compiling() else 2 * z)


def test_a_model_of_two_inputs_that_is_captured_as_another_is_refused():
    ports = (TensorSpec("x", (FEATURES,)), TensorSpec("z", (FEATURES,)))
    with pytest.raises(UnsupportedError, match="the program's answers are not the module's"):
        nk.capture(ModelSpec("two", lambda: Otherwise().eval(), ports, time_steps=T))


@pytest.mark.parametrize("make", [nets.token_model, nets.pair], ids=["token", "pair"])
def test_graphs_with_states_are_compared_call_by_call(make):
    captured = nk.capture(make())
    made = captured.fidelity.comparisons
    assert not captured.fidelity.not_compared
    with_state = [part for part in captured.graphs if part.spec.states]
    assert len(made) == 2 * len(captured.graphs) + 2 * len(with_state)  # two batches; states go on to a second call
    assert {one.precision for one in made} == {"float64"}
    assert max(one.output_error for one in made) < 1e-9


def test_what_rounding_parts_in_float32_is_decided_in_float64(monkeypatch):
    """A slow model is compared in its own type, where a flip may cascade; here nothing at all may differ there."""
    monkeypatch.setattr(asking, "_QUICK", 0)
    monkeypatch.setitem(asking.TOLERANCE, "native", (-1.0, -1.0))
    captured = nk.capture(spec(Temperature))
    assert not captured.fidelity.refused
    assert {(made.side, made.precision) for made in captured.fidelity.comparisons} == {
        ("program", "float64"),
        ("twin", "float64"),
        ("steps", "float64"),
    }
    assert "batch" in nk.capture(spec(LoudestOfAll)).fidelity.refused


@pytest.mark.parametrize(("quick", "samples"), [(True, [2, 1, 3, 1, 3, 3, 1]), (False, [2, 1, 1, 2, 2, 1])])
def test_no_question_is_asked_twice(quick, samples, monkeypatch):
    """What sized up a model and tried float64 is an answer already; a slow model is run on nine samples in all."""
    asked = []
    inner, program = asking.run, asking.run_program

    def noted(module, x, **settings):
        asked.append((x, "module", settings["seed"]))
        return inner(module, x, **settings)

    def noted_program(captured, x, *rest):
        asked.append((x, "program", 0))
        return program(captured, x, *rest)

    monkeypatch.setattr(asking, "run", noted)
    monkeypatch.setattr(asking, "run_program", noted_program)
    if not quick:
        monkeypatch.setattr(asking, "_QUICK", 0)
    net = nn.Sequential(nn.Linear(FEATURES, 12), nn.ReLU(), nn.Linear(12, 3)).eval()
    captured = nk.capture(ModelSpec("plain", lambda: net, (TensorSpec("x", (FEATURES,)),)))
    precision = "float64" if quick else "float32"
    assert [(one.batch, one.precision) for one in captured.fidelity.comparisons] == [
        (3 if quick else 2, precision),
        (1, precision),
    ]
    assert sorted(len(x) for x, *_ in asked) == sorted(samples)
    assert len({(x.dtype, x.numpy().tobytes(), *rest) for x, *rest in asked}) == len(asked)

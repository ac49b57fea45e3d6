"""Loops over time in a module's forward, against the module itself."""

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.spec import ModelSpec, TensorSpec

T = 5


class Body(nn.Module):
    """Convolution, neuron, linear map, neuron: one step."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.norm = nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.first, self.second = neuron.LIFNode(v_threshold=0.5), neuron.IFNode()
        self.fc = nn.Linear(4 * 36, 3)
        with torch.no_grad():
            self.conv.weight.mul_(4), self.fc.weight.mul_(6)

    def step(self, x):
        return self.second(self.fc(self.first(self.norm(self.conv(x))).flatten(1)))


class Stacked(Body):
    def forward(self, x):
        return torch.stack([self.step(x_t) for x_t in x])


class Mean(Body):
    def forward(self, x):
        total = 0.0
        for t in range(x.shape[0]):
            total = total + self.step(x[t])
        return total / x.shape[0]


class InPlace(Body):
    def forward(self, x):
        total = torch.zeros(x.shape[1], 3)
        for x_t in x:
            total += self.step(x_t)
        return total


class Written(Body):
    def forward(self, x):
        out = torch.zeros(x.shape[0], x.shape[1], 3)
        for t in range(x.shape[0]):
            out[t] = self.step(x[t])
        return out


class Joined(Body):
    def forward(self, x):
        return torch.cat([self.step(x_t).unsqueeze(0) for x_t in x], 0).mean(0)


class Largest(Body):
    def forward(self, x):
        best = self.step(x[0])
        for x_t in x[1:]:
            best = torch.maximum(best, self.step(x_t))
        return best


class Last(Body):
    def forward(self, x):
        for x_t in x:
            y = self.step(x_t)
        return y


class Reset(Body):
    def forward(self, x):
        functional.reset_net(self)
        return sum(self.step(x_t) for x_t in x)


class EarlyLayer(Body):
    def forward(self, x):
        x = torch.relu(x) * 1.5
        return torch.stack([self.step(x_t) for x_t in x]).sum(0)


class BatchFirstLoop(Body):
    def forward(self, x):
        x = x.transpose(0, 1)
        return torch.stack([self.step(x[:, t]) for t in range(x.shape[1])], 1).mean(1)


PLAIN = [Stacked, Mean, InPlace, Written, Joined, Last, Reset, EarlyLayer, BatchFirstLoop]


def eager(net, x):
    functional.reset_net(net)
    with torch.no_grad():
        y = net(x)
    functional.reset_net(net)
    return y


def spec_of(net):
    return ModelSpec("loop", lambda: net, (TensorSpec("x", (1, 6, 6)),), time_steps=T, time_input="sequence")


@pytest.mark.parametrize("kind", PLAIN, ids=lambda kind: kind.__name__)
def test_a_plain_loop_is_one_neuron_over_all_steps(kind):
    net = kind().eval()
    captured = capture(spec_of(net))
    assert sorted(captured.calls) == ["first", "second"]
    x = torch.rand(T, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1)) * 2
    y = captured.program.module()(x, *captured.initial_states(3))[0]
    assert torch.allclose(y, eager(net, x), atol=1e-6)
    assert y.abs().sum() > 0
    convolutions = [node for node in captured.program.graph.nodes if "conv2d" in str(node.target)]
    assert len(convolutions) == 1


def test_a_first_step_outside_of_the_loop_stays_the_same_network():
    net = Largest().eval()
    captured = capture(spec_of(net))
    x = torch.rand(T, 3, 1, 6, 6, generator=torch.Generator().manual_seed(1)) * 2
    y = captured.program.module()(x, *captured.initial_states(3))[0]
    assert torch.equal(y, eager(net, x))
    assert y.abs().sum() > 0


@pytest.mark.parametrize("kind", [Mean, Written, Last], ids=lambda kind: kind.__name__)
def test_a_plain_loop_takes_any_number_of_steps(kind):
    net = kind().eval()
    captured = capture(spec_of(net), time_steps="dynamic")
    for steps in (2, 7):
        x = torch.rand(steps, 3, 1, 6, 6, generator=torch.Generator().manual_seed(steps)) * 2
        y = captured.program.module()(x, *captured.initial_states(3))[0]
        assert torch.allclose(y, eager(net, x), atol=1e-6)


class Recurrent(nn.Module):
    """Its spikes are fed back by a map of the module's own: no step can run before the one before it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.i, self.r, self.n = nn.Linear(6, 5), nn.Linear(5, 5), neuron.LIFNode(v_threshold=0.3)

    def forward(self, x):
        y, out = torch.zeros(x.shape[1], 5), []
        for x_t in x:
            y = self.n(self.i(x_t) + self.r(y))
            out.append(y)
        return torch.stack(out)


def test_a_loop_that_reads_its_own_past_is_one_neuron_a_call():
    net = Recurrent().eval()
    spec = ModelSpec("recurrent", lambda: net, (TensorSpec("x", (6,)),), time_steps=T)
    captured = capture(spec)
    assert captured.calls == ("n",) * T
    x = torch.rand(T, 3, 6) * 3
    assert torch.equal(captured.program.module()(x, *captured.initial_states(3))[0], eager(net, x))
    free = capture(spec, time_steps="dynamic")
    assert free.calls == ()  # in a scan it is plain operations
    for steps in (1, T, 9):
        x = torch.rand(steps, 3, 6) * 3
        assert torch.equal(free.program.module()(x, *free.initial_states(3))[0], eager(net, x))


class Permuted(Recurrent):
    """Samples first inside of the forward: every step selects from a slice of the whole."""

    def forward(self, x):
        x = x.permute(1, 0, 2)
        return torch.stack([self.n(self.i(x[:, t])) for t in range(x.shape[1])], 1).transpose(0, 1)


class Constants(Recurrent):
    """A tensor that every step makes anew, in a step that reads the one before."""

    def forward(self, x):
        level, out = torch.zeros(x.shape[1], 5), []
        for x_t in x:
            level = torch.tensor([0.5, 0.6, 0.7, 0.8, 0.9]) * level + self.i(x_t)
            out.append((level > torch.tensor(0.2)).to(x.dtype) + 0.1 * level)
        return torch.stack(out)


@pytest.mark.parametrize("kind", [Permuted, Constants])
def test_what_every_step_makes_for_itself_is_one_over_free_steps(kind):
    net = kind().eval()
    free = capture(ModelSpec("net", lambda: net, (TensorSpec("x", (6,)),), time_steps=T), time_steps="dynamic")
    for steps in (2, 7):
        x = torch.rand(steps, 3, 6, generator=torch.Generator().manual_seed(steps)) * 3
        y = free.program.module()(x, *free.initial_states(3))[0]
        assert torch.allclose(y, eager(net, x), atol=1e-6)
        assert y.abs().sum() > 0


class LearntStart(nn.Module):
    """Its membrane starts from what was learnt."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.sn = nn.Linear(6, 5), neuron.LIFNode(v_threshold=0.5, step_mode="m")
        self.start = nn.Parameter(torch.linspace(0.0, 0.4, 5))

    def forward(self, x):
        self.sn.v = self.start.expand(x.shape[1], 5).clone()
        return self.sn(self.fc(x))


class ResetBetween(LearntStart):
    """Two sequences one after the other, each from rest."""

    def forward(self, x):
        first = self.sn(self.fc(x))
        self.sn.reset()
        return first + self.sn(self.fc(x * 2))


@pytest.mark.parametrize("kind", [LearntStart, ResetBetween], ids=lambda kind: kind.__name__)
def test_a_membrane_set_in_forward_is_where_the_neuron_starts(kind):
    net = kind().eval()
    spec = ModelSpec("start", lambda: net, (TensorSpec("x", (6,)),), time_steps=T)
    captured = nk.capture(spec)
    x = torch.rand(T, 3, 6) * 2
    y = captured.program.module()(x, *captured.initial_states(3))[0]
    assert torch.equal(y, eager(net, x))
    assert y.any()
    if kind is LearntStart:  # what is learnt is the state that a stream starts from
        step = captured.retrace(form="step")
        module, states, rows = step.program.module(), step.initial_states(3), []
        for x_t in x:
            row, *states = module(x_t, *states)
            rows.append(row)
        assert torch.equal(torch.stack(rows), y)
    else:
        with pytest.raises(nk.errors.UnsupportedError, match="step"):
            captured.retrace(form="step")

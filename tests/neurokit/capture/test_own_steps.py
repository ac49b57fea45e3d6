"""Modules that repeat an image themselves: wherever they keep the number of steps, one step of them is a program."""

import types

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.first = nn.Linear(6, 8), neuron.LIFNode(v_threshold=0.5)
        self.out, self.second = nn.Linear(8, 4), neuron.LIFNode(v_threshold=0.5)
        with torch.no_grad():
            self.fc.weight.mul_(4), self.out.weight.mul_(4)

    def step(self, x):
        return self.second(self.out(self.first(self.fc(x))))


class Literal(Body):
    def forward(self, x):
        total = 0
        for _ in range(4):
            total = total + self.step(x)
        return total / 4


class Stacked(Body):
    def forward(self, x):
        functional.reset_net(self)
        return torch.stack([self.step(x) for _ in range(4)])


class Attribute(Body):
    def __init__(self):
        super().__init__()
        self.num_steps = 4

    def forward(self, x):
        return torch.stack([self.step(x) for _ in range(self.num_steps)]).sum(0)


class Configured(Body):
    def __init__(self):
        super().__init__()
        self.config = types.SimpleNamespace(time_window=4, width=8)

    def forward(self, x):
        total = torch.zeros(x.shape[0], 4, dtype=x.dtype)
        for _ in range(self.config.time_window):
            total += self.step(x)
        return total / self.config.time_window


class Named(Body):
    def __init__(self):
        super().__init__()
        self.settings = {"timesteps": 4}

    def forward(self, x):
        return sum(self.step(x) for _ in range(self.settings["timesteps"]))


class While(Attribute):
    def forward(self, x):
        t, total = 0, 0.0
        while t < self.num_steps:
            total, t = total + self.step(x), t + 1
        return total


class WhileLiteral(Body):
    def forward(self, x):
        t, total = 0, 0.0
        while t < 4:
            total, t = total + self.step(x), t + 1
        return total


class Layers(Body):
    """A loop of four layers in one of four steps: what `range(4)` counts is not told apart."""

    def __init__(self):
        super().__init__()
        self.parts = nn.ModuleList([nn.Linear(8, 8) for _ in range(4)])

    def forward(self, x):
        total = 0
        for _ in range(4):
            h = self.first(self.fc(x))
            for at in range(4):
                h = self.parts[at](h)
            total = total + self.second(self.out(h))
        return total


X = torch.rand(3, 6, generator=torch.Generator().manual_seed(2))


def in_steps(module):
    """Returns the outputs of the step form, put together by the test, and those of the module itself."""
    captured = nk.capture(spec_of_module(module.eval(), "net", (6,)))
    step = captured.retrace(form="step")
    run, states, outputs = step.program.module(), step.initial_states(3), []
    with torch.no_grad():
        for _ in range(4):
            y, *states = run(X, *states)
            outputs.append(y)
        wanted = type(module)().eval()(X)
    return captured, torch.stack(outputs), wanted


@pytest.mark.parametrize(
    "kind", [Literal, Stacked, Attribute, Configured, Named, While], ids=lambda kind: kind.__name__
)
def test_a_step(kind):
    captured, steps, wanted = in_steps(kind())
    assert captured.spec.time_input == "image"
    assert captured.time_steps == 4
    together = {"mean": steps.mean(0), "sum": steps.sum(0), "sequence": steps}[captured.time_output]
    assert wanted.any()
    assert torch.allclose(together, wanted, atol=1e-6)


@pytest.mark.parametrize("kind", [WhileLiteral, Layers], ids=lambda kind: kind.__name__)
def test_a_number_that_cannot_be_changed_is_said(kind):
    captured = nk.capture(spec_of_module(kind().eval(), "net", (6,)))
    with pytest.raises(UnsupportedError, match="its forward makes all 4 steps of one input itself"):
        captured.retrace(form="step")


def test_the_names_of_the_users_file_stay_as_they_are():
    in_steps(Literal())
    assert "range" not in globals()


@pytest.mark.parametrize("held", ["num_steps", "config"])
def test_time_steps_of_a_user_reach_an_attribute_of_any_name(held):
    class Repeats(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.lif = nn.Linear(5, 3), neuron.LIFNode(v_threshold=0.3)
            if held == "config":
                self.config = {"steps": 4, "name": "x"}
            else:
                self.num_steps = 4

        def forward(self, x):
            steps = self.config["steps"] if held == "config" else self.num_steps
            return torch.stack([self.lif(3 * self.fc(x)) for _ in range(steps)]).sum(0)

    spec = spec_of_module(Repeats().eval(), "net", (5,), 7)
    assert (spec.time_input, spec.time_steps) == ("image", 7)
    x = torch.rand(6, 5)
    captured = nk.capture(spec)
    found, *_ = captured.program.module()(x, *captured.initial_states(6))
    net, total = Repeats(), 0.0
    for _ in range(7):
        total = total + net.lif(3 * net.fc(x))
    assert torch.equal(found, total)
    assert total.max() > 4 / 2, "seven steps show"

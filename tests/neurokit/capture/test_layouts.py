"""Batch before time, and time as an axis of the sample, against the module itself."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.loading import spec_of_module

T, B = 6, 3


class Video(nn.Module):
    """`[B, T, C, H, W]`, as loaders of event cameras give it."""

    def __init__(self, mean):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.sn = layer.Conv2d(2, 4, 3, padding=1), neuron.LIFNode(v_threshold=0.3)
        self.out, self.mean = nn.Linear(4 * 64, 5), mean
        functional.set_step_mode(self, "m")

    def forward(self, x):
        h = self.sn(self.conv(x.transpose(0, 1))).flatten(2)
        return self.out(h.mean(0)) if self.mean else self.out(h).transpose(0, 1)


class Signal(nn.Module):
    """`[B, C, T]`: time is the last axis of a sample."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.sn = nn.Conv1d(4, 8, 5, padding=2), neuron.LIFNode(v_threshold=0.2, step_mode="m")
        self.out = nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.sn(self.conv(x).permute(2, 0, 1))).mean(0)


def program_of(net, shape, time_steps):
    captured = nk.capture(spec_of_module(net, "net", shape, time_steps))
    return captured, captured.program.module()


@pytest.mark.parametrize("mean", [True, False], ids=["mean", "sequence"])
def test_batch_before_time_is_found(mean):
    net = Video(mean).eval()
    captured, program = program_of(net, (2, 8, 8), T)
    x = torch.rand(T, B, 2, 8, 8)
    with torch.no_grad():
        wanted = net(x.transpose(0, 1))
    y = program(x, *captured.initial_states(B))[0]
    assert torch.allclose(y, wanted if mean else wanted.transpose(0, 1), atol=1e-6)
    assert captured.time_output == ("mean" if mean else "sequence")
    assert any("[B, T, ...]" in note for note in captured.notes)


def test_time_as_an_axis_of_the_sample_is_found():
    net = Signal().eval()
    captured, program = program_of(net, (4, 20), None)
    assert captured.time_steps == 20
    x = torch.rand(B, 4, 20)
    with torch.no_grad():
        wanted = net(x)
    assert torch.allclose(program(x, *captured.initial_states(B))[0], wanted, atol=1e-6)


class Loop(nn.Module):
    """A loop over the first axis of whatever comes in, whose parts take any number of axes: a sample passes too."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.parts = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), neuron.LIFNode(v_threshold=0.3))

    def forward(self, x):
        return sum(self.parts(step) for step in x) / len(x)


def test_a_loop_over_the_first_axis_is_one_over_time():
    net = Loop().eval()
    captured, program = program_of(net, (1, 8, 8), T)
    assert captured.spec.time_input == "sequence"
    x = torch.rand(T, B, 1, 8, 8)
    with torch.no_grad():
        wanted = net(x)
    assert torch.allclose(program(x, *captured.initial_states(B))[0], wanted, atol=1e-6)
    assert captured.time_output == "mean"

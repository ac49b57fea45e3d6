"""Draws that no tried input shows: behind neurons that stay silent, or in a branch that is not taken."""

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module

KINDS = {
    "randn_like": lambda h, x: h * torch.randn_like(h),
    "bernoulli": lambda h, x: h * torch.bernoulli(torch.full_like(h, 0.5)),
    "dropout": lambda h, x: nn.functional.dropout(h, 0.5, training=True),
    "rand_like": lambda h, x: torch.where(x[..., :1] > 1e9, torch.rand_like(h), h),
}


class Noise(nn.Module):
    def __init__(self, kind):
        super().__init__()
        self.kind = kind

    def forward(self, h, x):
        return KINDS[self.kind](h, x)


class Silent(nn.Module):
    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.lif = nn.Linear(6, 5), neuron.LIFNode(step_mode="m", v_threshold=50.0)
        self.noise, self.last = Noise(kind), nn.Linear(5, 3)

    def forward(self, x):
        return self.last(self.noise(self.lif(self.first(x)), x)).mean(0)


@pytest.mark.parametrize("kind", KINDS)
def test_a_draw_that_no_tried_input_shows_is_refused(kind):
    """ONNX has operators that draw: such files failed verification at best, and passed where silence went on."""
    with pytest.raises(UnsupportedError, match=rf"noise: Noise: it draws random numbers at inference \({kind}\)"):
        nk.capture(spec_of_module(Silent(kind).eval(), "net", (6,), 4))


class Counted(nn.Module):
    """Noise before a neuron in a loop: other counts of spikes, but hardly of the one sample that is asked twice."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(10, 12), neuron.LIFNode()
        self.fc.weight.data.mul_(6)

    def forward(self, x):
        return sum(self.lif(self.fc(x_t) + torch.randn(x.shape[1], 12) * 0.1) for x_t in x)


def test_noise_that_makes_another_network_is_named():
    """The program's answers were said not to be the module's."""
    with pytest.raises(UnsupportedError, match="it draws random numbers at inference"):
        nk.capture(spec_of_module(Counted().eval(), "net", (10,), 5))


class Emptied(nn.Module):
    """A membrane made of random numbers, and emptied, as DH-SNN's."""

    def forward(self, x):
        return x + torch.rand(x.shape[0], 6, dtype=x.dtype).zero_() + torch.zeros_like(torch.rand_like(x))


def test_a_draw_that_nothing_reads_is_none():
    assert nk.capture(spec_of_module(Emptied().eval(), "net", (6,))).program is not None


class Trained(nn.Module):
    """Dropouts of every kind of layer, in evaluation mode."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.memory = nn.LSTM(6, 8, 2, dropout=0.3)
        self.attention, self.drop = nn.MultiheadAttention(8, 2, dropout=0.2), nn.Dropout(0.5)
        self.slope, self.last = nn.RReLU(), nn.Linear(8, 3)

    def forward(self, x):
        h, _ = self.memory(x.transpose(0, 1))
        return self.last(self.slope(self.drop(self.attention(h, h, h)[0]))).mean(0)


def test_what_draws_in_training_alone_is_taken():
    assert nk.capture(spec_of_module(Trained().eval(), "net", (4, 6))).program is not None

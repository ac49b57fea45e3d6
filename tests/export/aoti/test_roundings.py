"""Bounds of packages in 16 bits: how often a term is rounded, and that errors stay below while faults do not."""

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.export.aoti.precision import in_16_bits as cast
from neurokit.export.aoti.programs import body_of
from neurokit.export.aoti.roundings import most_by_name, roundings
from neurokit.parity.rounding import gamma
from neurokit.spec import ModelSpec, TensorSpec

UNITS = {torch.float16: 2.0**-11, torch.bfloat16: 2.0**-8}


class Net(nn.Module):
    """Currents that are rounded in different ways."""

    def __init__(self):
        from spikingjelly.activation_based import functional, layer, neuron

        super().__init__()
        self.conv, self.sn1 = layer.Conv2d(2, 4, 3, padding=1), neuron.LIFNode()
        self.bare, self.sn2 = layer.Conv2d(4, 4, 3, padding=1, bias=False), neuron.LIFNode()
        self.sn3, self.flat, self.head = neuron.IFNode(), layer.Flatten(), layer.Linear(4 * 36, 3)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.conv(x)
        x = x + self.bare(self.sn1(x))
        return self.head(self.flat(self.sn3(torch.sigmoid(self.sn2(x * 0.5)))))


@pytest.fixture(scope="module")
def captured():
    torch.manual_seed(0)
    return nk.capture(ModelSpec("net", lambda: Net().eval(), (TensorSpec("x", (2, 6, 6)),), time_steps=2))


def in_halves(captured, dtype):
    body = body_of(captured)
    cast(body, captured, dtype)
    return body


def test_roundings_are_counted_along_the_longest_way(captured):
    currents, outputs = roundings(in_halves(captured, torch.float16))
    # Image 1, weight 1, bias 1, sum and bias 2; of spikes a weight 1 and a sum 2, less than the other summand; added 1;
    # halved 1. What a sigmoid does to errors is not known. Spikes, weight, bias, sum and bias.
    assert currents == [5, 7, None]
    assert outputs[0] == 4


def test_a_program_in_float32_rounds_nothing_to_16_bits(captured):
    currents, outputs = roundings(body_of(captured))
    assert currents == [0, 0, None]
    assert outputs[0] == 0


def test_of_several_calls_the_largest_count_holds_and_one_unknown_leaves_the_layer_out():
    assert most_by_name(["a", "b", "a"], [1, None, 3]) == {"a": 3}


@pytest.mark.parametrize("dtype", list(UNITS))
@pytest.mark.parametrize("seed", range(3))
def test_errors_of_sums_in_16_bits_are_within_the_bound_and_it_is_near(dtype, seed):
    """Against float64: one convolution of spikes with its bias, and a residual."""
    generator = torch.Generator().manual_seed(seed)
    x = (torch.rand(2, 64, 8, 8, generator=generator) < 0.3).double()
    weight, bias = (torch.randn(*shape, generator=generator).double() for shape in ((32, 64, 3, 3), (32,)))
    beside = torch.randn(2, 32, 8, 8, generator=generator).double()
    wanted = nn.functional.conv2d(x, weight, bias, padding=1) + beside
    size = nn.functional.conv2d(x, weight.abs(), bias.abs(), padding=1) + beside.abs()
    low = nn.functional.conv2d(x.to(dtype), weight.to(dtype), bias.to(dtype), padding=1) + beside.to(dtype)
    share = ((low.double() - wanted).abs() / size).max()
    terms = 64 * 9 + 2
    assert share <= gamma(5, UNITS[dtype]) + gamma(terms)
    assert share > gamma(5, UNITS[dtype]) / 100
    assert gamma(5, UNITS[dtype]) < gamma(terms) * 2.0 * UNITS[dtype] * 2.0**24 / 20

"""Outputs of some of the steps, [T / 2, B, ...]: the word "auto" does not say where their batch is, the port does."""

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.over_time import batch_axes


class EverySecond(nn.Module):
    """Gives every second step, of neurons in a loop; what it gives may be mixed among the samples."""

    def __init__(self, mixed=False):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.lif, self.mixed = nn.Linear(8, 5), neuron.LIFNode(), mixed

    def forward(self, x):
        found = torch.stack([self.lif(9 * self.a(step).abs()) for step in x][::2])
        return found - found.mean(1, keepdim=True) if self.mixed else found


def test_each_samples_answer_is_its_own_where_steps_are_left_out(tmp_path):
    x = torch.rand(6, 2, 8)
    captured = nk.capture(EverySecond().eval(), x)
    assert captured.time_output == "auto"
    for batch in ("dynamic", 2):
        artifact = nk.lower(captured, "onnx", tmp_path / str(batch), batch=batch, inputs=x)
        assert nk.verify(artifact, thorough=True).passed


def test_samples_that_are_mixed_there_are_refused(tmp_path):
    captured = nk.capture(EverySecond(mixed=True).eval(), torch.rand(6, 2, 8))
    with pytest.raises(UnsupportedError, match="mixes the samples"):
        nk.lower(captured, "onnx", tmp_path / "a")


def test_axes_come_from_the_port_where_the_word_does_not_say():
    shapes = [(3, "B", 5), ("B", 4), (3, "2*B", 5)]
    assert batch_axes("auto", 3, shapes) == (1, 0, 1)
    assert batch_axes("sequence,mean,auto", 3, shapes) == (1, 0, 1)
    assert batch_axes("auto", 1, [(3, 2, 5)], 2) == (1,)
    assert batch_axes("auto", 1) == (0,)
    assert batch_axes("last", 2, [("B", 3), (1, "B", 8)]) == (0, 1)  # states of an LSTM
    assert batch_axes("sequence", 1, [("B", 3)]) == (1,)  # a step's port

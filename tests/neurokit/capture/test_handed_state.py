"""A module that is handed its state: over time where that is asked for, else one call from rest, and said so."""

from __future__ import annotations

from torch import nn

import neurokit as nk
from neurokit.loading import spec_of_module


class Leaky(nn.Module):
    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, x, state=None):
        v = self.map(x) if state is None else 0.5 * state + self.map(x)
        spikes = (v >= 1.0).to(x.dtype)
        return spikes, v - spikes


class Masked(nn.Module):
    """A second argument that is no state."""

    def __init__(self):
        super().__init__()
        self.map = nn.Linear(3, 3)

    def forward(self, x, mask=None):
        return self.map(x if mask is None else x * mask)


def test_one_call_from_rest_is_said_to_be_one():
    captured = nk.capture(spec_of_module(Leaky().eval(), "leaky", (3,)))
    assert any("called once, from rest; --time-steps N" in note for note in captured.notes)


def test_over_time_nothing_is_said():
    captured = nk.capture(spec_of_module(Leaky().eval(), "leaky", (3,), 4))
    assert captured.time_steps == 4
    assert not any("from rest" in note for note in captured.notes)


def test_another_argument_is_no_state():
    captured = nk.capture(spec_of_module(Masked().eval(), "masked", (3,)))
    assert not captured.notes

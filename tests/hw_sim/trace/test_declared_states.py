"""Networks that declare a state (a leaky read-out, a recurrence, a GRU): counted step by step against their own run."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.errors import UnsupportedError

STEPS, INPUTS, HIDDEN, OUTPUTS = 4, 5, 8, 3


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.sn = nn.Linear(INPUTS, HIDDEN), neuron.LIFNode(v_threshold=0.3)
        self.head, self.back, self.cell = nn.Linear(HIDDEN, OUTPUTS), nn.Linear(HIDDEN, HIDDEN), nn.GRUCell(HIDDEN, 6)
        self.spikes: list[Tensor] = []
        self.carried: list[Tensor] = []

    def seen(self, spikes: Tensor, carried: Tensor) -> None:
        self.spikes.append(spikes)
        self.carried.append(carried)


class Leaky(_Net):
    """A read-out that leaks, kept by the caller."""

    def forward(self, x, state):
        spikes = self.sn(self.fc(x))
        state = 0.9 * state + self.head(spikes)
        self.seen(spikes, state)
        return state, state


class Recurrent(_Net):
    """Its own spikes come back a step later."""

    def forward(self, x, state):
        state = self.sn(self.fc(x) + self.back(state))
        self.seen(state, state)
        return state, state


class Traced(_Net):
    """A trace of its spikes is read twice: by the neurons of the next step and by the output."""

    def forward(self, x, state):
        spikes = self.sn(self.fc(x) + self.back(state))
        state = 0.75 * state + spikes
        self.seen(spikes, state)
        return self.head(state), state


class Gated(_Net):
    """A GRU's cell, which no chip has an operation for."""

    def forward(self, x, state):
        spikes = self.sn(self.fc(x))
        state = self.cell(spikes, state)
        self.seen(spikes, state)
        return state, state


class ByHand(_Net):
    """Membranes and spikes in plain operations: no neuron of a library."""

    def forward(self, x, state):
        state = 0.5 * state + self.fc(x)
        spikes = (state > 0.1).float()
        self.seen(spikes, state)
        return self.head(spikes), state * (1 - spikes)


WIDTH = {Leaky: OUTPUTS, Recurrent: HIDDEN, Traced: HIDDEN, Gated: 6, ByHand: HIDDEN}


def _run(kind: type[_Net]):
    torch.manual_seed(0)
    net = kind().eval()
    state = nk.StateSpec("state", (WIDTH[kind],))
    spec = nk.ModelSpec(
        kind.__name__, lambda: net, (nk.TensorSpec("x", (INPUTS,)),), STEPS, "step", "sequence", states=(state,)
    )
    x = (torch.rand(STEPS, 1, INPUTS, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    report = nk.simulate(capture(spec), x, ["loihi1", "cmos45"])
    net.sn.reset()
    net.spikes, net.carried = [], []
    carried = torch.zeros(1, WIDTH[kind])
    for step in x:
        _, carried = net(step, carried)
    return report, int(x.sum()), torch.cat(net.spikes), torch.cat(net.carried)


def test_a_leaky_readout_is_its_products_and_an_addition_a_step():
    report, events, spikes, _ = _run(Leaky)
    assert report.totals["synaptic_events"] == events * HIDDEN + int(spikes.sum()) * OUTPUTS
    assert report.totals["neuron_updates"] == STEPS * HIDDEN
    carried = report.chip("loihi1").counts["shortcut_add"]
    assert carried == STEPS * OUTPUTS  # what leaks is added once a step
    assert not report.uncounted


def test_spikes_that_come_back_are_events_of_the_step_that_sends_them():
    report, events, spikes, _ = _run(Recurrent)
    assert int(spikes.sum()) > 0
    assert report.totals["synaptic_events"] == events * HIDDEN + int(spikes.sum()) * HIDDEN
    assert not report.uncounted


def test_a_trace_that_is_read_twice_is_one_population():
    report, events, spikes, trace = _run(Traced)
    kept = int((trace != 0).sum())
    assert kept > int(spikes.sum())
    assert report.totals["synaptic_events"] == events * HIDDEN + int(spikes.sum())  # into the trace, one to one
    assert report.totals["graded_events"] == kept * (HIDDEN + OUTPUTS)
    assert report.totals["shortcut_adds"] == STEPS * HIDDEN


@pytest.mark.parametrize("kind", [Gated, ByHand])
def test_what_is_in_no_count_makes_every_total_a_lower_bound(kind):
    report, events, spikes, _ = _run(kind)
    assert report.uncounted
    assert {chip.status for chip in report.chips} == {"lower-bound"}
    assert report.verdict is None
    counted = events * HIDDEN + (int(spikes.sum()) * OUTPUTS if kind is ByHand else 0)
    assert report.totals["synaptic_events"] == counted


def test_the_command_takes_a_model_with_a_declared_state(tmp_path, capsys):
    from neurokit.cli import main

    (tmp_path / "model.py").write_text(
        "import torch\nimport neurokit as nk\nfrom torch import nn\nfrom spikingjelly.activation_based import neuron\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n"
        "        self.fc, self.sn, self.cell = nn.Linear(5, 8), neuron.IFNode(v_threshold=0.3), nn.GRUCell(8, 6)\n"
        "    def forward(self, x, h):\n        h = self.cell(self.sn(self.fc(x)), h)\n        return h, h\n"
        "def spec():\n    return nk.ModelSpec('gru', Net, (nk.TensorSpec('x', (5,)),), 4, 'step', 'sequence',\n"
        "                        states=(nk.StateSpec('h', (6,)),))\n"
    )
    assert main(["energy", f"{tmp_path}/model.py:spec", "--chip", "loihi1"]) == 0
    printed = capsys.readouterr().out
    assert "at least" in printed
    assert "not counted" in printed
    assert "gru_cell" in printed


class Whole(nn.Module):
    """All of its layers and their states in one module."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.head, self.membrane = nn.Linear(INPUTS, HIDDEN), nn.Linear(HIDDEN, OUTPUTS), None

    def forward(self, x: Tensor) -> Tensor:
        if self.membrane is None:
            self.membrane = torch.zeros(x.shape[0], HIDDEN)
        self.membrane = 0.5 * self.membrane + self.fc(x)
        spikes = (self.membrane > 1.0).float()
        self.membrane = self.membrane - spikes
        return self.head(spikes)


def test_layers_inside_of_a_module_with_states_are_not_counted_as_its_neurons() -> None:
    from neurokit.hw_sim.trace import trace
    from neurokit.loading import spec_of_module

    captured = capture(spec_of_module(Whole().eval(), "whole", (INPUTS,), STEPS))
    with pytest.raises(UnsupportedError, match="Whole: it keeps states of whole layers between its calls"):
        trace(captured, torch.rand(STEPS, 1, INPUTS))

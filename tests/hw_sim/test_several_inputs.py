"""Energy of a network with several inputs: events counted by brute force from every one of them."""

import json

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.cli import main
from neurokit.errors import InputError

STEPS, OUT = 4, 6
SOURCE = """
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn
import neurokit as nk

class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = layer.Linear(5, 6, step_mode="m"), layer.Linear(3, 6, step_mode="m")
        self.spike, self.head = neuron.IFNode(v_threshold=0.3, step_mode="m"), layer.Linear(6, 2, step_mode="m")
    def forward(self, ear, eye):
        return self.head(self.spike(self.a(ear) + self.b(eye)))

def pair():
    torch.manual_seed(0)
    net = Pair().eval()
    ports = (nk.TensorSpec("ear", (5,)), nk.TensorSpec("eye", (3,)))
    return nk.ModelSpec("pair", lambda: net, ports, time_steps=4)
"""


class _Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = layer.Linear(5, OUT, step_mode="m"), layer.Linear(3, OUT, step_mode="m")
        self.spike, self.head = neuron.IFNode(v_threshold=0.3, step_mode="m"), layer.Linear(OUT, 2, step_mode="m")

    def forward(self, ear, eye):
        return self.head(self.spike(self.a(ear) + self.b(eye)))


@pytest.fixture(scope="module")
def captured():
    torch.manual_seed(0)
    net = _Pair().eval()
    ports = (nk.TensorSpec("ear", (5,)), nk.TensorSpec("eye", (3,)))
    return capture(nk.ModelSpec("pair", lambda: net, ports, time_steps=STEPS))


def _samples(count):
    generator = torch.Generator().manual_seed(1)

    def draw(n, rate):
        return (torch.rand(STEPS, 1, n, generator=generator) < rate).float()

    return [{"ear": draw(5, 0.2 + 0.1 * n), "eye": draw(3, 0.7)} for n in range(count)]


def _events(captured, sample):
    """Spikes times fan-out, by running the module itself."""
    from spikingjelly.activation_based import functional

    net = captured.spec.build()
    functional.reset_net(net)
    with torch.no_grad():
        spikes = net.spike(net.a(sample["ear"]) + net.b(sample["eye"]))
    functional.reset_net(net)
    return int(sample["ear"].sum() * OUT + sample["eye"].sum() * OUT + spikes.sum() * 2)


def test_events_of_every_input_are_counted(captured):
    one, *_ = samples = _samples(3)
    single = nk.simulate(captured, one, ["loihi1"])
    assert single.totals["synaptic_events"] == _events(captured, one)
    assert {"ear", "eye"} <= {entry.name for entry in single.layers}
    without = {**one, "eye": torch.zeros_like(one["eye"])}
    assert nk.simulate(captured, without, ["loihi1"]).totals["synaptic_events"] == _events(captured, without)
    several = nk.simulate(captured, samples, ["loihi1"])
    assert several.test_set.events.mean == pytest.approx(np.mean([_events(captured, x) for x in samples]))
    batch = {name: torch.cat([x[name] for x in samples], dim=1) for name in one}
    assert nk.simulate(captured, batch, ["loihi1"]).test_set.events.mean == several.test_set.events.mean


def test_what_is_no_sample_is_refused(captured):
    (one,) = _samples(1)
    for given, why in (
        (one["ear"], "there are 2: ear, eye"),
        ({"ear": one["ear"]}, "data of input 'eye' are missing"),
        ({**one, "eye": one["eye"][:2]}, "the input 'eye' has shape"),
    ):
        with pytest.raises(InputError, match=why):
            nk.simulate(captured, given, ["loihi1"])


def test_from_a_file_by_command(captured, tmp_path, capsys):
    samples = _samples(2)
    (tmp_path / "pair.py").write_text(SOURCE)
    np.savez(tmp_path / "x.npz", **{n: np.stack([x[n][:, 0].numpy() for x in samples]) for n in ("ear", "eye")})
    command = ["energy", f"{tmp_path}/pair.py:pair", "--chip", "loihi1", "--input"]
    assert main([*command, str(tmp_path / "x.npz"), "--out", str(tmp_path / "e.json")]) == 0
    found = json.loads((tmp_path / "e.json").read_text())
    assert found["test_set"]["events"]["mean"] == pytest.approx(np.mean([_events(captured, x) for x in samples]))
    np.save(tmp_path / "x.npy", np.zeros((STEPS, 5), np.float32))
    assert main([*command, str(tmp_path / "x.npy")]) == 2
    assert "the model has 2 inputs: ear, eye" in capsys.readouterr().err

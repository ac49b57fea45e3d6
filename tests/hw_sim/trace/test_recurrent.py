"""Recurrent and delayed connections are counted: against networks that are run and counted in numpy."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.errors import InputError, UnsupportedError
from neurokit.hw_sim.engine.dyadic import integer_network
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.trace import trace
from neurokit.neurons.cells import NirCell
from neurokit.neurons.delay import Delay
from neurokit.neurons.loops import Recurrent

STEPS = 10


def whole(module, seed):
    """Weights that are multiples of 1/4, so that every sum is exact."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in module.parameters():
        parameter.data = torch.randint(-2, 5, parameter.shape, generator=generator) / 4
    return module


def fires(v, x, threshold=1.0):
    v = v + x
    z = v >= threshold
    return np.where(z, 0.0, v), z.astype(float)


def run(net, x, weights, late=()):
    """Counts a recurrent layer of 5 IF neurons whose spikes are `late` steps late for a second layer of 3."""
    w_in, w_rec, w_out = weights
    v, u, s = np.zeros(5), np.zeros(3), np.zeros(5)
    rows, spikes, events = [], 0, {"recurrent": 0, "out": 0}
    for t, x_t in enumerate(x):
        v, s = fires(v, w_in @ x_t + w_rec @ s)
        events["recurrent"] += int(s.sum()) * 5  # booked when they are sent: the last step's are sent too
        rows.append(s)
        arrived = np.array([rows[t - d][k] if t >= d else 0.0 for k, d in enumerate(late or [0] * 5)])
        u, z = fires(u, w_out @ arrived)
        events["out"] += sum(int(s[k]) for k, d in enumerate(late or [0] * 5) if d < len(x)) * 3
        spikes += int(s.sum() + z.sum())
    return events, spikes


class Net(nn.Module):
    """A recurrent layer, a delay where there is one, and a layer behind; one step at a time."""

    def __init__(self, late=()):
        super().__init__()
        self.first = whole(nn.Linear(4, 5, bias=False), 1)
        self.loop = Recurrent(whole(nn.Linear(5, 5, bias=False), 2), neuron.IFNode())
        self.axon = Delay(np.array(late)) if late else nn.Identity()
        self.axon.step_mode = "s"
        self.second, self.sn = whole(nn.Linear(5, 3, bias=False), 3), neuron.IFNode()

    def forward(self, x):
        return self.sn(self.second(self.axon(self.loop(self.first(x)))))


@pytest.mark.parametrize("late", [(), (2, 2, 2, 2, 2), (0, 1, 3, 1, 12)], ids=["edge", "one", "each"])
def test_every_event_of_a_loop_and_of_a_delay_is_counted(late):
    net = Net(late).eval()
    x = np.random.default_rng(0).integers(0, 2, (STEPS, 4)).astype(np.float32)
    matrices = [w.weight.detach().numpy() for w in (net.first, net.loop.recurrent, net.second)]
    expected, spikes = run(net, x, matrices, late)
    spec = nk.ModelSpec("net", lambda: net, (nk.TensorSpec("x", (4,)),), time_steps=STEPS, time_input="step")
    load = trace(capture(spec), torch.from_numpy(x)[:, None])
    network = load.network
    recurrent = [p for p in network.projections if p.source == p.target]
    out = [p for p in network.projections if p.name.startswith("second")]
    assert [(p.delay, p.synapses) for p in recurrent] == [(1, 25)]
    assert sum(int(load.events(p).sum()) for p in recurrent) == expected["recurrent"]
    assert sum(int(load.events(p).sum()) for p in out) == expected["out"]
    assert {p.delay for p in out} == ({d for d in late if d < STEPS} if late else {0})
    assert load.totals()["spikes"] == spikes
    assert load.totals()["neuron_updates"] == STEPS * 8
    assert bool(network.uncounted) == bool(late)  # nobody states a price for a delay line's memory
    if not late:
        report = nk.simulate(capture(spec), torch.from_numpy(x)[:, None], chips=["loihi1"])
        assert report.totals["synaptic_events"] == sum(expected.values()) + 5 * int(x.sum())


def test_a_recurrent_layer_needs_its_weights_on_the_chip():
    """Its own spikes travel to its own cores, and its weights take memory there."""
    from neurokit.hw_sim.mapping.partition import incoming, units_of

    spec = nk.ModelSpec("net", lambda: Net().eval(), (nk.TensorSpec("x", (4,)),), time_steps=2, time_input="step")
    network = trace(capture(spec), torch.ones(2, 1, 4)).network
    unit = next(unit for unit in units_of(network) if "loop.cell" in unit.populations)
    assert {p.source for p in incoming(network, unit)} == {"x", "loop.cell"}


@pytest.mark.parametrize("kind", ["cell", "cuba"])
def test_cells_of_plain_operations_are_populations(kind):
    """Spikes against the module itself; what has more to it than a LIF neuron is said."""
    full = lambda value: np.full(5, float(value))  # noqa: E731
    fields = {"tau": np.linspace(2, 4, 5), "r": full(3), "v_leak": full(0), "v_threshold": full(1), "v_reset": full(0)}
    cell = NirCell("LIF", fields, 1.0) if kind == "cell" else neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_reset=0.0)
    cell.step_mode = "m"
    net = nn.Sequential(whole(nn.Linear(4, 5), 4), cell, whole(nn.Linear(5, 3), 5), neuron.IFNode(step_mode="m")).eval()
    x = torch.randint(0, 3, (STEPS, 1, 4), generator=torch.Generator().manual_seed(1)).float()
    with torch.no_grad():
        spikes = net[1](net[0](x))
    net[1].reset()
    load = trace(capture(net, x), x)
    assert 0 < int(spikes.sum()) < spikes.numel()
    assert int(load.rasters["1"].unpack().sum()) == int(spikes.sum())
    assert int(load.events(load.network.into("3")[0]).sum()) == 3 * int(spikes.sum())
    assert [str(entry).partition(":")[0] for entry in load.network.uncounted] == ([] if kind == "cell" else ["1"])
    with pytest.raises(UnsupportedError, match="more to them than the event engine computes"):
        integer_network(load.network, load.time_steps, load.inputs)


def test_a_target_before_its_source_needs_a_delay():
    populations = (Population("a", (2,), model=NeuronModel("if")),)
    back = Projection.linear("w", "a", "a", (2,), 2, delay=1)
    spikes = np.array([[1, 0], [0, 1], [1, 1]], np.uint8)
    load = Workload(Network("net", populations, (back,)), {"a": SpikeRaster.pack(spikes)})
    assert load.events(back).tolist() == [2, 2, 4]
    with pytest.raises(InputError, match="comes before its source"):
        Network("net", populations, (Projection.linear("w", "a", "a", (2,), 2),))
    with pytest.raises(UnsupportedError, match="a recurrent or delayed connection"):
        integer_network(load.network, 3, {})


def test_real_values_may_be_late_too():
    """A sum that a delay holds back is added where it arrives."""
    net = nn.Sequential(layer.Linear(4, 5, bias=False), Delay(2), neuron.IFNode())
    for part in net:
        part.step_mode = "m"
    whole(net[0], 6)
    x = torch.ones(4, 1, 4)
    load = trace(capture(net.eval(), x), x)
    assert [(p.kind, p.delay) for p in load.network.projections] == [("linear", 0), ("identity", 2)]

"""Recurrent networks and delays written: as NIR and read again, as ONNX in its three forms, and run elsewhere."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.loading import load

from ..nets import dyadic, inputs, reference

nir = pytest.importorskip("nir", reason="the nir library is not installed")
DT = 1e-4
STEPS = 5


def full(value, n):
    return np.full(n, float(value))


def lif(n, threshold=0.9375):
    zero = full(0, n)
    return nir.LIF(tau=full(4 * DT, n), r=full(1, n), v_leak=zero, v_threshold=full(threshold, n), v_reset=zero)


def weights(rng, *shape):
    return (rng.integers(-4, 9, shape) / 4).astype(np.float32)


def graph_of(delay=None):
    rng = np.random.default_rng(5)
    nodes = {
        "input": nir.Input(np.array([6])),
        "fc1": nir.Affine(weights(rng, 5, 6), np.zeros(5)),
        "lif1": lif(5),
        "w_rec": nir.Linear(weights(rng, 5, 5)),
        "fc2": nir.Affine(weights(rng, 4, 5), np.zeros(4)),
        "lif2": lif(4),
        "output": nir.Output(np.array([4])),
    }
    edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")]
    if delay is None:
        return nir.NIRGraph(nodes, [*edges, ("lif1", "w_rec"), ("w_rec", "lif1")])
    nodes["axon"] = nir.Delay(np.array(delay) * DT)
    return nir.NIRGraph(nodes, [*edges, ("lif1", "axon"), ("axon", "w_rec"), ("w_rec", "lif1")])


def spec_of(net, n, steps=STEPS, time_input="sequence"):
    return nk.ModelSpec("net", lambda: net, (nk.TensorSpec("x", (n,)),), time_steps=steps, time_input=time_input)


def captured_file(graph, path):
    nir.write(str(path), graph)
    return nk.capture(load(str(path), time_steps=STEPS))


@pytest.mark.parametrize("delay", [None, [2, 1, 3, 4, 2]], ids=["edge", "each"])
def test_a_graph_comes_back_as_it_was(delay, tmp_path):
    """Nodes, parameters and edges; every spike under the verification that forces and covers each layer."""
    graph = graph_of(delay)
    artifact = nk.lower(captured_file(graph, tmp_path / "n.nir"), "nir", tmp_path / "a")
    again = nir.read(str(tmp_path / "a" / "model.nir"))
    assert sorted(again.edges) == sorted(graph.edges)
    assert {n: type(v).__name__ for n, v in again.nodes.items()} == {
        n: type(v).__name__ for n, v in graph.nodes.items()
    }
    for name, node in graph.nodes.items():
        for key in ("weight", "bias", "tau", "r", "v_leak", "v_reset", "v_threshold", "delay"):
            if hasattr(node, key):
                np.testing.assert_allclose(getattr(again.nodes[name], key), getattr(node, key), rtol=1e-7, err_msg=name)
    parity = artifact.manifest.parity
    assert parity["verdict"] == "exact"
    assert [entry["layer"] for entry in parity["layers"]] == ["lif1", "lif2"]
    assert all(entry["covering_error"] is not None for entry in parity["layers"])


def test_others_give_the_same_spikes(tmp_path):
    pytest.importorskip("nirtorch")
    artifact = nk.lower(captured_file(graph_of(), tmp_path / "n.nir"), "nir", tmp_path / "a", verified=False)
    rows = {row.simulator: row for row in nk.verify(artifact, record=False).simulators}
    for name in ("spikingjelly", "norse"):
        if rows[name].status != "not installed":
            assert (rows[name].status, rows[name].spikes_differ, rows[name].spikes_compared) == ("ran", 0, STEPS * 9)


def test_a_wrong_recurrent_weight_is_found(tmp_path):
    """One that no spike of the test vectors reads, too."""
    from neurokit.export.nir.run import NirProbe
    from neurokit.parity.check import _verify
    from neurokit.parity.vectors import FILE, Vectors

    captured = captured_file(graph_of([1] * 5), tmp_path / "n.nir")
    artifact = nk.lower(captured, "nir", tmp_path / "a", verified=False)
    vectors = Vectors.load(artifact.file(FILE))
    assert _verify(artifact, vectors).passed
    opened = NirProbe.__init__

    def broken(self, *args, **options):
        opened(self, *args, **options)
        with torch.no_grad():
            self._nets[0].w_rec.weight[3, 1] += 0.25

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NirProbe, "__init__", broken)
        assert not _verify(artifact, vectors).passed


CONTAINERS = {
    "linear": lambda: layer.LinearRecurrentContainer(nn.Sequential(nn.Linear(4, 3), neuron.LIFNode()), 4, 3),
    "two": lambda: layer.LinearRecurrentContainer(
        nn.Sequential(nn.Linear(4, 5), neuron.LIFNode(), nn.Linear(5, 3), neuron.IFNode()), 4, 3
    ),
    "sum": lambda: layer.ElementWiseRecurrentContainer(neuron.IFNode(), lambda y, x: y + x),
    "delay": lambda: layer.Delay(2),
}


def containing(name, mode):
    """A layer, one of SpikingJelly's modules that look back, and a layer."""
    inner = CONTAINERS[name]()
    width = 3 if name in ("linear", "two") else 4
    net = nn.Sequential(layer.Linear(6, 4), neuron.LIFNode(), inner, layer.Linear(width, 4), neuron.IFNode())
    for part in net:
        part.step_mode = mode
    return dyadic(net).eval()


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        ("linear", "m"),
        ("sum", "s"),
        ("delay", "s"),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in [("two", "m"), ("linear", "s"), ("delay", "m")]),
    ],
)
def test_spikingjellys_own_go_out_and_come_back(name, mode, tmp_path):
    """Against the module itself, and the file against it again."""
    net, x = containing(name, mode), 4 * inputs(STEPS, 2, 6)
    expected = reference(net, x) if mode == "m" else np.stack(_steps(net, x))
    assert 0 < expected.sum() < expected.size
    captured = nk.capture(spec_of(net, 6, time_input="sequence" if mode == "m" else "step"))
    with torch.no_grad():
        found = captured.program.module()(torch.from_numpy(x), *captured.initial_states(2))[0].numpy()
    assert (found != expected).sum() == 0
    artifact = nk.lower(captured, "nir", tmp_path / "a", verified=False)
    with torch.no_grad():
        again = load(str(tmp_path / "a" / "model.nir")).build()(torch.from_numpy(x)).numpy()
    assert (again != expected).sum() == 0
    assert any(entry[0] == entry[1] for entry in nir.read(str(artifact.file("model.nir"))).edges) == (name == "sum")


def _steps(net, x):
    from spikingjelly.activation_based import functional

    functional.reset_net(net)
    with torch.no_grad():
        found = [net(torch.from_numpy(x_t)).numpy() for x_t in x]
    functional.reset_net(net)
    return found


@pytest.mark.parametrize("target", ["onnx", "onnx-step", "onnx-scan"])
def test_a_loop_and_a_delay_in_the_forms_of_onnx(target, tmp_path):
    pytest.importorskip("onnxruntime")
    captured = captured_file(graph_of([2, 1, 3, 4, 2]), tmp_path / "n.nir")
    x = 4 * inputs(STEPS, 2, 6)
    with torch.no_grad():
        expected = captured.program.module()(torch.from_numpy(x), *captured.initial_states(2))[0].numpy()
    artifact = nk.lower(captured, target, tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    forced = [entry["layer"] for entry in artifact.manifest.parity["layers"]]
    assert forced == (["lif2"] if target == "onnx-scan" else ["lif1", "lif2"])
    with nk.open(artifact) as runner:
        assert (runner(x) != expected).sum() == 0
        if target == "onnx-step":
            runner.reset(2)
            assert (np.stack([runner.step(x_t) for x_t in x]) != expected).sum() == 0


def test_what_nir_cannot_state_is_refused():
    """A value that is fed back before its neuron, and one that leads to one place at once and a step later."""
    net = nn.Sequential(layer.ElementWiseRecurrentContainer(nn.Linear(4, 4), lambda y, x: y + x), neuron.IFNode())
    net[0].step_mode = net[1].step_mode = "m"
    with pytest.raises(UnsupportedError, match="what it feeds back is no neuron's output"):
        nk.lower(nk.capture(spec_of(net, 4)), "nir", "never")


def test_exact_numerics_of_a_loop_are_refused():
    captured = nk.capture(spec_of(containing("sum", "m"), 6))
    with pytest.raises(UnsupportedError, match="2: Container: the proof goes layer after layer"):
        nk.exact(captured)


class FirstSpikeFromRest(nn.Module):
    """norse's cell whose first spike is of its state alone, in a loop over time."""

    def __init__(self):
        super().__init__()
        import norse.torch

        self.a, self.lsnn, self.b = nn.Linear(4, 3), norse.torch.LSNNCell(), nn.Linear(3, 2)

    def forward(self, x):
        state, out = None, 0
        for step in x:
            spikes, state = self.lsnn(20 * self.a(step), state)
            out = out + self.b(spikes)
        return out


def test_what_a_cell_makes_of_its_state_alone_is_refused_in_words(tmp_path):
    captured = nk.capture(FirstSpikeFromRest().eval(), torch.rand(3, 2, 4))
    with pytest.raises(UnsupportedError, match="lsnn: LSNNCell: one forward pass runs it 3 times"):
        nk.lower(captured, "nir", tmp_path / "a")

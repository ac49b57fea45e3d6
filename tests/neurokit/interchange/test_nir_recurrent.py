"""Recurrent `.nir` files and files with delays, against the equations run in float64 by a program of its own."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.cli import main
from neurokit.errors import ModelLoadError
from neurokit.interchange.nir_cycles import NoOrderError, schedule
from neurokit.interchange.nir_file import NirGraph, NirNode
from neurokit.interchange.nir_net import NirNet
from neurokit.loading import load
from neurokit.neurons.delay import Delay

nir = pytest.importorskip("nir", reason="the nir library is not installed")
DT = 1e-4
STEPS = 12


def weights(rng, *shape):
    """Multiples of 1/8: sums are exact, so that a difference is one of rules and not of rounding."""
    return (rng.integers(-4, 9, shape) / 8).astype(np.float32)


def neuron(kind, n, tau=4.0):
    full = lambda value: np.full(n, float(value))  # noqa: E731
    common = {"v_leak": full(0), "v_threshold": full(0.9375), "v_reset": full(0)}
    if kind == "LIF":
        return nir.LIF(tau=full(tau * DT), r=full(1), **common)
    return nir.CubaLIF(tau_syn=full(2 * DT), tau_mem=full(tau * DT), r=full(tau), w_in=full(2), **common)


def chain(*names):
    return list(itertools.pairwise(names))


def recurrent(kind, delay=None, seed=5):
    """The Braille reader in small: a hidden layer that reads its own spikes, one step (or `delay` steps) late."""
    rng = np.random.default_rng(seed)
    nodes = {
        "input": nir.Input(np.array([6])),
        "fc1": nir.Affine(2 * weights(rng, 5, 6), np.zeros(5)),
        "lif1": neuron(kind, 5),
        "w_rec": nir.Linear(2 * weights(rng, 5, 5)),
        "fc2": nir.Affine(2 * weights(rng, 4, 5), np.zeros(4)),
        "lif2": neuron(kind, 4),
        "output": nir.Output(np.array([4])),
    }
    edges = chain("input", "fc1", "lif1", "fc2", "lif2", "output")
    if delay is None:
        return nir.NIRGraph(nodes, [*edges, *chain("lif1", "w_rec", "lif1")])
    nodes["axon"] = nir.Delay(np.asarray(delay) * DT)
    return nir.NIRGraph(nodes, [*edges, *chain("lif1", "axon", "w_rec", "lif1")])


class Simulator:
    """NIR's neurons by Euler's step, in float64 and one neuron population at a time."""

    def __init__(self, node):
        self.node, self.v, self.i = node, 0.0, 0.0

    def __call__(self, x):
        n = self.node
        if isinstance(n, nir.CubaLIF):
            self.i = self.i + DT / n.tau_syn * (-self.i + n.w_in * x)
            x = self.i
        self.v = self.v + DT / getattr(n, "tau", getattr(n, "tau_mem", None)) * (n.v_leak - self.v + n.r * x)
        z = self.v > n.v_threshold
        self.v = np.where(z, n.v_reset, self.v)
        return z.astype(float)


def simulate(graph, x, late=1):
    """Runs `recurrent`'s network; `late` steps of each hidden neuron. Returns the spikes of both layers."""
    nodes = graph.nodes
    first, second = Simulator(nodes["lif1"]), Simulator(nodes["lif2"])
    late = np.broadcast_to(late, 5)
    hidden, out = [], []
    for t, x_t in enumerate(x.astype(np.float64)):
        old = np.zeros((x.shape[1], 5))
        for k in range(5):
            if t >= late[k]:
                old[:, k] = hidden[t - late[k]][:, k]
        hidden.append(first(x_t @ nodes["fc1"].weight.T + old @ nodes["w_rec"].weight.T))
        out.append(second(hidden[-1] @ nodes["fc2"].weight.T))
    return np.stack(hidden), np.stack(out)


def inputs(*shape, seed=3):
    return (np.random.default_rng(seed).integers(0, 9, shape) / 8).astype(np.float32)


def write(graph, path):
    nir.write(str(path), graph)
    return str(path)


def run(ref, x):
    with torch.no_grad():
        return load(ref, time_steps=len(x)).build()(torch.from_numpy(x)).numpy()


@pytest.mark.parametrize("kind", ["LIF", "CubaLIF"])
@pytest.mark.parametrize("delay", [None, [1] * 5, [3] * 5, [1, 2, 3, 4, 2]], ids=["edge", "one", "three", "each"])
def test_the_equations(kind, delay, tmp_path):
    """The neuron's output edge is a step late; a Delay in the cycle is late by what it says, and no more."""
    graph = recurrent(kind, delay)
    x = inputs(STEPS, 3, 6)
    hidden, expected = simulate(graph, x, 1 if delay is None else delay)
    wrong = simulate(graph, x, 2 if delay is None else np.asarray(delay) + 1)[0]
    assert (hidden != wrong).any()  # a step more would show
    assert 0 < expected.sum() < expected.size
    assert (run(write(graph, tmp_path / "n.nir"), x) != expected).sum() == 0


def test_streaming_is_the_sequence(tmp_path):
    graph = recurrent("LIF", [1, 2, 3, 4, 2])
    net = load(write(graph, tmp_path / "n.nir")).build()
    x = inputs(STEPS, 2, 6)
    with torch.no_grad():
        parts = [net(torch.from_numpy(part)).numpy() for part in np.split(x, [1, 2, 7])]
    assert (np.concatenate(parts) != simulate(graph, x, [1, 2, 3, 4, 2])[1]).sum() == 0


def test_layers_that_feed_back(tmp_path):
    """Forwards at once, backwards a step late, whichever of them the file names first."""
    rng = np.random.default_rng(7)
    for a, b in (("a", "b"), ("b", "a")):
        rng = np.random.default_rng(7)
        nodes = {
            "input": nir.Input(np.array([4])),
            "in": nir.Linear(4 * weights(rng, 4, 4)),
            a: neuron("LIF", 4),
            "up": nir.Linear(8 * weights(rng, 4, 4)),
            b: neuron("LIF", 4),
            "down": nir.Linear(weights(rng, 4, 4)),
            "output": nir.Output(np.array([4])),
        }
        edges = [*chain("input", "in", a, "up", b, "down", a), (b, "output")]
        x = inputs(STEPS, 2, 4)
        first, second, old, out = Simulator(nodes[a]), Simulator(nodes[b]), np.zeros((2, 4)), []
        for x_t in x.astype(np.float64):
            s = first(x_t @ nodes["in"].weight.T + old @ nodes["down"].weight.T)
            old = second(s @ nodes["up"].weight.T)
            out.append(old)
        assert np.sum(out) > 5
        assert (run(write(nir.NIRGraph(nodes, edges), tmp_path / "n.nir"), x) != np.stack(out)).sum() == 0


def snntorchs_own(path):
    """A recurrent layer of snnTorch, which makes a graph of it that nirtorch joins with the rest."""
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
    pytest.importorskip("nirtorch")
    from snntorch.export_nir import export_to_nir

    rng = np.random.default_rng(8)
    cell = snn.RLeaky(
        beta=0.75, threshold=0.9375, linear_features=5, init_hidden=True, reset_mechanism="zero", reset_delay=False
    )
    net = torch.nn.Sequential(torch.nn.Linear(6, 5), cell)
    with torch.no_grad():
        for linear in (net[0], cell.recurrent):
            linear.weight.copy_(torch.from_numpy(weights(rng, *linear.weight.shape)))
            linear.bias.zero_()
    nir.write(str(path), export_to_nir(net, torch.rand(6)))
    cell.reset_mem()
    return net


def test_a_recurrent_file_of_snntorch(tmp_path):
    net = snntorchs_own(tmp_path / "n.nir")
    assert {("1.lif", "1.w_rec"), ("1.w_rec", "1.lif")} <= set(nir.read(str(tmp_path / "n.nir")).edges)
    x = inputs(STEPS, 3, 6)
    with torch.no_grad():
        expected = torch.stack([net(x_t) for x_t in torch.from_numpy(x)]).numpy()
    assert 0 < expected.sum() < expected.size
    assert (run(str(tmp_path / "n.nir"), x) != expected).sum() == 0


def test_a_graph_within_the_graph(tmp_path):
    """A recurrent layer as a node of its own, which is how NIR's authors wrote their Braille reader."""
    flat = recurrent("CubaLIF")
    inner = nir.NIRGraph(
        {
            "input": nir.Input(np.array([5])),
            "lif": flat.nodes["lif1"],
            "w_rec": flat.nodes["w_rec"],
            "output": nir.Output(np.array([5])),
        },
        [*chain("input", "lif", "w_rec", "lif"), ("lif", "output")],
    )
    outer = {name: node for name, node in flat.nodes.items() if name not in ("lif1", "w_rec")}
    nested = nir.NIRGraph({**outer, "lif1": inner}, chain("input", "fc1", "lif1", "fc2", "lif2", "output"))
    x = inputs(STEPS, 2, 6)
    assert (run(write(nested, tmp_path / "n.nir"), x) != simulate(flat, x)[1]).sum() == 0


@st.composite
def graphs(draw):
    """Random graphs of neurons and linear maps, each reached from the input, with cycles."""
    size = draw(st.integers(2, 6))
    names = draw(st.permutations([f"n{k}" for k in range(size)]))
    fires = {name: draw(st.booleans()) for name in names}
    fires[names[0]] = True
    edges = {("input", names[0])}
    for k in range(1, size):
        edges.add((names[draw(st.integers(0, k - 1))], names[k]))
    extra = draw(st.lists(st.tuples(st.sampled_from(names), st.sampled_from(names)), max_size=6))
    edges |= {(a, b) for a, b in extra if fires[a]}
    edges |= {(name, "sum") for name in names} | {("sum", "output")}  # real numbers, of many sources
    kinds = {"input": "Input", **{n: "LIF" if fires[n] else "Linear" for n in names}, "sum": "Linear"}
    return {**kinds, "output": "Output"}, sorted(edges)


def as_graph(kinds, edges, seed):
    rng = {name: np.random.default_rng([seed, k]) for k, name in enumerate(sorted(kinds))}
    fields = {
        "Input": lambda r: {"shape": np.array([3])},
        "Output": lambda r: {},
        "Linear": lambda r: {"weight": r.normal(size=(3, 3)).astype(np.float32)},
        "LIF": lambda r: {
            "tau": np.full(3, 2 * DT),
            "r": np.full(3, 3.0),
            "v_leak": np.zeros(3),
            "v_threshold": np.full(3, 0.7),
            "v_reset": np.zeros(3),
        },
    }
    nodes = {name: NirNode(kind, fields[kind](rng[name])) for name, kind in kinds.items()}
    return NirGraph(nodes, list(edges))


@settings(max_examples=25, deadline=None)
@given(graphs(), st.integers(0, 99), st.randoms(use_true_random=False))
def test_the_order_of_the_file_changes_nothing(made, seed, shuffle):
    """Not one bit: neither of nodes nor of edges, with weights whose sums do round."""
    kinds, edges = made
    mixed = list(kinds.items())
    shuffle.shuffle(mixed)
    others = list(edges)
    shuffle.shuffle(others)
    x = torch.from_numpy(np.random.default_rng(seed).uniform(0, 2, (6, 2, 3)).astype(np.float32))
    nets = [NirNet(as_graph(kinds, edges, seed)), NirNet(as_graph(dict(mixed), others, seed))]
    with torch.no_grad():
        a, b = (net(x) for net in nets)
    assert torch.equal(a, b)


@settings(max_examples=200, deadline=None)
@given(graphs())
def test_late_edges_leave_neurons_and_cut_every_cycle(made):
    kinds, edges = made
    feeds = {name: [a for a, b in edges if b == name] for name in kinds}
    neurons = {name for name, kind in kinds.items() if kind == "LIF"}
    plan = schedule(feeds, neurons, (), ["input"])
    assert all(source in neurons for source, _ in plan.late)
    assert sorted(name for unit in plan.units for name in unit) == sorted(kinds)
    place = {name: k for k, name in enumerate(name for unit in plan.units for name in unit)}
    assert all(place[a] < place[b] for a, b in edges if (a, b) not in plan.late)
    reach = {name: {name} for name in kinds}  # by brute force: who leads to whom
    for _ in kinds:
        for a, b in edges:
            reach[a] = reach[a] | reach[b]
    assert all(a in reach[b] for a, b in plan.late)
    assert set(plan.late) or not any(a in reach[b] for a, b in edges)


def test_a_cycle_without_a_neuron_has_no_order():
    with pytest.raises(NoOrderError, match=r"'a' -> 'b'|'b' -> 'a'"):
        schedule({"in": [], "a": ["in", "b"], "b": ["a"]}, (), (), ["in"])
    assert schedule({"in": [], "a": ["in", "b"], "b": ["a"]}, (), {"b"}, ["in"]).late == {("b", "a")}


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 5), min_size=3, max_size=3), st.lists(st.integers(1, 9), max_size=3), st.booleans())
def test_a_delay_line_is_a_shift_however_it_is_fed(steps, cuts, single):
    steps = np.array(steps)
    x = np.arange(1, 10 * 2 * 3 + 1, dtype=np.float32).reshape(10, 2, 3)
    expected = np.zeros_like(x)
    for k, late in enumerate(steps):
        expected[late:, :, k] = x[: len(x) - late, :, k]
    line = Delay(steps)
    if single:
        line.step_mode = "s"
        found = np.stack([line(torch.from_numpy(x_t)).numpy() for x_t in x])
    else:
        parts = np.split(x, sorted(set(cuts)))
        found = np.concatenate([line(torch.from_numpy(part)).numpy() for part in parts])
    np.testing.assert_array_equal(found, expected)


def refused(graph, tmp_path, match):
    path = write(graph, tmp_path / "n.nir")
    with pytest.raises(ModelLoadError, match=match) as caught:
        load(path)
    assert "\n" not in str(caught.value)


def one(node, shape=(3,)):
    ends = nir.Input(np.array(shape)), nir.Output(np.array(shape))
    nodes = {"input": ends[0], "node": node, "output": ends[1]}
    return nir.NIRGraph(nodes, chain("input", "node", "output"), type_check=False)


@pytest.mark.parametrize(
    ("delay", "match"),
    [
        (np.full(3, 2.5 * DT), "0.00025 s, which is 2.5 time steps of 0.0001 s; expected: whole time steps"),
        (np.full(3, -DT), "which is -1 time steps"),
        (np.full(3, 1e9 * DT), r"which is 1e\+09 time steps .* expected: whole time steps, from 0 to 65536"),
        (np.full(4, DT), r"delay of shape \[4\]"),
    ],
)
def test_delays_that_are_refused(delay, match, tmp_path):
    refused(one(nir.Delay(delay)), tmp_path, match)


def test_a_delay_line_that_fills_the_memory_is_refused(tmp_path):
    refused(one(nir.Delay(np.full(1, 60_000 * DT)), (100, 100, 100)), tmp_path, "numbers at once")


def test_thousands_of_nodes_in_one_cycle_are_refused(tmp_path):
    nodes = {"input": nir.Input(np.array([3])), "n0": neuron("LIF", 3), "output": nir.Output(np.array([3]))}
    nodes |= {f"n{k}": nir.Scale(np.ones(3)) for k in range(1, 600)}
    ring = chain(*[f"n{k}" for k in range(600)], "n0")
    edges = [("input", "n0"), ("n0", "output"), *ring]
    refused(nir.NIRGraph(nodes, edges, type_check=False), tmp_path, "a recurrent part of 600 nodes")


def test_a_cycle_of_a_delay_that_lets_something_through_is_refused(tmp_path):
    nodes = {
        "input": nir.Input(np.array([2])),
        "w": nir.Linear(np.eye(2)),
        "d": nir.Delay(np.array([0, DT])),
        "output": nir.Output(np.array([2])),
    }
    edges = [*chain("input", "w", "d", "w"), ("d", "output")]
    refused(nir.NIRGraph(nodes, edges), tmp_path, "cycle without a neuron .* expected: a neuron, or a Delay")


@pytest.mark.slow  # test_nir_elsewhere.py reads the same example in every run
def test_the_braille_example_through_the_commands(tmp_path, capsys):
    """Exported, verified and priced: ONNX Runtime gives the very spikes, and every event is counted."""
    ort = pytest.importorskip("onnxruntime")
    pytest.importorskip("numba")
    graph = recurrent("CubaLIF")
    ref, x = write(graph, tmp_path / "net.nir"), inputs(4, 1, 6)
    out = str(tmp_path / "o")
    assert main(["export", ref, "--target", "onnx", "--time-steps", "4", "--out", out, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["meaning"].startswith("every spike")
    session = ort.InferenceSession(f"{out}/model.onnx", providers=["CPUExecutionProvider"])
    hidden, expected = simulate(graph, x)
    assert (session.run(None, {session.get_inputs()[0].name: x})[0] != expected).sum() == 0
    np.save(tmp_path / "x.npy", x[:, 0][None])
    args = ["energy", ref, "--chip", "loihi1", "--time-steps", "4", "--input", str(tmp_path / "x.npy"), "--json"]
    assert main(args) == 0
    totals = json.loads(capsys.readouterr().out)["totals"]
    # What is fed back counts in the step that sends it, the last one too.
    assert totals["synaptic_events"] == hidden.sum() * 5 + hidden.sum() * 4
    assert totals["graded_events"] == (x != 0).sum() * 5
    assert totals["spikes"] == hidden.sum() + expected.sum()
    assert totals["neuron_updates"] == 4 * 9

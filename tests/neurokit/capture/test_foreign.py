"""Networks of snnTorch and norse, captured directly, against those libraries themselves."""

import itertools

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError

X = torch.from_numpy((np.random.default_rng(0).integers(0, 9, (6, 3, 6)) / 8).astype(np.float32))


def dense(n_in, n_out, seed):
    """Weights on a dyadic grid, so that the order of sums makes no difference."""
    made = nn.Linear(n_in, n_out)
    generator = np.random.default_rng(seed)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(generator.integers(-3, 6, (n_out, n_in)) / 8))
        made.bias.zero_()
    return made


def captured_run(net):
    captured = nk.capture(net, X)
    with torch.no_grad():
        return captured, captured.program.module()(X, *captured.initial_states(X.shape[1]))[0].numpy()


FAST_LEAKY = {("subtract", True, 0.5), ("zero", True, 0.5), ("none", False, 0.5), ("subtract", False, 1.0)}


@pytest.mark.parametrize(
    ("reset", "late", "beta"),
    [
        pytest.param(*case, marks=[] if case in FAST_LEAKY else [pytest.mark.slow])
        for case in itertools.product(("subtract", "zero", "none"), (True, False), (0.5, 1.0))
    ],
)
def test_snntorch_leaky(reset, late, beta):
    snn = pytest.importorskip("snntorch")
    lif = lambda: snn.Leaky(beta=beta, reset_mechanism=reset, reset_delay=late, init_hidden=True)  # noqa: E731
    net = nn.Sequential(dense(6, 8, 1), lif(), dense(8, 5, 2), lif())
    captured, found = captured_run(net)
    with torch.no_grad():
        expected = np.stack([net(x).numpy() for x in X])
    assert expected.any()
    assert not expected.all()
    assert (found != expected).sum() == 0
    assert any("same equations" in note or "their own code" in note for note in captured.notes)
    if reset == "zero" and beta == 0.5:
        assert [n.op for n in captured.neurons] == ["lif", "lif"]


def test_snntorch_synaptic():
    snn = pytest.importorskip("snntorch")
    lif = snn.Synaptic(alpha=0.5, beta=0.75, reset_mechanism="zero", reset_delay=False, init_hidden=True)
    net = nn.Sequential(dense(6, 8, 1), lif)
    found = captured_run(net)[1]
    with torch.no_grad():
        expected = np.stack([net(x).numpy() for x in X])
    assert expected.any()
    assert (found != expected).sum() == 0


@pytest.mark.parametrize("cell", ["LIFCell", "LIFBoxCell"])
def test_norse(cell):
    norse = pytest.importorskip("norse.torch")
    parameters = {"LIFCell": norse.LIFParameters, "LIFBoxCell": norse.LIFBoxParameters}[cell]
    p = parameters(tau_mem_inv=torch.as_tensor(500.0), v_th=torch.as_tensor(0.4))
    net = norse.SequentialState(dense(6, 8, 1), getattr(norse, cell)(p=p), dense(8, 5, 2), getattr(norse, cell)(p=p))
    found = captured_run(net)[1]
    state, expected = None, []
    with torch.no_grad():
        for x in X:
            y, state = net(x, state)
            expected.append(y.to_dense().numpy())
    expected = np.stack(expected)
    assert expected.any()
    assert (found != expected).sum() == 0


def test_a_neuron_without_a_counterpart_is_run_by_its_library():
    snn = pytest.importorskip("snntorch")
    net = nn.Sequential(dense(6, 8, 1), snn.Alpha(alpha=0.875, beta=0.75, threshold=0.25, init_hidden=True))
    captured, found = captured_run(net)
    with torch.no_grad():
        expected = np.stack([net(x).numpy() for x in X])
    assert 0 < expected.sum() < expected.size
    assert (found != expected).sum() == 0
    assert [(n.path, n.kind) for n in captured.neurons] == [("1", "Alpha")]
    assert [s.memory for s in captured.states] == ["syn_exc", "syn_inh", "mem"]


@pytest.mark.parametrize("dense_map", [True, False], ids=["all to all", "one to one"])
def test_snntorchs_recurrent_leaky(dense_map):
    snn = pytest.importorskip("snntorch")
    how = {"linear_features": 8} if dense_map else {"all_to_all": False, "V": torch.arange(-3, 5) / 4}
    cell = snn.RLeaky(beta=0.75, threshold=0.875, init_hidden=True, reset_mechanism="zero", reset_delay=False, **how)
    if dense_map:
        cell.recurrent = dense(8, 8, 3)
    net = nn.Sequential(dense(6, 8, 1), cell)
    captured, found = captured_run(net)
    cell.reset_mem()
    with torch.no_grad():
        expected = np.stack([net(x).numpy() for x in X])
    assert 0 < expected.sum() < expected.size
    assert (found != expected).sum() == 0
    assert captured.loops == ("1",)


@pytest.mark.parametrize(
    ("kind", "more"),
    [
        ("RLeaky", {"reset_mechanism": "subtract", "reset_delay": False}),
        ("RLeaky", {"reset_mechanism": "zero", "reset_delay": True}),
        ("RSynaptic", {"alpha": 0.5, "reset_mechanism": "zero"}),
    ],
)
def test_recurrent_neurons_with_the_resets_of_their_library(kind, more):
    snn = pytest.importorskip("snntorch")
    cell = getattr(snn, kind)(beta=0.75, linear_features=8, init_hidden=True, **more)
    cell.recurrent = dense(8, 8, 3)
    net = nn.Sequential(dense(6, 8, 1), cell)
    found = captured_run(net)[1]
    with torch.no_grad():
        cell.reset_mem()
        expected = np.stack([net(x).numpy() for x in X])
    assert 0 < expected.sum() < expected.size
    assert (found != expected).sum() == 0


def test_norses_container_that_feeds_its_output_back_is_refused():
    norse = pytest.importorskip("norse.torch")
    with pytest.raises(UnsupportedError, match="hands its own output to its next call"):
        nk.capture(norse.RecurrentSequential(norse.LIFCell(), dense(6, 6, 1)), X)


def test_the_state_that_a_forward_asks_for_at_its_start_is_the_one_that_the_program_takes():
    """So that a sequence can go on where the last one ended."""
    snn = pytest.importorskip("snntorch")

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = dense(6, 8, 1), snn.Leaky(beta=0.5)

        def forward(self, x):
            mem, spikes = self.lif.init_leaky(), []
            for x_t in x:
                spk, mem = self.lif(self.fc(x_t), mem)
                spikes.append(spk)
            return torch.stack(spikes)

    net = Net()
    captured = nk.capture(net, X[:3])
    run = captured.program.module()
    with torch.no_grad():
        first, mem = run(X[:3], *captured.initial_states(X.shape[1]))
        second, _ = run(X[3:], mem)
        expected = net(X)
    assert torch.equal(torch.cat([first, second]), expected)
    assert captured.retrace(form="step").states[0].name == "lif_v"


class Tutorial(nn.Module):
    """Membranes through forward; `record` says whether somebody reads them."""

    def __init__(self, library, record):
        super().__init__()
        self.fc1, self.fc2, self.record = dense(6, 8, 1), dense(8, 5, 2), record
        if library == "snntorch":
            snn = pytest.importorskip("snntorch")
            self.a = snn.Leaky(beta=0.5, reset_mechanism="zero")
            self.b = snn.Leaky(beta=0.75, reset_mechanism="zero", reset_delay=False)
        else:
            norse = pytest.importorskip("norse.torch")
            p = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(500.0), v_th=torch.as_tensor(0.5))
            self.a, self.b = norse.LIFBoxCell(p=p), norse.IAFCell()
        self.start = (lambda cell: cell.init_leaky()) if library == "snntorch" else (lambda cell: None)

    def forward(self, x):
        s, t = self.start(self.a), self.start(self.b)
        spikes, membranes = [], []
        for x_t in x:
            z, s = self.a(self.fc1(x_t), s)
            z, t = self.b(self.fc2(z), t)
            spikes.append(z)
            membranes.append(t if isinstance(t, torch.Tensor) else t.v)
        return (torch.stack(spikes), torch.stack(membranes)) if self.record else torch.stack(spikes)


@pytest.mark.parametrize("library", ["snntorch", "norse"])
@pytest.mark.parametrize("record", [False, True])
def test_a_neuron_with_its_state_in_a_loop_is_one_node_also_where_its_membranes_are_read(library, record):
    net = Tutorial(library, record)
    captured = nk.capture(net, X)
    with torch.no_grad():
        found = captured.program.module()(X, *captured.initial_states(X.shape[1]))
        expected = net(X)
    expected = expected if record else (expected,)
    assert expected[0].any()
    for ours, theirs in zip(found, expected, strict=False):
        assert torch.equal(ours, theirs)
    ops = {n.path: (n.op, captured.calls.count(n.path)) for n in captured.neurons}
    assert [ops[path][0] for path in ("a", "b")] == ["lif", "lif" if library == "snntorch" else "if_"]
    assert ops["a"][1] == 1  # nobody reads its membranes
    assert ops["b"][1] in ((1, len(X)) if record and library == "norse" else (1,))
    dynamic = nk.capture(net, X, time_steps="dynamic") if not record else None
    assert dynamic is None or dynamic.calls == ("a", "b")

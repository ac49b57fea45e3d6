"""Networks of snnTorch and norse, captured directly, against those libraries themselves."""

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError

X = torch.from_numpy((np.random.default_rng(0).integers(0, 9, (12, 3, 6)) / 8).astype(np.float32))


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


@pytest.mark.parametrize("reset", ["subtract", "zero", "none"])
@pytest.mark.parametrize("late", [True, False])
@pytest.mark.parametrize("beta", [0.5, 1.0])
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
    assert any("another library" in note for note in captured.notes)
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


def test_what_has_no_counterpart_is_refused():
    snn = pytest.importorskip("snntorch")
    net = nn.Sequential(dense(6, 8, 1), snn.Leaky(beta=0.5), snn.Alpha(alpha=0.9, beta=0.8, init_hidden=True))
    with pytest.raises(UnsupportedError) as caught:
        nk.capture(net, X)
    assert [(r.path, r.what) for r in caught.value.reasons] == [("1", "snntorch.Leaky"), ("2", "snntorch.Alpha")]
    assert "init_hidden" in caught.value.reasons[0].why


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
    ("kind", "more", "why"),
    [
        ("RLeaky", {"reset_mechanism": "subtract", "reset_delay": False}, "only reset_mechanism='zero'"),
        ("RLeaky", {"reset_mechanism": "zero", "reset_delay": True}, "reset_delay=False"),
        ("RSynaptic", {"alpha": 0.5, "reset_mechanism": "zero"}, "rules of its own"),
    ],
)
def test_recurrent_neurons_without_a_counterpart(kind, more, why):
    snn = pytest.importorskip("snntorch")
    net = nn.Sequential(dense(6, 8, 1), getattr(snn, kind)(beta=0.75, linear_features=8, init_hidden=True, **more))
    with pytest.raises(UnsupportedError, match=why):
        nk.capture(net, X)

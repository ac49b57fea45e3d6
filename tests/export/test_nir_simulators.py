"""One NIR file in several simulators: how many spikes differ from SpikingJelly's own, and why."""

import contextlib
import io

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk

from .nir_nets import conv_net, dyadic, inputs, reference

nir = pytest.importorskip("nir", reason="the nir library is not installed")
STEPS = 12
X = inputs(STEPS, 2, 2, 8, 8)


def own(path):
    with nk.open(path) as runner:
        return runner(X)


def in_spikingjelly(path):
    pytest.importorskip("nirtorch", reason="SpikingJelly's importer needs nirtorch")
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return stepped(import_from_nir(nir.read(path / "model.nir"), dt=1e-4), X)


def in_snntorch(path):
    pytest.importorskip("snntorch", reason="snntorch is not installed")
    pytest.importorskip("nirtorch", reason="snntorch's importer needs nirtorch")
    from snntorch.import_nir import import_from_nir

    def fresh():  # its neurons keep their membranes from one sequence to the next
        with contextlib.redirect_stdout(io.StringIO()):  # it prints whole arrays
            return import_from_nir(nir.read(path / "model.nir"))

    # Its Flatten takes no batch axis (NIR's has none), so samples go one by one.
    return np.stack([stepped(fresh(), X[:, b]) for b in range(X.shape[1])], axis=1)


def stepped(net, x):
    state, out = None, []
    with torch.no_grad():
        for x_t in torch.from_numpy(np.ascontiguousarray(x)):
            y, state = net(x_t, state)
            out.append(y.numpy())
    return np.stack(out)


SIMULATORS = {"neurokit": own, "spikingjelly": in_spikingjelly, "snntorch": in_snntorch}


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """A network on a dyadic grid: every sum is exact, so any difference is one of rules, not of rounding."""
    torch.manual_seed(0)
    net = dyadic(conv_net())
    path = tmp_path_factory.mktemp("nir") / "n"
    nk.lower(nk.capture(net, torch.from_numpy(X)), "nir", path)
    expected = reference(net, X)
    assert 20 < expected.sum() < expected.size - 20
    return path, expected


@pytest.mark.parametrize("name", SIMULATORS)
def test_no_spike_differs_on_an_exact_network(name, exact):
    path, expected = exact
    found = SIMULATORS[name](path)
    assert found.shape == expected.shape
    assert (found != expected).sum() == 0


def test_membranes_meet_the_threshold(exact):
    """Otherwise the test above would not see whether a simulator fires at its threshold or above it."""
    torch.manual_seed(0)
    net = dyadic(conv_net())
    hits = 0
    x = torch.from_numpy(X)
    for part in net:
        if isinstance(part, neuron.LIFNode):
            v, spikes = torch.zeros_like(x[0]), []
            for x_t in x:
                h = v + (x_t - v) / 2.0
                hits += int((h == 1.0).sum())
                spikes.append((h >= 1.0).float())
                v = torch.where(h >= 1.0, torch.zeros_like(h), h)
            x = torch.stack(spikes)
        else:
            with torch.no_grad():
                x = part(x)
    assert hits > 0


@pytest.mark.parametrize("name", ["neurokit", "spikingjelly"])
def test_integrate_and_fire(name, tmp_path):
    """IF with r = 1 / dt, as NIR's equation asks for."""
    torch.manual_seed(1)
    net = nn.Sequential(layer.Flatten(), layer.Linear(128, 6), neuron.IFNode())
    functional.set_step_mode(net, "m")
    dyadic(net)
    nk.lower(nk.capture(net, torch.from_numpy(X)), "nir", tmp_path / "n")
    expected = reference(net, X)
    assert expected.any()
    assert (SIMULATORS[name](tmp_path / "n") != expected).sum() == 0


def test_snntorch_refuses_integrate_and_fire(tmp_path):
    """Why IF is not in its column: its importer wants r = 1 and would leak with beta = 0.9."""
    pytest.importorskip("snntorch", reason="snntorch is not installed")
    net = nn.Sequential(layer.Flatten(), layer.Linear(128, 6), neuron.IFNode())
    functional.set_step_mode(net, "m")
    nk.lower(nk.capture(net, torch.from_numpy(X)), "nir", tmp_path / "n")
    with pytest.raises(AssertionError, match="r != 1 not supported"):
        in_snntorch(tmp_path / "n")

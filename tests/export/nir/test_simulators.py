"""One NIR file in several simulators: how many spikes differ from SpikingJelly's own, and why."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import ModelLoadError, UnsupportedError
from neurokit.export.nir.run import NirProbe
from neurokit.loading import load

from ..nets import conv_net, dyadic, inputs, reference

nir = pytest.importorskip("nir", reason="the nir library is not installed")
STEPS = 12
FEW = 6  # with more steps, membranes need a rounding inside, which NIR does not have
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


@pytest.fixture(scope="module")
def grid_net(tmp_path_factory):
    """The exact form of a network with real-valued weights: its input is rounded, which NIR cannot do itself."""
    torch.manual_seed(0)
    net = conv_net()
    with torch.no_grad():
        for index in (0, 4, 7):
            net[index].weight.mul_(2).add_(0.2)
    x = torch.rand(FEW, 2, 2, 8, 8)
    made = nk.exact(nk.capture(net, x), x)
    return made, x, nk.lower(made, "nir", tmp_path_factory.mktemp("grid") / "nir", inputs=x)


def pooled_net():
    torch.manual_seed(3)
    body = [layer.Conv2d(1, 4, 3, padding=1, bias=False), neuron.LIFNode(tau=2.0), layer.MaxPool2d(3, 2, 1)]
    net = nn.Sequential(*body, layer.Flatten(), layer.Linear(64, 5), neuron.LIFNode(tau=2.0))
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        for index in (0, 4):  # so that many fire
            net[index].weight.mul_(4.0)
    return net.eval()


@pytest.mark.parametrize("maxpool", ["threshold", "neuron"])
def test_readers_of_a_max_pool_of_spikes(maxpool, tmp_path):
    """As SumPool2d and Threshold no reader takes it; as a convolution and a LIF every one does, spike for spike."""
    x = torch.rand(5, 1, 1, 8, 8, generator=torch.Generator().manual_seed(1)) * 3
    captured = nk.capture(pooled_net(), x)
    artifact = nk.lower(captured, "nir", tmp_path / "n", numerics="exact", calibration=x, inputs=x, maxpool=maxpool)
    report = nk.verify(artifact)
    assert report.verdict == "exact"
    rows = {row.simulator: row for row in report.simulators if row.status != "not installed"}
    assert set(rows) >= {"spikingjelly", "snntorch", "norse"}
    taken = {name for name, row in rows.items() if row.status == "ran"}
    assert taken == (set() if maxpool == "threshold" else set(rows))
    assert all(row.spikes_differ == 0 for row in rows.values())
    advised = [note for note in report.notes if "maxpool=neuron" in note]
    assert bool(advised) == (maxpool == "threshold")
    if taken:
        assert sum(layer.decisions * layer.spike_rate for layer in report.layers) > 10


def test_verify_runs_the_file_in_other_simulators(grid_net):
    """Zero differing spikes on an exact network, in every simulator that computes NIR's equations."""
    report = nk.verify(grid_net[2])
    rows = {row.simulator: row for row in report.simulators}
    assert report.verdict == "exact"
    assert set(rows) == {"spikingjelly", "snntorch", "norse", "sinabs", "rockpool"}
    decisions = sum(layer.decisions for layer in report.layers)
    for name in ("spikingjelly", "snntorch"):
        pytest.importorskip(name, reason=f"{name} is not installed")
        row = rows[name]
        assert (row.status, row.spikes_compared, row.spikes_differ) == ("ran", decisions, 0)
        assert (row.neurons, row.demanded) == (decisions // FEW // 2, True)
        assert row.version
    assert all(
        row.remark.startswith("python -m pip install")
        for row in rows.values()
        if row.status != "ran" and not row.version
    )


def test_what_norse_leaves_out_is_said(grid_net):
    pytest.importorskip("norse", reason="norse is not installed")
    row = next(row for row in nk.verify(grid_net[2]).simulators if row.simulator == "norse")
    assert row.status == "refused"
    assert "leaves out node '3' (AvgPool2d)" in row.remark


def feeds(artifact, x):
    return {artifact.manifest.inputs[0].name: x}


def test_a_spike_that_differs_is_counted(grid_net):
    """One spike of the reference is turned round: every simulator that ran must differ in that one."""
    from neurokit.export.nir.simulators import compare

    _, x, artifact = grid_net
    given, spikes = NirProbe(artifact).firing(feeds(artifact, x.numpy()))
    spikes = {name: value.copy() for name, value in spikes.items()}
    spikes["5"][3, 1, 2, 0, 0] = 1 - spikes["5"][3, 1, 2, 0, 0]
    rows = compare(artifact.path / "model.nir", 1e-4, given, spikes, only=["spikingjelly", "snntorch"])
    for row in rows:
        if row.status == "ran":
            assert row.spikes_differ == 1
            assert "first at step 3 in '5'" in row.remark


def test_an_exact_artifact_fails_with_a_simulator_that_differs(grid_net, monkeypatch):
    from neurokit.export.nir import simulators as nir_simulators

    def shifted(graph, dt):
        for node in graph.nodes.values():
            if isinstance(node, nir.LIF):
                node.v_threshold = node.v_threshold * 0.5
        return nir_simulators._spikingjelly(graph, dt)

    def broken(graph, dt):
        raise RuntimeError("first line\nsecond line")

    made = nir_simulators.Simulator
    monkeypatch.setattr(
        nir_simulators,
        "SIMULATORS",
        (
            made("shifted", "spikingjelly", "spikingjelly", shifted, takes="batch", demanded=True),
            made("broken", "spikingjelly", "spikingjelly", broken, demanded=True),
            made("absent", "nobody_has_this", "nobody-has-this", broken, demanded=True),
        ),
    )
    report = nk.verify(grid_net[2], record=False)
    shifted_row, broken_row, absent = report.simulators
    assert shifted_row.spikes_differ > 0
    assert report.verdict == "failed"
    assert any("shifted: an exact artifact" in note for note in report.notes)
    assert (broken_row.status, broken_row.remark) == ("refused", "RuntimeError: first line")
    assert (absent.status, absent.remark) == ("not installed", "python -m pip install nobody-has-this")


def test_the_command_shows_the_table(grid_net, capsys):
    from neurokit.cli import main

    assert main(["verify", str(grid_net[2].path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["reports"][0]
    assert [row["simulator"] for row in report["simulators"]][:2] == ["spikingjelly", "snntorch"]
    assert main(["verify", str(grid_net[2].path)]) == 0
    shown = capsys.readouterr().out
    assert "spikes compared" in shown
    assert "snntorch" in shown


def test_inputs_off_the_grid_are_brought_onto_it(grid_net, tmp_path):
    """The same outputs as the ONNX of the same network, which rounds its input inside the graph."""
    made, x, artifact = grid_net
    other = nk.lower(made, "onnx", tmp_path / "o")
    grid = artifact.manifest.target_info["input_grid"]
    unit = 2.0 ** grid["exponent"]
    off = (x * 1.3 - 0.1).numpy()
    assert (np.round(off / unit) * unit != off).any()
    assert off.max() > grid["high"]
    given = NirProbe(artifact).firing(feeds(artifact, off))[0]  # what other simulators are fed
    assert np.array_equal(given, np.round(np.clip(off, grid["low"], grid["high"]) / unit) * unit)
    with nk.open(artifact) as runner, nk.open(other) as reference:
        expected = reference(off)
        assert expected.any()
        assert (runner(off) != expected).sum() == 0
        runner.reset(batch=2)
        assert (np.stack([runner.step(x_t) for x_t in off]) != expected).sum() == 0


def test_the_grid_travels_with_the_file(grid_net, tmp_path):
    """NIR to neurokit to NIR: the metadata states the same grid, and the model read from the file rounds by it."""
    _, x, artifact = grid_net
    again = load(str(artifact.path / "model.nir"), time_steps=FEW)
    second = nk.lower(nk.capture(again), "nir", tmp_path / "n")
    assert second.manifest.target_info["input_grid"] == artifact.manifest.target_info["input_grid"]
    first, other = (nir.read(folder / "model.nir").metadata for folder in (artifact.path, tmp_path / "n"))
    assert {k: first[k] for k in first if k.startswith("input_")} == {
        k: other[k] for k in other if k.startswith("input_")
    }
    off = (x * 1.3 - 0.1).numpy()
    with nk.open(artifact) as a, nk.open(second) as b:
        assert (a(off) != b(off)).sum() == 0


def test_a_grid_that_is_none_is_refused(grid_net, tmp_path):
    import h5py

    path = tmp_path / "n.nir"
    for value in (0.5, 1e9, "fine"):
        path.write_bytes((grid_net[2].path / "model.nir").read_bytes())
        with h5py.File(path, "r+") as file:
            del file["node/metadata/input_exponent"]
            file["node/metadata/input_exponent"] = value
        with pytest.raises(ModelLoadError, match="grid for its input"):
            load(str(path))


def test_a_rounding_inside_is_refused(tmp_path):
    torch.manual_seed(0)
    x = torch.rand(12, 2, 2, 8, 8)
    with pytest.raises(UnsupportedError, match="of its input only") as caught:
        nk.lower(nk.capture(conv_net(), 3 * x), "nir", tmp_path / "n", numerics="exact", calibration=3 * x)
    assert "fewer time steps" in caught.value.reasons[0].fix
    artifact = nk.lower(
        nk.capture(conv_net(), 3 * x), "nir", tmp_path / "n", numerics="exact", calibration=3 * x, partition=True
    )
    assert artifact.manifest.parity["verdict"] == "exact"
    assert len(artifact.manifest.target_info["parts"]) > 1
    assert nk.verify(artifact).simulators == ()

"""A `.nir` file as a model: written by other tools, or damaged on the way."""

import itertools
import os
from pathlib import Path

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.errors import InputError, ModelLoadError
from neurokit.loading import load

nir = pytest.importorskip("nir", reason="the nir library is not installed")
h5py = pytest.importorskip("h5py")
DT = 1e-4


def lif(shape, tau=2.0, r=1.0, v_leak=0.0, v_reset=0.0, v_threshold=1.0):
    full = lambda value: np.broadcast_to(np.asarray(value, float), shape).copy()  # noqa: E731
    return nir.LIF(
        tau=full(tau) * DT, r=full(r), v_leak=full(v_leak), v_threshold=full(v_threshold), v_reset=full(v_reset)
    )


def chain(*nodes):
    graph = nir.NIRGraph.from_list(*nodes)
    names = list(graph.nodes)
    graph.edges = list(itertools.pairwise(names))
    return graph


def write(graph, path):
    nir.write(str(path), graph)
    return path


def run(path, x):
    with torch.no_grad():
        return load(str(path), time_steps=len(x)).build()(torch.from_numpy(x)).numpy()


def euler_lif(node, x):
    """NIR's equations with Euler's step, in float64."""
    v, out = np.zeros(x.shape[1:]), []
    for x_t in x.astype(np.float64):
        v = v + DT / node.tau * (node.v_leak - v + node.r * x_t)
        z = v > node.v_threshold
        v = np.where(z, node.v_reset, v)
        out.append(z)
    return np.stack(out).astype(np.float32)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"r": 2.0},
        {"r": 3.0},
        {"tau": [1.5, 2.0, 4.0, 30.0]},
        {"v_threshold": [0.3, 0.5, 0.7, 0.9], "v_leak": 0.25},
        {"v_reset": [-0.5, 0.0, 0.1, 0.2], "r": [1.0, 2.0, 3.0, 4.0]},
        {"tau": 0.75},
    ],
    ids=["plain", "undecayed", "gain", "tau", "threshold", "reset", "short"],
)
def test_neurons_follow_nirs_equations(given, tmp_path):
    rng = np.random.default_rng(0)
    node = lif((4,), **given)
    x = rng.uniform(0.0, 2.0, (40, 3, 4)).astype(np.float32)
    expected = euler_lif(node, x)
    assert expected.any()
    assert (run(write(chain(node), tmp_path / "n.nir"), x) != expected).sum() == 0


def test_current_based_and_silent_neurons(tmp_path):
    rng = np.random.default_rng(1)
    full = lambda value: np.full(3, float(value))  # noqa: E731
    cuba = nir.CubaLIF(
        tau_syn=full(3 * DT),
        tau_mem=full(4 * DT),
        r=full(2),
        v_leak=full(0.1),
        v_threshold=full(0.4),
        v_reset=full(-0.2),
        w_in=np.array([1.0, 1.5, 2.0]),
    )
    leaky = nir.LI(tau=full(5 * DT), r=full(2), v_leak=full(0))
    x = rng.uniform(0, 1, (30, 2, 3)).astype(np.float32)
    i, v, u, out = np.zeros((2, 3)), np.full((2, 3), -0.2), np.zeros((2, 3)), []
    for x_t in x.astype(np.float64):
        i = i + DT / cuba.tau_syn * (-i + cuba.w_in * x_t)
        v = v + DT / cuba.tau_mem * (cuba.v_leak - v + cuba.r * i)
        z = v > cuba.v_threshold
        v = np.where(z, cuba.v_reset, v)
        u = u + DT / leaky.tau * (leaky.v_leak - u + leaky.r * z)
        out.append(u)
    expected = np.stack(out)
    assert expected.max() > 0.1
    np.testing.assert_allclose(run(write(chain(cuba, leaky), tmp_path / "n.nir"), x), expected, atol=1e-6)


def test_layers_and_fan_in(tmp_path):
    """Against torch's own functions on the same numbers."""
    import torch.nn.functional as F

    rng = np.random.default_rng(2)
    weight, bias = rng.normal(size=(4, 1, 3, 3)).astype(np.float32), rng.normal(size=4).astype(np.float32)
    nodes = {
        "in": nir.Input(np.array([2, 6, 6])),
        "conv": nir.Conv2d((6, 6), weight, 1, 1, 1, 2, bias),
        "twice": nir.Scale(np.full((4, 6, 6), 2.0)),
        "sum": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([4, 3, 3])}, 0, -1),
        "gate": nir.Threshold(np.full(36, 0.5)),
        "out": nir.Output(np.array([36])),
    }
    edges = [
        ("in", "conv"),
        ("conv", "twice"),
        ("conv", "sum"),
        ("twice", "sum"),
        ("sum", "flat"),
        ("flat", "gate"),
        ("gate", "out"),
    ]
    write(nir.NIRGraph(nodes, edges, type_check=False), tmp_path / "n.nir")
    x = rng.normal(size=(3, 2, 2, 6, 6)).astype(np.float32)
    y = F.conv2d(
        torch.from_numpy(x).flatten(0, 1), torch.from_numpy(weight), torch.from_numpy(bias), padding=1, groups=2
    )
    expected = (F.avg_pool2d(3 * y, 2) * 4).flatten(1).unflatten(0, (3, 2)) > 0.5
    assert (run(tmp_path / "n.nir", x) != expected.float().numpy()).sum() == 0


def from_snntorch(path):
    snn = pytest.importorskip("snntorch")
    pytest.importorskip("nirtorch")
    from snntorch.export_nir import export_to_nir

    def leaky(beta, size):
        full = torch.ones(size)
        return snn.Leaky(beta=beta * full, threshold=full, init_hidden=True, reset_mechanism="zero")

    net = torch.nn.Sequential(torch.nn.Linear(6, 5), leaky(0.8, 5), torch.nn.Linear(5, 3), leaky(0.5, 3))
    with torch.no_grad():
        for layer in (net[0], net[2]):
            layer.weight.mul_(3)
    nir.write(str(path), export_to_nir(net, torch.rand(6)))
    return net


def test_a_file_of_snntorch(tmp_path):
    """Its neuron with reset_delay, by its documented rule: the reset of a spike is taken at the next step."""
    net = from_snntorch(tmp_path / "n.nir")
    x = np.random.default_rng(3).uniform(0, 1, (20, 2, 6)).astype(np.float32)
    found = run(tmp_path / "n.nir", x)
    value = torch.from_numpy(x)
    with torch.no_grad():
        for dense, beta in ((net[0], 0.8), (net[2], 0.5)):
            v, out = torch.zeros(2, dense.out_features), []
            for x_t in value:
                v = beta * v + dense(x_t)
                z = v > 1.0
                v = torch.where(z, torch.zeros_like(v), v)
                out.append(z.float())
            value = torch.stack(out)
    assert value.any()
    assert (found != value.numpy()).sum() == 0
    report = nk.lower(
        nk.capture(load(str(tmp_path / "n.nir"), time_steps=5)), "nir", tmp_path / "again"
    ).manifest.parity
    assert report["verdict"] in ("exact", "benign rounding")


def test_a_file_goes_to_onnx(tmp_path):
    pytest.importorskip("onnxruntime")
    rng = np.random.default_rng(4)
    affine = nir.Affine(rng.normal(size=(5, 6)).astype(np.float32) * 2, np.zeros(5, np.float32))
    path = write(chain(affine, lif((5,))), tmp_path / "n.nir")
    artifact = nk.lower(nk.capture(load(str(path), time_steps=4)), "onnx", tmp_path / "o")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")


def test_a_file_is_priced_on_a_chip(tmp_path):
    """Every spike of the first layer makes one synaptic event a target: counted here by hand."""
    pytest.importorskip("numba")
    rng = np.random.default_rng(5)
    first, second = (nir.Linear(rng.normal(0.5, 1.0, size).astype(np.float32)) for size in ((5, 6), (3, 5)))
    path = write(chain(first, lif((5,)), second, lif((3,))), tmp_path / "n.nir")
    captured = nk.capture(load(str(path), time_steps=8))
    x = torch.from_numpy(rng.uniform(0, 1, (8, 1, 6)).astype(np.float32))
    hidden = euler_lif(lif((5,)), x.numpy() @ first.weight.T)
    assert hidden.any()
    report = nk.simulate(captured, inputs=x, chips=["loihi1"])
    assert report.totals["synaptic_events"] == 3 * int(hidden.sum())
    assert report.neurons == 8


def refused(path, match):
    with pytest.raises(ModelLoadError, match=match) as caught:
        load(str(path)).build()
    assert "\n" not in str(caught.value)


def good(path):
    rng = np.random.default_rng(0)
    return write(chain(nir.Affine(rng.normal(size=(3, 4)), np.zeros(3)), lif((3,))), path)


def test_truncated(tmp_path):
    whole = good(tmp_path / "n.nir").read_bytes()
    for size in (0, 7, 100, len(whole) // 2, len(whole) - 100):
        (tmp_path / "t.nir").write_bytes(whole[:size])
        refused(tmp_path / "t.nir", "cannot be read")
    (tmp_path / "t.nir").write_bytes(b"not HDF5 at all" * 100)
    refused(tmp_path / "t.nir", "cannot be read")
    refused(tmp_path / "missing.nir", "does not exist")


def change(path, edit):
    good(path)
    with h5py.File(path, "r+") as file:
        edit(file["node"])


def replace(group, name, value):
    del group[name]
    group.create_dataset(name, data=value)


EDGES = lambda *pairs: np.array(pairs, dtype=object)  # noqa: E731
EDITS = {
    "unknown kind 'Attention'": lambda g: replace(g["nodes/lif"], "type", "Attention"),
    "has no 'weight'": lambda g: g["nodes/affine"].__delitem__("weight"),
    "for an input": lambda g: replace(g["nodes/lif"], "tau", np.ones(7)),
    "takes 5 features": lambda g: replace(g["nodes/affine"], "weight", np.ones((3, 5))),
    "bias of shape": lambda g: replace(g["nodes/affine"], "bias", np.ones(4)),
    "not finite": lambda g: replace(g["nodes/affine"], "bias", np.full(3, np.nan)),
    "not positive": lambda g: replace(g["nodes/lif"], "tau", np.zeros(3)),
    "does not have": lambda g: replace(g, "edges", EDGES(("input", "affine"), ("affine", "nobody"))),
    "has no input": lambda g: replace(g, "edges", EDGES(("input", "affine"), ("lif", "output"))),
    "twice": lambda g: replace(
        g, "edges", EDGES(("input", "affine"), ("input", "affine"), ("affine", "lif"), ("lif", "output"))
    ),
    "cycle without a neuron": lambda g: replace(
        g, "edges", EDGES(("input", "affine"), ("affine", "affine"), ("affine", "lif"), ("lif", "output"))
    ),
    "has no group 'nodes'": lambda g: g.__delitem__("nodes"),
    "not numbers or text": lambda g: replace(g["nodes/affine"], "bias", np.zeros(3, [("a", "f4")])),
}


@pytest.mark.parametrize("match", EDITS)
def test_malformed(match, tmp_path):
    change(tmp_path / "n.nir", EDITS[match])
    refused(tmp_path / "n.nir", match)


def test_links_and_other_files_are_refused(tmp_path):
    secret = tmp_path / "secret.h5"
    with h5py.File(secret, "w") as file:
        file["bias"] = np.zeros(3)

    def external_link(group):
        del group["nodes/affine/bias"]
        group["nodes/affine/bias"] = h5py.ExternalLink("secret.h5", "/bias")

    def external_storage(group):
        del group["nodes/affine/bias"]
        group["nodes/affine"].create_dataset("bias", (3,), "f8", external=[(str(tmp_path / "raw"), 0, 24)])

    change(tmp_path / "n.nir", external_link)
    refused(tmp_path / "n.nir", "is a link")
    change(tmp_path / "n.nir", external_storage)
    refused(tmp_path / "n.nir", "another file")


def test_a_bomb_is_refused_before_it_unpacks(tmp_path):
    def bomb(group):
        del group["nodes/affine/weight"]
        group["nodes/affine"].create_dataset("weight", (3, 10**12), "f4", chunks=(1, 10**6), compression="gzip")

    change(tmp_path / "n.nir", bomb)
    assert os.path.getsize(tmp_path / "n.nir") < 10**6
    refused(tmp_path / "n.nir", "unpack to more than")


def test_a_result_that_fills_the_memory_is_refused(tmp_path):
    """A few bytes of padding, a terabyte of zeros."""
    kernel = np.ones((1, 1, 1, 1), np.float32)
    graph = chain(nir.Conv2d((4, 4), kernel, 1, 10**6, 1, 1, np.zeros(1, np.float32)))
    refused(write(graph, tmp_path / "n.nir"), "numbers at once")


def test_settings(tmp_path):
    path = good(tmp_path / "n.nir")
    assert load(f"{path}:dt=0.00005").options == {"dt": 0.00005}
    assert load(str(path)).build().dt == DT
    for setting in ("dt=0", "dt=soon", "tau=1"):
        with pytest.raises(InputError):
            load(f"{path}:{setting}")


def test_names_that_modules_cannot_have(tmp_path):
    nodes = {
        "input": nir.Input(np.array([2])),
        "forward": nir.Scale(np.ones(2) * 3.0),
        "a.b c": nir.Scale(np.ones(2)),
        "output": nir.Output(np.array([2])),
    }
    graph = nir.NIRGraph(nodes, [("input", "forward"), ("forward", "a.b c"), ("a.b c", "output")])
    x = np.ones((2, 1, 2), np.float32)
    np.testing.assert_array_equal(run(write(graph, Path(tmp_path) / "n.nir"), x), 3 * x)


def test_if_neurons_of_r_one_add_their_input_once_a_step(tmp_path):
    """As sinabs and snnTorch write them, with no time step noted; by hand, v += w x a step."""
    import nir
    from spikingjelly.activation_based import functional

    rng = np.random.default_rng(0)
    weight = np.abs(rng.normal(size=(10, 20))).astype(np.float32) * 0.3
    one = np.ones(10)
    nodes = {
        "input": nir.Input({"input": np.array([20])}),
        "fc": nir.Linear(weight),
        "n": nir.IF(r=one, v_threshold=one, v_reset=0 * one),
        "output": nir.Output({"output": np.array([10])}),
    }
    edges = [("input", "fc"), ("fc", "n"), ("n", "output")]
    nir.write(str(tmp_path / "net.nir"), nir.NIRGraph(nodes, edges))
    spec = load(str(tmp_path / "net.nir"), time_steps=8)
    assert spec.options == {"dt": 1.0}
    assert "1 / r of its IF neurons" in spec.description
    x = rng.random((8, 1, 20)).astype(np.float32)
    net = spec.build()
    functional.reset_net(net)
    with torch.no_grad():
        found = net(torch.from_numpy(x)).numpy()
    v, expected = 0.0, []
    for step in x:
        v = v + step @ weight.T
        spikes = v > 1
        expected.append(spikes)
        v = v * ~spikes
    assert np.sum(expected) > 0
    assert (found == np.array(expected)).all()

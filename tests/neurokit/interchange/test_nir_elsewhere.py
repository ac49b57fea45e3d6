"""`.nir` files that other tools wrote, and NIR's own published examples, through the commands energy and export."""

import json

import numpy as np
import pytest
import torch

from neurokit.cli import main

nir = pytest.importorskip("nir", reason="the nir library is not installed")
pytest.importorskip("nirtorch", reason="the other tools' exporters need nirtorch")
DT = 1e-4


def weights(rng, *shape):
    """Multiples of 1/8: sums are exact, so that a difference is one of rules and not of rounding."""
    return (rng.integers(-5, 8, shape) / 8).astype(np.float32)


def dense(rng, n_in, n_out):
    made = torch.nn.Linear(n_in, n_out)
    with torch.no_grad():
        made.weight.copy_(torch.from_numpy(weights(rng, n_out, n_in)))
        made.bias.zero_()
    return made


def by_snntorch(path):
    snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
    from snntorch.export_nir import export_to_nir

    rng = np.random.default_rng(1)
    full = torch.ones
    lif = lambda n: snn.Leaky(  # noqa: E731
        beta=0.5 * full(n), threshold=full(n), init_hidden=True, reset_mechanism="zero", reset_delay=False
    )
    net = torch.nn.Sequential(dense(rng, 6, 8), lif(8), dense(rng, 8, 5), lif(5))
    nir.write(str(path), export_to_nir(net, torch.rand(6)))

    def run(x):
        return torch.stack([net(x_t) for x_t in x])

    return str(path), run


def by_norse(path):
    norse = pytest.importorskip("norse.torch", reason="norse is not installed")
    rng = np.random.default_rng(2)

    def lif(n):
        full = lambda value: torch.full((n,), value)  # noqa: E731
        return norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=full(500.0), v_th=full(0.5), v_leak=full(0.0)))

    net = norse.SequentialState(dense(rng, 6, 8), lif(8), dense(rng, 8, 5), lif(5))
    nir.write(str(path), norse.to_nir(net, torch.rand(6)))

    def run(x):
        state, out = None, []
        for x_t in x:
            y, state = net(x_t, state)
            out.append(y.to_dense())
        return torch.stack(out)

    # norse 1.1 writes dt / tau_mem_inv, its time constant times its own time step of 1e-3 s.
    return f"{path}:dt=1e-6", run


@pytest.mark.parametrize("write", [by_snntorch, by_norse])
def test_files_of_other_tools_are_priced_and_exported(write, tmp_path, capsys):
    """The ONNX of the file gives the very spikes of the tool that wrote it."""
    ort = pytest.importorskip("onnxruntime")
    ref, run = write(tmp_path / "net.nir")
    assert main(["export", ref, "--target", "onnx", "--time-steps", "12", "--out", str(tmp_path / "o"), "--json"]) == 0
    x = (np.random.default_rng(3).integers(0, 9, (12, 3, 6)) / 8).astype(np.float32)
    with torch.no_grad():
        expected = run(torch.from_numpy(x)).numpy()
    session = ort.InferenceSession(str(tmp_path / "o" / "model.onnx"), providers=["CPUExecutionProvider"])
    found = session.run(None, {session.get_inputs()[0].name: x})[0]
    assert 10 < expected.sum() < expected.size - 10
    assert (found != expected).sum() == 0
    capsys.readouterr()
    assert main(["energy", ref, "--chip", "loihi1", "--time-steps", "12", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)


def neuron(kind, n, **more):
    full = lambda value: np.full(n, float(value))  # noqa: E731
    common = {"v_leak": full(0), "v_threshold": full(1), **more}
    if kind == "LIF":
        return nir.LIF(tau=full(4 * DT), r=full(1), **common)
    return nir.CubaLIF(tau_syn=full(2 * DT), tau_mem=full(4 * DT), r=full(4), w_in=full(2), **common)


def one_lif(path):
    """The paper's first task: one LIF neuron behind one weight."""
    graph = nir.NIRGraph.from_list(nir.Affine(np.array([[1.5]]), np.zeros(1)), neuron("LIF", 1))
    nir.write(str(path), graph)


def convolutional(path):
    """The paper's second task in small: convolutions, integrate-and-fire neurons and sum pooling."""
    rng = np.random.default_rng(4)
    shape = (4, 8, 8)
    fire = lambda *s: nir.IF(r=np.full(s, 1 / DT), v_threshold=np.full(s, 1.0))  # noqa: E731
    graph = nir.NIRGraph.from_list(
        nir.Conv2d((8, 8), weights(rng, 4, 2, 3, 3), 1, 1, 1, 1, np.zeros(4, np.float32)),
        fire(*shape),
        nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        nir.Flatten({"input": np.array([4, 4, 4])}, 0, -1),
        nir.Affine(weights(rng, 10, 64), np.zeros(10)),
        fire(10),
    )
    nir.write(str(path), graph)


def braille(path):
    """The paper's third task in small, without its recurrent connection (that is in test_nir_recurrent.py)."""
    rng = np.random.default_rng(5)
    nodes = {
        "input": nir.Input(np.array([12])),
        "fc1": nir.Affine(weights(rng, 10, 12), np.zeros(10)),
        "lif1": neuron("CubaLIF", 10),
        "fc2": nir.Affine(weights(rng, 7, 10), np.zeros(7)),
        "lif2": neuron("CubaLIF", 7),
        "output": nir.Output(np.array([7])),
    }
    edges = [("input", "fc1"), ("fc1", "lif1"), ("lif1", "fc2"), ("fc2", "lif2"), ("lif2", "output")]
    nir.write(str(path), nir.NIRGraph(nodes, edges))


@pytest.mark.parametrize("write", [one_lif, convolutional, braille])
def test_published_examples(write, tmp_path, capsys):
    """Exported, verified, written back as NIR with equal numbers, and priced or refused with a reason."""
    write(tmp_path / "net.nir")
    ref = str(tmp_path / "net.nir")
    for target in ("onnx", "nir"):
        out = str(tmp_path / target)
        assert main(["export", ref, "--target", target, "--time-steps", "6", "--out", out, "--json"]) == 0
        verdict = json.loads(capsys.readouterr().out)["parity"]["verdict"]
        assert verdict in ("exact", "benign rounding", "within tolerance")
    first, second = (nir.read(path) for path in (ref, tmp_path / "nir" / "model.nir"))
    assert sorted(type(n).__name__ for n in first.nodes.values()) == sorted(
        type(n).__name__ for n in second.nodes.values()
    )
    for name, node in second.nodes.items():
        for key in ("weight", "tau", "tau_syn", "tau_mem", "r", "v_threshold"):
            if hasattr(node, key):
                np.testing.assert_allclose(getattr(node, key), getattr(first.nodes[name], key), rtol=1e-6, err_msg=key)
    status = main(["energy", ref, "--chip", "loihi1", "--time-steps", "6", "--json"])
    said = capsys.readouterr()
    assert status == 0 or (status == 2 and "fix:" in said.err and "Traceback" not in said.err)

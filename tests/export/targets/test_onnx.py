"""The three ONNX forms: what is in the files, what they compute, and how they are run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurokit import pipeline
from neurokit.capture import capture
from neurokit.errors import InputError, MissingRuntimeError
from neurokit.export.targets import onnx as onnx_target
from neurokit.spec import ModelSpec, TensorSpec

T = 4
FORMS = ("onnx", "onnx-scan", "onnx-step")


class Net(nn.Module):
    def __init__(self, sn2):
        super().__init__()
        self.conv = nn.Sequential(
            layer.Conv2d(2, 6, 3, padding=1, bias=False, step_mode="m"), layer.BatchNorm2d(6, step_mode="m")
        )
        self.sn1 = neuron.ParametricLIFNode(init_tau=2.5, step_mode="m")
        self.fc = layer.Linear(6 * 25, 7, step_mode="m")
        self.sn2 = sn2

    def forward(self, x):
        return self.sn2(self.fc(self.sn1(self.conv(x)).flatten(2)))


def build(sn2=None, dtype=torch.float32):
    torch.manual_seed(0)
    net = Net(sn2() if sn2 else neuron.LIFNode(tau=2.0, v_reset=None, decay_input=False, step_mode="m")).eval()
    with torch.no_grad():
        net.conv[0].weight *= 8.0
        net.fc.weight *= 12.0
        net.conv[1].running_mean.uniform_(-0.2, 0.2)
        net.conv[1].running_var.uniform_(0.5, 1.5)
    return net.to(dtype)


def spec(sn2=None, dtype="float32"):
    return ModelSpec(
        "net", lambda: build(sn2, getattr(torch, dtype)), (TensorSpec("image", (2, 5, 5), dtype),), time_steps=T
    )


def torch_run(x, sn2=None):
    with torch.no_grad():
        return build(sn2, torch.from_numpy(x).dtype)(torch.from_numpy(x)).numpy()


def images(steps=T, batch=1, dtype="float32", seed=0):
    return np.random.default_rng(seed).random((steps, batch, 2, 5, 5)).astype(dtype)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forms")
    captured = capture(spec())
    return {form: pipeline.lower(captured, form, folder / form, flat=True) for form in FORMS}


@pytest.mark.parametrize("form", FORMS)
def test_the_file_is_valid_and_says_what_it_is(artifacts, form):
    artifact = artifacts[form]
    path = artifact.file("model.onnx")
    onnx.checker.check_model(str(path), full_check=True)
    model = onnx.load(path)
    assert {entry.domain: entry.version for entry in model.opset_import} == {"": 20, "neurokit": 1}
    assert artifact.manifest.opset == 20
    assert len([node for node in model.graph.node if node.domain == "neurokit"]) == 2
    suffix = "Step" if form == "onnx-step" else ""
    assert {function.name for function in model.functions} == {f"PLIF{suffix}", f"LIFSoftUndecayed{suffix}"}
    assert "BatchNormalization" not in {node.op_type for node in model.graph.node}
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert said["neurokit.model"] == "net"
    assert said["neurokit.target"] == form
    assert said["neurokit.reset_policy"] == artifact.manifest.reset_policy != ""
    assert said["neurokit.time_steps"] == ("dynamic" if form == "onnx-scan" else "4")
    states = json.loads(said["neurokit.state"])
    assert [state["name"] for state in states] == (["sn1_v", "sn2_v"] if form == "onnx-step" else [])


@pytest.mark.parametrize("form", FORMS)
def test_nothing_of_this_machine_is_inside(artifacts, form):
    for name in ("model.onnx", "model.flat.onnx"):
        content = artifacts[form].file(name).read_bytes()
        for trace in (b"site-packages", str(Path(__file__).parents[3]).encode(), b".py", b"Traceback", b"torch."):
            assert trace not in content


def test_the_states_of_the_step_form_are_inputs_and_outputs(artifacts):
    manifest = artifacts["onnx-step"].manifest
    model = onnx.load(artifacts["onnx-step"].file("model.onnx"))
    assert [value.name for value in model.graph.input] == ["image", "sn1_v_in", "sn2_v_in"]
    assert [value.name for value in model.graph.output] == ["y", "sn1_v_out", "sn2_v_out"]
    for state, shape in zip(manifest.states, (["B", 6, 5, 5], ["B", 7]), strict=True):
        assert list(state.shape) == shape
        assert (state.dtype, state.init) == ("float32", 0.0)
        assert state.neuron in ("sn1", "sn2")
        assert state.unit


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("batch", [1, 3])
def test_equals_torch_for_any_batch(artifacts, form, batch):
    x = images(batch=batch)
    expected = torch_run(x)
    assert 0.05 < expected.mean() < 0.9
    with pipeline.open(artifacts[form]) as runner:
        np.testing.assert_array_equal(runner(x), expected)


@pytest.mark.parametrize("steps", [1, 2, 9])
def test_t_is_free_in_scan_and_step(artifacts, steps):
    x = images(steps, 2)
    for form in FORMS[1:]:
        with pipeline.open(artifacts[form]) as runner:
            np.testing.assert_array_equal(runner(x), torch_run(x))
    with pipeline.open(artifacts["onnx"]) as runner, pytest.raises(InputError, match=f"the input is \\[{steps}, 2"):
        runner(x)


@pytest.mark.parametrize("form", FORMS)
def test_the_flat_copy_computes_the_same(artifacts, form):
    artifact = artifacts[form]
    flat = onnx.load(artifact.file("model.flat.onnx"))
    assert not flat.functions
    feeds = {"image": images()[0] if form == "onnx-step" else images()}
    if form == "onnx-step":
        feeds |= {"sn1_v_in": np.zeros((1, 6, 5, 5), np.float32), "sn2_v_in": np.zeros((1, 7), np.float32)}
    runs = [
        onnxruntime.InferenceSession(str(artifact.file(name)), providers=["CPUExecutionProvider"]).run(None, feeds)
        for name in ("model.onnx", "model.flat.onnx")
    ]
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


DECOMPOSED = {
    "qif": lambda: neuron.QIFNode(step_mode="m"),
    "clif": lambda: neuron.ComplementaryLIFNode(step_mode="m"),
    "izhikevich": lambda: neuron.IzhikevichNode(a=0.1, b=0.2, step_mode="m"),
    "ilif": lambda: neuron.ILIFNode(step_mode="m"),
}


QUICK_FORM = {"qif": "onnx-scan", "clif": "onnx", "izhikevich": "onnx-step", "ilif": "onnx-scan"}


@pytest.mark.parametrize(
    ("name", "form"),
    [
        pytest.param(name, form, marks=() if QUICK_FORM[name] == form else pytest.mark.slow)
        for name in DECOMPOSED
        for form in FORMS
    ],
)
def test_decomposed_neurons_in_three_forms(name, form, tmp_path):
    captured = capture(spec(DECOMPOSED[name]))
    x = images(batch=2)
    expected = torch_run(x, DECOMPOSED[name])
    assert expected.std() > 0.05
    artifact = pipeline.lower(captured, form, tmp_path / form)
    assert artifact.manifest.parity["passed"]
    with pipeline.open(artifact) as runner:
        np.testing.assert_allclose(runner(x), expected, rtol=1e-5, atol=1e-6)
        if form == "onnx-scan":
            longer = images(7, 3)
            np.testing.assert_allclose(runner(longer), torch_run(longer, DECOMPOSED[name]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", FORMS)
def test_float64(form, tmp_path):
    """Without convolutions: ONNX Runtime's CPU has none in float64."""

    def dense():
        torch.manual_seed(0)
        return (
            nn.Sequential(layer.Linear(6, 9, step_mode="m"), neuron.LIFNode(v_threshold=0.3, step_mode="m"))
            .double()
            .eval()
        )

    dense_spec = ModelSpec("dense", dense, (TensorSpec("x", (6,), "float64", layout="F"),), time_steps=T)
    artifact = pipeline.lower(capture(dense_spec), form, tmp_path / form)
    assert artifact.manifest.parity["passed"]
    x = np.random.default_rng(0).random((T, 2, 6)) * 3.0
    with pipeline.open(artifact) as runner, torch.no_grad():
        found, expected = runner(x), dense()(torch.from_numpy(x)).numpy()
    assert found.dtype == np.float64
    assert expected.any()
    np.testing.assert_array_equal(found, expected)


def test_a_fixed_batch(tmp_path):
    artifact = pipeline.lower(capture(spec(), batch=2), "onnx", tmp_path / "two")
    assert artifact.manifest.inputs[0].shape == (T, 2, 2, 5, 5)
    with pipeline.open(artifact) as runner:
        np.testing.assert_array_equal(runner(images(batch=2)), torch_run(images(batch=2)))
        with pytest.raises(InputError, match="the input is"):
            runner(images(batch=3))


def test_large_weights_go_beside_the_model(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_target, "_EXTERNAL_ABOVE", 100)
    artifact = pipeline.lower(capture(spec()), "onnx", tmp_path / "big")
    assert {"model.onnx", "model.onnx.data"} <= set(artifact.manifest.files)
    assert artifact.manifest.parity["passed"]
    assert pipeline.verify(artifact.path).passed
    with pipeline.open(artifact) as runner:
        np.testing.assert_array_equal(runner(images()), torch_run(images()))


def test_streams_are_independent(artifacts):
    a, b = images(6, 1, seed=1), images(6, 1, seed=2)
    with pipeline.open(artifacts["onnx-step"]) as runner:
        runner.reset(2)
        together = np.stack([runner.step(np.concatenate(pair)) for pair in zip(a, b, strict=True)])
        states = runner.states()
        assert set(states) == {"sn1_v", "sn2_v"}
        assert states["sn2_v"].shape == (2, 7)
        for index, x in enumerate((a, b)):
            runner.reset(1)
            assert not runner.states()["sn1_v"].any()
            alone = np.stack([runner.step(x_t) for x_t in x])
            np.testing.assert_array_equal(together[:, index], alone[:, 0])
            np.testing.assert_array_equal(alone, torch_run(x))


def test_wrong_use_of_a_runner_is_told(artifacts):
    with pipeline.open(artifacts["onnx-step"]) as runner:
        runner.reset(2)
        with pytest.raises(InputError, match="given 1 streams after reset for 2"):
            runner.step(images()[0])
        with pytest.raises(InputError, match="float64"):
            runner.step(images(batch=2, dtype="float64")[0])
        with pytest.raises(InputError, match="list"):
            runner([1.0])
        with pytest.raises(InputError, match="list"):
            runner.step([1.0])
        with pytest.raises(InputError, match="reset for 0 streams"):
            runner.reset(0)
    with pytest.raises(InputError, match="closed"):
        runner.step(images()[0])
    with pytest.raises(InputError, match="closed"):
        runner.reset()
    with pipeline.open(artifacts["onnx"]) as sequence:
        for use in (sequence.reset, lambda: sequence.step(images()[0])):
            with pytest.raises(InputError, match="cannot"):
                use()
    for options in ({"level": 4}, {"threads": -1}, {"nonsense": 1}):
        with pytest.raises(InputError):
            pipeline.open(artifacts["onnx"], **options)
    with pytest.raises(MissingRuntimeError, match="NoSuchProvider"):
        pipeline.open(artifacts["onnx"], providers=["NoSuchProvider"])


@pytest.mark.parametrize("level", range(4))
def test_every_level_runs(artifacts, level):
    with pipeline.open(artifacts["onnx"], level=level, threads=1, spinning=False) as runner:
        np.testing.assert_array_equal(runner(images()), torch_run(images()))


class Pooled(torch.nn.Module):
    """Spikes summed over windows: an average pooling with a divisor of its own."""

    def __init__(self, divisor, padding):
        super().__init__()
        self.divisor, self.padding = divisor, padding
        self.sn = neuron.IFNode(step_mode="m")

    def forward(self, x):
        x = self.sn(x)
        y = torch.nn.functional.avg_pool2d(x.flatten(0, 1), 3, 2, self.padding, divisor_override=self.divisor)
        return y.unflatten(0, x.shape[:2])


@pytest.mark.parametrize(("divisor", "padding"), [(None, 1), (1, 0), (1, 1), (4, 1)])
def test_a_pooling_keeps_its_divisor(divisor, padding, tmp_path):
    """torch's exporter drops it without a word; a sum of spikes must stay one."""
    x = 2 * torch.rand(3, 2, 2, 7, 7)
    net = Pooled(divisor, padding).eval()
    artifact = pipeline.lower(pipeline.capture(net, x), "onnx", tmp_path / "o")
    with torch.no_grad():
        expected = net(x).numpy()
    with pipeline.open(artifact) as runner:
        np.testing.assert_allclose(runner(x.numpy()), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_reset=0.0), id="cuba"),
        pytest.param(neuron.KLIFNode, id="klif", marks=pytest.mark.slow),
        pytest.param(neuron.ILIFNode, id="ilif", marks=pytest.mark.slow),
        pytest.param(neuron.ComplementaryLIFNode, id="clif"),
    ],
)
def test_rare_neurons_over_a_free_time(make, tmp_path):
    """A neuron that was captured step by step, with T and B free: lengths that no trace has seen."""
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(6, 8), make(), layer.Linear(8, 5), make()).eval()
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        net[0].weight.add_(0.5)
        net[2].weight.add_(0.5)
    artifact = pipeline.lower(
        pipeline.capture(net, torch.rand(4, 2, 6), time_steps="dynamic"), "onnx-scan", tmp_path / "o"
    )
    assert artifact.manifest.parity["verdict"] in ("exact", "within tolerance", "benign rounding")
    with pipeline.open(artifact) as runner:
        for steps, batch in ((7, 3), (2, 1)):
            x = torch.rand(steps, batch, 6)
            functional.reset_net(net)
            with torch.no_grad():
                expected = net(x).numpy()
            assert expected.any()
            np.testing.assert_allclose(runner(x.numpy()), expected, atol=1e-5)

"""What an artifact does on its own: faults of state, time and batch, planted into sound artifacts, are all found."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import ArtifactError
from neurokit.parity.free_run import _is_start
from neurokit.parity.vectors import FILE, Vectors
from neurokit.spec import ModelSpec, TensorSpec

T = 5


class Conv(nn.Module):
    """A convolution, a LIF, a linear layer and a soft-reset LIF; then logits a step."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.conv, self.a = layer.Conv2d(2, 6, 3, padding=1), neuron.LIFNode()
        self.up, self.b = layer.Conv2d(6, 6, 3, padding=1), neuron.LIFNode(v_reset=None)
        self.fc = layer.Linear(6 * 36, 5)
        for part in (self.conv, self.up):
            part.weight.data.mul_(4.0)
            part.bias.data.uniform_(0.2, 1.2)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.fc(self.b(self.up(self.a(self.conv(x)))).flatten(2))


SPEC = ModelSpec("conv", lambda: Conv().eval(), (TensorSpec("x", (2, 6, 6)),), time_steps=T)
FORMS = ("onnx", "onnx-scan", "onnx-step")


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("free")
    captured = nk.capture(SPEC)
    return {form: nk.lower(captured, form, folder / form) for form in FORMS}


def calls(model):
    return [node for node in model.graph.node if node.domain == "neurokit"]


def constant(model, name, value):
    model.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def initial_membrane(value):
    def plant(model):
        for node in calls(model):
            start = next(other for other in model.graph.node if node.input[1] in other.output)
            name = f"other.{node.output[0]}"
            given = constant(model, f"value.{node.output[0]}", np.float32(value))
            new = helper.make_node("Expand", [given, start.input[1]], [name])
            model.graph.node.insert(list(model.graph.node).index(start) + 1, new)
            node.input[1] = name

    return plant


def backwards(model):
    for function in model.functions:
        for node in function.node:
            if node.op_type == "Scan":
                node.attribute.append(helper.make_attribute("scan_input_directions", [1]))
                node.attribute.append(helper.make_attribute("scan_output_directions", [1]))


def swapped_states(model):
    a, b = calls(model)
    a.input[1], b.input[1] = b.input[1], a.input[1]


def state_not_carried(model):
    for node in calls(model):
        kept = node.output[1]
        node.output[1] = f"lost.{kept}"
        model.graph.node.append(helper.make_node("Identity", [node.input[1]], [kept]))


def state_carried_smaller(model):
    node = calls(model)[0]
    kept = node.output[1]
    node.output[1] = f"whole.{kept}"
    model.graph.node.append(
        helper.make_node("Mul", [f"whole.{kept}", constant(model, "part", np.float32(0.99))], [kept])
    )


def greater(model):
    for function in model.functions:
        for node in function.node:
            graphs = [a.g for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
            for inner in [node, *(n for g in graphs for n in g.node)]:
                if inner.op_type == "GreaterOrEqual":
                    inner.op_type = "Greater"


def threshold(factor):
    def plant(model):
        node = calls(model)[-1]
        at = next(i for i, n in enumerate(node.input) if i >= 2 and _value(model, n) == 1.0)
        node.input[at] = constant(model, "other", np.float32(factor))

    return plant


def _value(model, name):
    return next(numpy_helper.to_array(t) for t in model.graph.initializer if t.name == name).item()


def batch_mean(model):
    node = calls(model)[1]
    mean = helper.make_node("ReduceMean", [node.input[0], constant(model, "axis", np.asarray([1]))], ["mean"])
    shape = helper.make_node("Shape", [node.input[0]], ["full"])
    wide = helper.make_node("Expand", ["mean", "full"], ["everybody"])
    at = list(model.graph.node).index(node)
    for new in (wide, shape, mean):
        model.graph.node.insert(at, new)
    node.input[0] = "everybody"


def batch_fixed(model):
    node = [n for n in model.graph.node if n.op_type == "Reshape"][-1]
    node.input[1] = constant(model, "one", np.asarray([-1, 1, 216], np.int64))


FAULTS = {
    "another initial membrane": (initial_membrane(0.9), ("onnx", "onnx-scan")),
    "time backwards inside of the neurons": (backwards, ("onnx", "onnx-scan")),
    "two layers' states swapped": (swapped_states, ("onnx-step",)),
    "no state carried": (state_not_carried, ("onnx-step",)),
    "a state carried with a factor of 0.99": (state_carried_smaller, ("onnx-step",)),
    "greater for greater or equal": (greater, FORMS),
    "a threshold 1 % higher": (threshold(1.01), FORMS),
    "a threshold 0.1 % lower": (threshold(0.999), FORMS),
    "a threshold higher by 1e-6": (threshold(1.000001), FORMS),
    "the mean over the batch": (batch_mean, ("onnx", "onnx-scan")),
    "a batch of one baked in": (batch_fixed, ("onnx", "onnx-step")),
}
CASES = [(name, form) for name, (_, forms) in FAULTS.items() for form in forms]


@pytest.mark.parametrize(("fault", "form"), CASES)
def test_a_planted_fault_is_found(artifacts, tamper, tmp_path, fault, form):
    broken = tamper(artifacts[form], FAULTS[fault][0], tmp_path / "broken")
    report = nk.verify(broken, record=False)
    assert report.verdict == "failed", report.notes


@pytest.mark.parametrize("form", FORMS)
def test_the_sound_artifact_passes(artifacts, form):
    report = nk.verify(artifacts[form], record=False)
    assert report.passed, report.notes
    assert all(0.01 < entry.spike_rate < 0.99 for entry in report.layers)


def _with_initial(artifact, init):
    graph = artifact.manifest.graphs[0]
    states = tuple(state.model_copy(update={"init": init}) for state in graph.states)
    return artifact._with(graphs=(graph.model_copy(update={"states": states}), *artifact.manifest.graphs[1:]))


def test_a_manifest_that_says_another_initial_membrane_than_its_graph_is_refused(artifacts, tamper, tmp_path):
    artifact = _with_initial(tamper(artifacts["onnx-step"], lambda model: None, tmp_path / "copy"), 0.3)
    with pytest.raises(ArtifactError, match="contradict each other: state"):
        nk.verify(artifact.path, record=False)


@pytest.mark.parametrize("init", [0.3, 1e-3, 1e-6])
def test_the_manifest_may_not_change_an_initial_membrane(artifacts, tamper, tmp_path, init):
    def forget(model):
        for entry in [entry for entry in model.metadata_props if entry.key == "neurokit.state"]:
            model.metadata_props.remove(entry)

    artifact = _with_initial(tamper(artifacts["onnx-step"], forget, tmp_path / "copy"), init)
    report = nk.verify(artifact.path, record=False)
    assert report.verdict == "failed"
    assert any(f"its initial membrane is {init:.6g}" in note for note in report.notes)


@pytest.mark.parametrize("form", ["onnx", "onnx-scan"])
def test_an_initial_membrane_that_moves_no_spike_is_found(artifacts, tamper, tmp_path, form):
    report = nk.verify(tamper(artifacts[form], initial_membrane(1e-6), tmp_path / "broken"), record=False)
    assert report.verdict == "failed"
    assert not any(layer.flips_free for layer in report.layers)
    assert any("its initial membrane is 1e-06" in note for note in report.notes)


class Bounded(nn.Module):
    """Bounds the membrane from below between two steps, one a call."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.out = nn.Linear(10, 12), neuron.LIFNode(v_threshold=0.5), nn.Linear(12, 3)
        self.fc.weight.data.mul_(3.0)

    def forward(self, x):
        y = self.out(self.lif(self.fc(x)))
        self.lif.v = self.lif.v.clamp(min=-0.1)
        return y


def test_a_membrane_that_the_module_changes_between_steps_is_the_references_within_rounding(tmp_path):
    """It is computed of the step before: equal to the last bit but one was asked of it, and a right graph failed."""
    spec = ModelSpec("bounded", lambda: Bounded().eval(), (TensorSpec("x", (10,)),), time_steps=6, time_input="step")
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    later = [layer for layer in Vectors.load(artifact.file(FILE)).layers if "@" in layer.path]
    assert len(later) == 5
    for vector in later:
        own = np.zeros((1, 1, 12), np.float32)
        assert _is_start(vector, vector.init, own)
        assert not _is_start(vector, vector.init + np.float32(1e-4), own)

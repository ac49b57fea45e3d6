"""Verification finds planted faults, explains rounding, and needs the artifact's files alone."""

from __future__ import annotations

import html
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper
from spikingjelly.activation_based import layer, neuron
from torch import nn

from neurokit import cli, pipeline
from neurokit.artifact import Artifact, file_info
from neurokit.capture import capture
from neurokit.parity.stimuli import random_spikes
from neurokit.parity.vectors import FILE, Vectors
from neurokit.reports import parity_meaning as words
from neurokit.spec import ModelSpec, TensorSpec

ROOT = Path(__file__).parents[3]
T = 4
FORMS = ("onnx", "onnx-scan", "onnx-step")


class Net(nn.Module):
    """Two equal convolutions (so that they can be swapped), soft-reset LIFs, logits averaged over time."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = layer.Conv2d(3, 16, 3, padding=1, step_mode="m")
        self.sn1 = neuron.LIFNode(tau=2.0, step_mode="m")
        self.conv2 = layer.Conv2d(16, 16, 3, padding=1, step_mode="m")
        self.sn2 = neuron.LIFNode(tau=3.0, v_reset=None, decay_input=False, step_mode="m")
        self.conv3 = layer.Conv2d(16, 16, 3, padding=1, step_mode="m")
        self.sn3 = neuron.IFNode(step_mode="m")
        self.head = layer.Linear(16, 5, step_mode="m")

    def forward(self, x):
        s = self.sn1(self.stem(x))
        s = self.sn2(self.conv2(s))
        s = self.sn3(self.conv3(s))
        return self.head(s.mean((-2, -1))).mean(0)


def build():
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        for conv in (net.stem, net.conv2, net.conv3):
            conv.weight *= 3.0
            conv.bias.uniform_(0.05, 0.3)
    return net


SPEC = ModelSpec("net", build, (TensorSpec("x", (3, 12, 12)),), time_steps=T)


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    captured = capture(SPEC)
    return {form: pipeline.lower(captured, form, folder / form) for form in FORMS}


@pytest.fixture(params=FORMS)
def artifact(request, artifacts):
    return artifacts[request.param]


def test_what_is_sound_passes(artifact):
    report = pipeline.verify(artifact, record=False)
    assert report.passed, report.notes
    assert report.verdict == "benign rounding"  # its sums are rounded, whatever its spikes are
    assert [entry.layer for entry in report.layers] == ["sn1", "sn2", "sn3"]
    assert all(0.02 < entry.spike_rate < 0.7 for entry in report.layers)
    assert report.spikes_compared == T * 16 * 12 * 12 * 3
    assert 0.0 < max(entry.max_current_error for entry in report.layers) < 1e-5
    assert report.top1_agreement == 1.0
    assert report.output_error_forced < 1e-5


def test_the_words_are_no_wider_than_the_proof_in_screen_json_manifest_and_page(artifacts, tmp_path, capsys):
    artifact = artifacts["onnx"]
    report = pipeline.verify(artifact, record=False)
    assert words.COVERING in report.rounded
    assert "every bit" not in report.meaning or words.COVERING in report.meaning
    assert artifact.manifest.parity["meaning"] == report.meaning
    assert cli.main(["verify", str(artifact.path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reports"][0]["meaning"] == report.meaning
    assert cli.main(["verify", str(artifact.path)]) == 0
    assert report.meaning in " ".join(capsys.readouterr().out.split())
    assert cli.main(["report", str(artifact.path), "--html", str(tmp_path / "p.html")]) == 0
    assert report.meaning in html.unescape((tmp_path / "p.html").read_text())


def planted(artifact, folder, change):
    """Copies an artifact with a changed model, and a sum to match: an exporter's bug, not a damaged file."""
    target = folder / "planted"
    target.mkdir()
    for file in artifact.path.iterdir():
        (target / file.name).write_bytes(file.read_bytes())
    model = onnx.load(target / "model.onnx")
    change(model)
    onnx.save(model, target / "model.onnx")
    files = {**artifact.manifest.files, "model.onnx": file_info(target / "model.onnx")}
    text = artifact.manifest.model_copy(update={"files": files}).to_text()
    (target / "manifest.json").write_text(text)
    return Artifact.load(target)


def values(model):
    return {tensor.name: tensor for tensor in model.graph.initializer}


def call(model, path):
    return next(node for node in model.graph.node if node.domain == "neurokit" and node.name == path)


def feeding(model, path):
    """The convolution before a neuron, through reshapes."""
    producers = {name: node for node in model.graph.node for name in node.output}
    node = producers[call(model, path).input[0]]
    while node.op_type != "Conv":
        node = producers[node.input[0]]
    return node


def edit(model, name, change):
    tensor = values(model)[name]
    tensor.CopyFrom(numpy_helper.from_array(change(numpy_helper.to_array(tensor).copy()), name))


def set_scalar(model, path, old, new):
    """Gives one neuron another scalar, leaving others that share the old one alone."""
    node = call(model, path)
    for index, name in enumerate(node.input[2:], start=2):
        array = numpy_helper.to_array(values(model)[name]) if name in values(model) else None
        if array is not None and np.isclose(float(array), old):
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(new, np.float32), "planted"))
            node.input[index] = "planted"
            return
    raise AssertionError(f"no scalar {old} at {path}")


def one_weight(model):
    def change(weight):
        # From the channel that spikes most, so that it shows in the membranes too.
        place = (2, 12, 1, 1)
        weight[place] *= 1.01
        return weight

    edit(model, feeding(model, "sn2").input[1], change)


def swap_layers(model):
    a, b = feeding(model, "sn2"), feeding(model, "sn3")
    a.input[1], b.input[1] = b.input[1], a.input[1]


def hard_for_soft(model):
    """The second neuron's function becomes one with a hard reset to 0."""
    name = call(model, "sn2").op_type
    function = next(f for f in model.functions if f.name == name)

    def nodes(graph_or_function):
        for node in graph_or_function.node:
            yield graph_or_function, node
            for attribute in node.attribute:
                if attribute.type == onnx.AttributeProto.GRAPH:
                    yield from nodes(attribute.g)

    places = list(nodes(function))
    holder, drop = next(
        (holder, node) for holder, node in places if node.op_type == "Mul" and "v_threshold" in node.input
    )
    for index, value in enumerate(drop.input):
        if value == "v_threshold":
            drop.input[index] = next(n.input[0] for _, n in places if n.op_type == "GreaterOrEqual")
    assert holder is not None


FAULTS = {
    "a weight off by 1 %": (one_weight, {"sn2"}),
    "threshold 1 -> 1.001": (lambda m: set_scalar(m, "sn1", 1.0, 1.001), {"sn1"}),
    "tau 2 -> 2.1": (lambda m: set_scalar(m, "sn1", 2.0, 2.1), {"sn1"}),
    "reset soft -> hard": (hard_for_soft, {"sn2"}),
    "swapped layers": (swap_layers, {"sn2", "sn3"}),
    "a bias zeroed": (lambda m: edit(m, feeding(m, "sn3").input[2], np.zeros_like), {"sn3"}),
    "a bias off by 0.001": (lambda m: edit(m, feeding(m, "sn3").input[2], lambda b: b + np.float32(1e-3)), {"sn3"}),
    "another head": (
        lambda m: edit(
            m, next(n for n in m.graph.node if n.op_type in ("Gemm", "MatMul")).input[1], lambda w: 1.01 * w
        ),
        set(),
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("form", ["onnx", "onnx-step"])
def test_a_planted_fault_is_found_in_its_layer(artifacts, tmp_path, form, fault):
    change, layers = FAULTS[fault]
    broken = planted(artifacts[form], tmp_path, change)
    report = pipeline.verify(broken)
    assert report.verdict == "failed"
    assert not report.passed
    said = json.loads((broken.path / "manifest.json").read_text())
    assert said["parity"]["verdict"] == "failed"
    blamed = {entry.layer for entry in report.layers if not entry.explained or entry.max_current_error > entry.bound}
    assert blamed <= layers  # and no innocent layer is blamed


@pytest.mark.parametrize("form", FORMS)
def test_a_weight_that_no_spike_of_the_vectors_reads_is_checked_too(artifacts, tmp_path, form):
    vectors = Vectors.load(artifacts[form].file(FILE))
    fired = vectors.layers[0].spikes.any(axis=(0, 1, 3, 4))
    silent = int(np.flatnonzero(~fired)[0])

    def change(weight):
        weight[2, silent, 1, 1] += 0.01 * np.abs(weight).max()
        return weight

    broken = planted(artifacts[form], tmp_path, lambda m: edit(m, feeding(m, "sn2").input[1], change))
    report = pipeline.verify(broken)
    assert report.verdict == "failed"
    assert [entry.layer for entry in report.layers if not entry.explained] == ["sn2"]
    assert report.spikes_flipped == 0  # nothing else shows it
    assert any("sn2: under random spikes" in note for note in report.notes)


def test_random_spikes_are_half_ones_and_always_the_same():
    spikes = random_spikes(3, (4, 2, 1001))
    assert spikes.shape == (4, 2, 1001)
    assert 0.48 < spikes.mean() < 0.52
    assert spikes.reshape(-1)[:16].tolist() == random_spikes(3, (16,)).tolist()
    first = 11749869230777074271  # the first number of PCG64 with seed 0
    assert random_spikes(0, (64,)).tolist() == [
        int(bit) for byte in first.to_bytes(8, "little") for bit in f"{byte:08b}"
    ]


def test_a_failed_check_ends_with_status_1(artifacts, tmp_path, capsys):
    from neurokit import cli

    broken = planted(artifacts["onnx"], tmp_path, FAULTS["a bias zeroed"][0])
    assert cli.main(["verify", str(broken.path)]) == 1
    assert "failed: net on onnx" in capsys.readouterr().out
    assert cli.main(["verify", str(artifacts["onnx"].path)]) == 0


def test_where_nothing_can_be_written_it_is_verified_and_said_not_to_be_recorded(artifacts, tmp_path, capsys):
    """Root writes into read-only folders too: the place of the new manifest is taken by a folder."""
    place = tmp_path / "a"
    shutil.copytree(artifacts["onnx"].path, place)
    Artifact.load(place).with_parity(None)
    before = (place / "manifest.json").read_bytes()
    (place / f".manifest.json.partial-{os.getpid()}").mkdir()
    assert cli.main(["verify", str(place), "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert report["passed"]
    assert any(note.startswith("the verdict is not recorded") for note in report["notes"])
    assert (place / "manifest.json").read_bytes() == before


def tie_spec():
    """Sums that equal the threshold in exact arithmetic: every order of summation rounds to another side of it."""

    def make():
        torch.manual_seed(1)
        net = nn.Sequential(
            layer.Conv2d(8, 64, 3, bias=False, step_mode="m"),
            neuron.IFNode(step_mode="m"),
            layer.Flatten(step_mode="m"),
            layer.Linear(64 * 16, 3, step_mode="m"),
        ).eval()
        with torch.no_grad():
            weight = torch.rand(64, 72)
            net[0].weight.copy_((weight / weight.sum(1, keepdim=True)).view(64, 8, 3, 3))
        return net

    def example(batch, steps, seed):
        return torch.ones(steps, batch, 8, 6, 6)

    return ModelSpec("tie", make, (TensorSpec("x", (8, 6, 6)),), time_steps=1, example=example)


def test_a_tie_that_rounding_breaks_is_benign(tmp_path):
    artifact = pipeline.lower(capture(tie_spec()), "onnx", tmp_path / "tie", verified=False)

    def permute(model):
        """The same convolution with its input channels, and so its sums, in another order."""
        order = np.asarray([5, 2, 7, 0, 3, 6, 1, 4])
        conv = next(node for node in model.graph.node if node.op_type == "Conv")
        edit(model, conv.input[1], lambda w: np.ascontiguousarray(w[:, order]))
        model.graph.initializer.append(numpy_helper.from_array(order, "order"))
        gather = onnx.helper.make_node("Gather", [conv.input[0], "order"], ["permuted"], axis=1)
        at = list(model.graph.node).index(conv)
        conv.input[0] = "permuted"
        model.graph.node.insert(at, gather)

    report = pipeline.verify(planted(artifact, tmp_path, permute))
    (entry,) = report.layers
    assert entry.flips_forced > 0
    assert 0.0 < entry.worst_margin <= entry.bound < 1e-4
    assert entry.first_divergence is not None
    assert report.verdict == "benign rounding"
    assert report.passed


def test_every_optimisation_level_passes(artifacts):
    for level in range(4):
        assert pipeline.verify(artifacts["onnx"], record=False, level=level, threads=1).passed


def test_verify_needs_the_files_alone(artifacts, tmp_path):
    """In a process that cannot import torch, from a folder that was moved."""
    moved = tmp_path / "moved"
    moved.mkdir()
    for file in artifacts["onnx-step"].path.iterdir():
        (moved / file.name).write_bytes(file.read_bytes())
    code = (
        "import sys\n"
        "for name in ('torch', 'spikingjelly', 'torchvision'): sys.modules[name] = None\n"
        "from neurokit.cli import main\n"
        f"sys.exit(main(['verify', {str(moved)!r}, '--json']))\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert '"passed": true' in done.stdout


def test_the_three_forms_agree(artifacts):
    pairs = pipeline.compare(list(artifacts.values()))
    assert [(pair["a"], pair["b"]) for pair in pairs] == [
        ("onnx", "onnx-scan"),
        ("onnx", "onnx-step"),
        ("onnx-scan", "onnx-step"),
    ]
    for pair in pairs:
        assert pair["spikes_compared"] == T * 16 * 12 * 12 * 3
        assert pair["spikes_differ"] == 0
        assert pair["output_error"] < 1e-6


def test_the_forms_are_told_apart_when_they_differ(artifacts, tmp_path):
    broken = planted(artifacts["onnx-scan"], tmp_path, FAULTS["tau 2 -> 2.1"][0])
    (pair,) = pipeline.compare([artifacts["onnx"], broken])
    assert pair["spikes_differ"] > 10
    assert pair["output_error"] > 1e-3


def test_the_reference_is_the_users_module(artifacts):
    """The vectors, against SpikingJelly running the module itself."""
    vectors = Vectors.load(artifacts["onnx"].file(FILE))
    net, seen = build(), {}
    for name in ("sn1", "sn2", "sn3"):
        getattr(net, name).register_forward_hook(lambda m, i, o, name=name: seen.__setitem__(name, o))
    with torch.no_grad():
        y = net(torch.from_numpy(vectors.x))
    assert np.array_equal(vectors.outputs["y"], y.numpy())
    for entry in vectors.layers:
        assert np.array_equal(entry.spikes, seen[entry.path].numpy().astype(np.uint8))

"""The targets `litert` and `litert-step`: verified on LiteRT itself, and refused before an environment is made."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit import native
from neurokit.artifact import write_artifact
from neurokit.errors import ArtifactError, InputError, MissingRuntimeError, UnsupportedError
from neurokit.export.litert import environment
from neurokit.export.litert.session import RowSession
from neurokit.reports import ParityReport
from neurokit.spec import ModelSpec, TensorSpec

pytest.importorskip("ai_edge_litert")


def small_cnn():
    torch.manual_seed(0)
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(64, 5)).eval()


def cnn_spec():
    net = small_cnn()
    return ModelSpec("cnn", lambda: net, (TensorSpec("image", (1, 8, 8)),))


@pytest.fixture(scope="module")
def spiking():
    return nk.capture("spiking_cnn")


@pytest.mark.slow  # litert-torch in its own environment, which is made where there is none
@pytest.mark.parametrize(("target", "numerics"), [("litert", "float"), ("litert-step", "float"), ("litert", "exact")])
def test_spiking_networks_are_verified_layer_by_layer(spiking, target, numerics, tmp_path):
    made = nk.lower(spiking, target, tmp_path / "m", numerics=numerics)
    report = ParityReport.from_json(made.manifest.parity)
    assert report.passed, report
    assert len(report.layers) == 3
    x = np.random.default_rng(0).random((4, 1, 1, 8, 8), dtype=np.float32)
    reference = nk.lower(spiking, "onnx", tmp_path / "onnx", numerics=numerics, verified=False)
    with nk.open(made) as mine, nk.open(reference) as theirs:
        wanted = theirs(x)
        if target == "litert":
            found = mine(x)
        else:
            mine.reset(1)
            found = np.mean([mine.step(one) for one in x], axis=0)
        np.testing.assert_allclose(found, wanted, atol=0 if numerics == "exact" else 1e-5)
        with pytest.raises(InputError, match=r"fixed|batch|shape"):
            mine(x.repeat(2, 1)) if target == "litert" else mine.step(x[:1].repeat(2, 1)[0])
    if numerics == "float":
        report = nk.verify(with_other_weight(made, spiking.module.net.fc.weight, tmp_path / "broken"))
        assert not report.passed


def with_other_weight(artifact, weight, out):
    """Turns the largest weight of a layer around, and gives the folder a fresh manifest: a converter's fault."""
    with write_artifact(out) as draft:
        for file in artifact.path.iterdir():
            if file.name != "manifest.json":
                shutil.copy(file, draft.path)
        held = bytearray((draft.path / "model.tflite").read_bytes())
        at = held.find(weight.detach().numpy().astype("<f4").tobytes())
        assert at > 0
        held[at + 4 * int(weight.detach().abs().argmax()) + 3] ^= 0x80  # the byte with its sign
        (draft.path / "model.tflite").write_bytes(bytes(held))
        draft.manifest = artifact.manifest.model_copy(update={"files": {}, "parity": None})
    return draft.artifact


@pytest.mark.slow  # as above
def test_a_network_without_neurons(tmp_path, capsys):
    from neurokit.cli import main

    made = nk.lower(cnn_spec(), "litert", tmp_path / "m")
    assert ParityReport.from_json(made.manifest.parity).passed
    x = torch.rand(1, 1, 8, 8)
    with nk.open(made) as runner, torch.no_grad():
        np.testing.assert_allclose(runner(x.numpy()), small_cnn()(x).numpy(), atol=1e-5)
    assert main(["verify", str(tmp_path / "m")]) == 0
    assert main(["bench", str(tmp_path / "m"), "--seconds", "0.1", "--json"]) == 0
    lines = capsys.readouterr().out
    rows = json.loads(lines[lines.index("{") :])
    assert "litert" in json.dumps(rows)


def test_what_is_refused_before_an_environment_is_made(spiking, tmp_path, monkeypatch):
    monkeypatch.setattr(environment, "_make", lambda home: pytest.fail("it was made"))
    with pytest.raises(UnsupportedError, match="litert-step") as caught:
        nk.lower(cnn_spec(), "litert-step", tmp_path / "m")
    assert "no step" in str(caught.value.reasons[0].why)
    with pytest.raises(InputError, match="no option"):
        nk.lower(spiking, "litert", tmp_path / "m", precision="int8")
    with pytest.raises(UnsupportedError) as caught:
        nk.lower(nk.capture("spiking_cnn", time_steps="dynamic"), "litert", tmp_path / "m")
    assert "fixed sizes" in caught.value.reasons[0].why
    volumes = nn.Sequential(nn.Conv3d(1, 2, 3), nn.ConvTranspose3d(2, 1, 2, stride=2)).eval()
    with pytest.raises(UnsupportedError) as caught:
        nk.lower(
            nk.capture(ModelSpec("up", lambda: volumes, (TensorSpec("x", (1, 4, 4, 4)),))), "litert", tmp_path / "m"
        )
    assert [(reason.path, reason.what) for reason in caught.value.reasons] == [("1", "conv_transpose3d")]
    assert not (tmp_path / "m").exists()


def test_files_of_others_are_opened_as_they_are_data(tmp_path, monkeypatch):
    """Verification shares much with that of packages, which are machine code and ask for trust."""
    from neurokit.export.litert import run

    made = nk.lower(cnn_spec(), "onnx", tmp_path / "m", verified=False).with_target_info(calls=[])
    assert not native.is_noted(made.manifest)
    monkeypatch.setattr(run, "LiteRtRunner", lambda *given, **_: given)
    assert run.LiteRtProbe(made).runner() == (made,)


def test_an_environment_that_cannot_be_made_leaves_nothing(tmp_path, monkeypatch, capsys):
    home = tmp_path / "cache" / "env"
    monkeypatch.setattr(environment, "place", lambda: home)
    monkeypatch.delenv(environment.PYTHON, raising=False)

    def fails(command, **_):
        if "pip" in command:
            raise subprocess.CalledProcessError(1, command, stderr="ERROR: no network\n")
        (home / "bin").mkdir(parents=True)
        (home / "bin" / "python").symlink_to(sys.executable)

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(MissingRuntimeError, match="no network"):
        environment.interpreter()
    assert not home.exists()
    assert "once" in capsys.readouterr().err
    monkeypatch.setenv(environment.PYTHON, str(tmp_path / "nowhere"))
    with pytest.raises(MissingRuntimeError, match="does not run"):
        environment.interpreter()


@pytest.mark.parametrize(
    ("line", "kind"), [('{"refused": "an operator"}', UnsupportedError), ("", MissingRuntimeError)]
)
def test_what_the_converter_says_is_one_line(line, kind, tmp_path, monkeypatch):
    worker = tmp_path / "python"
    worker.write_text(f"#!/bin/sh\necho '{line}'\necho trouble >&2\n")
    worker.chmod(0o755)
    monkeypatch.setenv(environment.PYTHON, str(worker))
    with pytest.raises(kind, match=r"operator|trouble"):
        environment.convert({tmp_path / "a.pt2": tmp_path / "a.tflite"}, "net")


class Doubles:
    """A session of four rows that doubles them."""

    inputs, outputs = ("x",), ("y",)

    def shapes(self):
        return {"x": (4,)}

    def run(self, names, feeds):
        assert len(feeds["x"]) == 4
        return [2 * feeds["x"]]


@pytest.mark.parametrize("count", [1, 4, 9])
def test_rows_of_any_number_go_through_a_file_of_fixed_size(count):
    x = np.arange(count, dtype=np.float32)
    (found,) = RowSession(Doubles(), 4).run(["y"], {"x": x})
    np.testing.assert_array_equal(found, 2 * x)
    with pytest.raises(ArtifactError, match=r"takes \[4\] of 'x', and its manifest says 8"):
        RowSession(Doubles(), 8)

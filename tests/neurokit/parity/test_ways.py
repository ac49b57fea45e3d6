"""Thorough verification: every level, thread count and batch, and faults that only some of them show."""

import dataclasses
import json

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit import cli
from neurokit.errors import InputError
from neurokit.export.onnx.probe import OnnxProbe
from neurokit.parity.probing import RunnerProbe
from neurokit.parity.ways import BATCHES, LEVELS, THREADS, run_every_way


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifacts")
    captured = nk.capture(nk.load("spiking_cnn"))
    made = nk.exact(captured, torch.rand(4, 3, 1, 8, 8))
    found = {form: nk.lower(made, form, folder / form, verified=False) for form in ("onnx", "onnx-scan", "onnx-step")}
    return found | {"float": nk.lower(captured, "onnx", folder / "float", verified=False)}


@pytest.mark.parametrize("form", ["onnx", "onnx-scan", "onnx-step"])
def test_an_exact_artifact_is_equal_in_all_ways(form, artifacts):
    report = nk.verify(artifacts[form], thorough=True)
    assert report.verdict == "exact"
    assert {(w.level, w.threads, w.batch) for w in report.ways} == {
        (level, threads, batch) for level in LEVELS for threads in THREADS for batch in BATCHES
    }
    assert all(way.flips == 0 and way.outputs_equal and way.output_error == 0.0 for way in report.ways)
    for way in report.ways:
        assert way.decisions == way.batch * report.spikes_compared > 0
    assert nk.Artifact.load(artifacts[form].path).manifest.parity["ways"][0]["flips"] == 0


class Wrong(OnnxProbe):
    """The artifact's own probe, with one fault that only shows in some ways."""

    def __init__(self, real, level=3, threads=0):
        self.__dict__.update(real.__dict__)
        self._real, self._level, self._threads = real, level, threads

    def free(self, feeds):
        outputs, spikes = self._real.free(feeds)
        (x,) = feeds.values()
        if self._level == 2 and self._threads == 2 and x.shape[1] == 5:
            spikes = [s.copy() for s in spikes]
            spikes[-1].reshape(-1)[-1] = 1 - spikes[-1].reshape(-1)[-1]
        if self._level == 1 and self._threads == 1 and x.shape[1] == 1:
            outputs = [np.nextafter(y, np.float32(9)) for y in outputs]
        return outputs, spikes


def test_one_flip_in_one_way_and_one_bit_in_another_are_found(artifacts, monkeypatch):
    from neurokit.parity import check
    from neurokit.parity.vectors import FILE, Vectors
    from neurokit.target import TARGETS

    artifact = artifacts["onnx"]
    real = TARGETS.get("onnx").probe(artifact)
    ways = run_every_way(artifact, Vectors.load(artifact.file(FILE)), lambda **options: Wrong(real, **options))
    off = {(w.level, w.threads, w.batch): (w.flips, w.outputs_equal) for w in ways if w.flips or not w.outputs_equal}
    assert off == {(2, 2, 5): (1, True), (1, 1, 1): (0, False)}
    monkeypatch.setattr(check, "run_every_way", lambda *given: ways)
    report = nk.verify(artifact, thorough=True, record=False)
    assert report.verdict == "failed"
    assert "2 of 16 ways" in report.notes[-1]


def test_a_flip_that_no_near_miss_explains_fails_a_float_artifact(artifacts, monkeypatch):
    """The fault shows on one level only; exit status and words both say no."""
    from neurokit.parity import check
    from neurokit.parity.vectors import FILE, Vectors
    from neurokit.target import TARGETS

    artifact = artifacts["float"]
    real = TARGETS.get("onnx").probe(artifact)
    ways = run_every_way(artifact, Vectors.load(artifact.file(FILE)), lambda **options: Wrong(real, **options))
    assert [(way.level, way.threads, way.batch) for way in ways if way.fault] == [(2, 2, 5)]
    assert all(way.judged for way in ways if way.flips)
    monkeypatch.setattr(check, "run_every_way", lambda *given: ways)
    report = nk.verify(artifact, thorough=True, record=False)
    assert not report.passed
    assert "running freely" in report.notes[-1]


def test_flips_that_nothing_can_judge_do_not_pass(artifacts, monkeypatch):
    from neurokit.parity import check
    from neurokit.reports import WayParity

    ways = (WayParity(0, 1, 1, 100, 0, True, 0.0), WayParity(3, 2, 5, 500, 7, False, 0.1))
    monkeypatch.setattr(check, "run_every_way", lambda *given: ways)
    report = nk.verify(artifacts["float"], thorough=True, record=False)
    assert report.verdict == "failed"
    assert "no currents to judge them by" in report.notes[-1]


def test_a_float_artifact_tells_its_flips_without_failing(artifacts):
    report = nk.verify(artifacts["float"], thorough=True)
    assert report.passed
    assert len(report.ways) == 16
    assert max(way.output_error for way in report.ways) < 0.5


def test_a_planted_weight_fails_in_every_way(artifacts, tamper_tensor, tmp_path):
    artifact = artifacts["onnx"]

    def scale(value):
        value.reshape(-1)[np.abs(value).argmax()] *= np.float32(1 + 2.0**-6)
        return value

    broken = tamper_tensor(artifact, lambda name: name.endswith("weight"), scale, tmp_path / "a")
    assert nk.verify(broken, thorough=True).verdict == "failed"


def test_fixed_batches_and_networks_without_neurons(tmp_path):
    fixed = nk.lower(nk.exact(nk.capture(nk.load("spiking_cnn"), batch=3)), "onnx", tmp_path / "a", verified=False)
    report = nk.verify(fixed, thorough=True)
    assert report.verdict == "exact"
    assert {way.batch for way in report.ways} == {3}
    plain = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 5))
    captured = nk.capture(plain.eval(), torch.rand(2, 1, 8, 8))
    report = nk.verify(nk.lower(captured, "onnx", tmp_path / "b", verified=False), thorough=True)
    assert report.passed
    assert {way.batch for way in report.ways} == {1, 5}
    assert all(way.output_error <= report.output_tolerance for way in report.ways)


def test_a_target_without_levels_is_refused(artifacts):
    from neurokit.parity.vectors import FILE, Vectors

    artifact = artifacts["onnx"]
    other = dataclasses.replace(artifact, manifest=artifact.manifest.model_copy(update={"target": "nir"}))
    with pytest.raises(InputError, match="thoroughly"):
        run_every_way(other, Vectors.load(artifact.file(FILE)), lambda **options: RunnerProbe(artifacts["onnx"], None))


def test_the_command_line(artifacts, capsys):
    assert cli.main(["verify", str(artifacts["onnx"].path), "--thorough", "--json"]) == 0
    assert len(json.loads(capsys.readouterr().out)["reports"][0]["ways"]) == 16
    assert cli.main(["verify", str(artifacts["onnx"].path), "--thorough"]) == 0
    assert "16 ways" in capsys.readouterr().out

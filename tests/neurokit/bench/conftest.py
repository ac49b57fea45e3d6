"""Artifacts of a small network, exported once for all tests of the benchmark."""

import dataclasses
import json
import shutil

import pytest

import neurokit as nk
from neurokit.bench.events import failed
from neurokit.bench.job import Job, Rules
from neurokit.bench.measure import measure


@pytest.fixture
def whole_rules(monkeypatch):
    """The rules that a user's measurement has, in place of the tests' short ones."""
    monkeypatch.setattr(Rules.__init__, "__defaults__", tuple(entry.default for entry in dataclasses.fields(Rules)))


@pytest.fixture
def in_this_process(monkeypatch):
    """Runs a command's jobs here: a process a job, which imports PyTorch anew, is for the tests of processes."""

    def run_jobs(jobs, command, collector):
        assert command[-1] == "neurokit.bench.worker"
        for job in jobs:
            collector.begin(job)
            given = Job.from_json(json.loads(json.dumps(job.to_json())))
            try:
                from neurokit.bench.subjects import find_subject

                event = {"event": "row", "row": measure(find_subject(given), given)}
            except Exception as error:  # as in neurokit/bench/worker.py
                event = failed(error)
            collector.take(json.dumps(event))

    monkeypatch.setattr("neurokit.bench.run.run_jobs", run_jobs)


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Folders of the small digits network by target."""
    captured = nk.capture(nk.load("spiking_cnn"), time_steps=4)
    out = tmp_path_factory.mktemp("artifacts")
    return {target: nk.lower(captured, target, out / target).path for target in ("onnx", "onnx-step")}


@pytest.fixture
def mismatched(artifacts, tmp_path):
    """A copy whose verification is on record as failed."""
    folder = tmp_path / "mismatched"
    shutil.copytree(artifacts["onnx"], folder)
    artifact = nk.Artifact.load(folder)
    report = {**artifact.manifest.parity, "verdict": "failed", "passed": False}
    artifact.with_parity(report)
    assert json.loads((folder / "manifest.json").read_text())["parity"]["verdict"] == "failed"
    return folder

"""The benchmark on real artifacts: every scenario, failing subjects and bad input."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import neurokit as nk
from neurokit import cli
from neurokit.bench import measure as measuring
from neurokit.bench import pack as packing
from neurokit.bench.environment import Snapshot
from neurokit.bench.events import Collector, run_jobs
from neurokit.bench.job import Job
from neurokit.bench.run import BenchRun
from neurokit.bench.subject import Subject
from neurokit.errors import ArtifactError, InputError, ParityError
from neurokit.reports import LatencyReport

from .rules import FAST

ROOT = Path(__file__).parents[3]


class Runner:
    """A subject that takes what a fixed stream says, on a clock of its own."""

    def __init__(self, durations, clock):
        self.durations, self.clock = iter(durations), clock

    def __call__(self, x):
        self.clock[0] += next(self.durations)
        return x

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        pass


def simulated(durations, busy):
    """Measures a fixed stream; `busy` is how many CPUs everything together uses."""
    clock = [0.0]
    subject = Subject("m", "t", lambda: Runner(durations, clock), np.zeros((1, 2), np.float32))
    return LatencyReport.from_json(
        measuring.measure(
            subject,
            Job("artifact", "x", meter="none"),
            clock=lambda: clock[0],
            look=lambda: Snapshot(clock[0], clock[0], busy * clock[0]),
        )
    )


def steady():
    while True:
        yield from (0.0100, 0.0101, 0.0102)


@pytest.mark.usefixtures("whole_rules")
def test_a_quiet_steady_run_is_valid():
    found = simulated(steady(), busy=1.0)
    assert (found.verdict, found.reasons) == ("VALID", ())
    assert len(found.samples_s) >= 980
    assert found.p50.value == pytest.approx(0.0101)
    assert found.warm_up["settled"]


@pytest.mark.usefixtures("whole_rules")
def test_planted_background_load_makes_it_invalid():
    found = simulated(steady(), busy=2.0)
    assert found.verdict == "INVALID"
    assert found.reasons == ("competing load: other processes used 1.00 CPUs, more than 0.10",)


@pytest.mark.usefixtures("whole_rules")
def test_planted_noise_makes_it_invalid():
    def noisy():
        while True:
            yield from (0.010, 0.010, 0.014)

    assert simulated(noisy(), busy=1.0).reasons[0].startswith("coefficient of variation")


@pytest.mark.parametrize(
    ("target", "scenario", "batch"),
    [
        ("onnx", "single", 1),
        ("onnx", "offline", 16),
        ("onnx", "multi", 1),
        ("onnx-step", "stream", 1),
        ("onnx-step", "single", 1),
    ],
)
def test_scenarios(artifacts, target, scenario, batch):
    job = Job("artifact", str(artifacts[target]), scenario, threads=1, streams=2, deadline_s=0.002, rules=FAST)
    from neurokit.bench.subjects import find_subject

    found = LatencyReport.from_json(measuring.measure(find_subject(job), job))
    assert (found.model, found.target, found.scenario, found.batch) == ("spiking_cnn", target, scenario, batch)
    assert found.streams == (2 if scenario == "multi" else 1)
    assert len(found.samples_s) >= 20
    assert found.deadline_s == (0.002 if scenario == "stream" else None)
    assert (found.misses is not None) == (found.jitter is not None) == (scenario == "stream")
    assert found.output_error < 1e-3
    assert found.verdict == "INVALID"  # so short a run carries no claim
    assert found.load_s > 0
    assert found.first_s > 0
    assert found.memory["cpu"] > found.memory["cpu_added"] >= 0
    assert found.energy is None or found.energy.kind == "measured"
    assert found.energy_note
    assert found.environment["providers"] == ["CPUExecutionProvider"]
    assert found.environment["during"]["own_cpus"] > 0
    assert LatencyReport.from_json(json.loads(json.dumps(found.to_json()))) == found


def test_the_api_measures_artifacts_and_modules(artifacts):
    import torch

    options = {"seconds": 0.1, "threads": 1, "meter": "none"}
    assert nk.benchmark(artifacts["onnx"], **options).target == "onnx"
    module = torch.nn.Sequential(torch.nn.Linear(4, 3))
    found = nk.benchmark(module, example_inputs=torch.zeros(2, 4), batch=5, **options)
    assert (found.target, found.batch, found.time_steps) == ("torch-eager", 5, None)


def test_accuracy_is_counted(artifacts, tmp_path):
    """Oracle: the labels are the runner's own answers, with every fourth one wrong."""
    x = np.random.default_rng(0).random((8, 1, 8, 8), dtype=np.float32)
    with nk.open(artifacts["onnx"]) as runner:
        y = np.array([int(runner(np.repeat(one[None, None], 4, axis=0)).argmax()) for one in x])
    y[::4] = (y[::4] + 1) % 10
    np.savez(tmp_path / "d.npz", x=x, y=y)
    found = nk.benchmark(artifacts["onnx"], seconds=0.1, threads=1, data=str(tmp_path / "d.npz"))
    assert found.accuracy == {"correct": 6, "total": 8, "data": "d.npz"}
    np.savez(tmp_path / "bad.npz", x=x[:, 0, 0], y=y)
    with pytest.raises(InputError, match="x has shape"):
        nk.benchmark(artifacts["onnx"], seconds=0.1, data=str(tmp_path / "bad.npz"))


def test_what_is_no_artifact_is_refused(tmp_path, capsys):
    assert cli.main(["bench", str(tmp_path)]) == 2
    assert "has no manifest.json" in capsys.readouterr().err
    assert cli.main(["bench", "no/such/folder"]) == 2
    with pytest.raises(ArtifactError):
        nk.benchmark(tmp_path)


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scenario", "fast"],
        ["--deadline", "soon"],
        ["--meter", "sundial"],
        ["--meter", "csv:"],
        ["--seconds", "0"],
        ["--out", "no/such/x.json"],
        ["--numerics", "fp3"],
        ["--numerics", "exact", "--bits", "1"],
        ["--batch", "-1"],
        ["--data", "no/such.npz"],
        ["--input-shape", "3,x"],
        ["--target", "torch-egaer"],
    ],
)
def test_bad_options_end_it_at_once(artifacts, arguments, capsys, monkeypatch):
    monkeypatch.setattr("neurokit.bench.run.run_here", lambda *given: pytest.fail("something was measured"))
    assert cli.main(["bench", str(artifacts["onnx"]), *arguments]) == 2
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    assert said.err.startswith("error: ")
    assert len(said.err.splitlines()) <= 3  # what, what was expected, how to fix


def test_a_failed_parity_is_refused_and_printed_when_overridden(mismatched, tmp_path, capsys):
    assert cli.main(["bench", str(mismatched)]) == 1
    assert "failed its verification" in capsys.readouterr().err
    with pytest.raises(ParityError):
        nk.benchmark(mismatched)
    with pytest.raises(ParityError):
        packing.write_pack(tmp_path / "p", [Job("artifact", str(mismatched))])
    found = nk.benchmark(mismatched, seconds=0.1, threads=1, allow_mismatch=True)
    assert (found.parity, found.parity_overridden) == ("failed", True)


def test_a_failing_target_is_a_row_and_the_rest_goes_on(artifacts, tmp_path, capsys):
    out, history = tmp_path / "r.json", tmp_path / "h.jsonl"
    arguments = ["--scenario", "stream", "--scenario", "single", "--seconds", "0.1", "--threads", "1"]
    status = cli.main(["bench", str(artifacts["onnx"]), *arguments, "--out", str(out), "--history", str(history)])
    said = capsys.readouterr()
    assert status == 0, said.err
    run = BenchRun.load(out)
    assert [report.scenario for report in run.reports] == ["single"]
    assert [entry["scenario"] for entry in run.failures] == ["stream"]
    assert "no time steps to stream" in said.out
    assert len(history.read_text().splitlines()) == 1


def test_a_crash_is_a_row_that_keeps_its_samples():
    code = (
        "import sys, os, json\n"
        "say = lambda e: print(json.dumps(e), flush=True)\n"
        "job = json.loads(sys.argv[1])\n"
        "if job['source'] == 'late':\n"
        "    say({'event': 'doing', 'what': 'compiling'})\n"
        "    say({'event': 'about', 'row': {'model': 'm'}})\n"
        "    say({'event': 'samples', 'samples_s': [0.1, 0.2], 'left_s': 1})\n"
        "if job['source'] != 'fine': print('out of luck', file=sys.stderr); os._exit(139)\n"
        "print('chatter'); say({'event': 'row', 'row': {'model': 'fine'}})\n"
    )
    shown = []
    collector = Collector(lambda name, share, left: shown.append((name, left)))
    jobs = [Job("artifact", source) for source in ("early", "late", "fine")]
    collector.plan(jobs)
    run_jobs(jobs, [sys.executable, "-c", code], collector)
    late, fine = collector.rows
    assert late["samples_s"] == [0.1, 0.2]
    assert late["verdict"] == "INVALID"
    assert "status 139 (out of luck) after 2 samples" in late["reasons"][0]
    assert fine == {"model": "fine"}
    assert [entry["subject"] for entry in collector.failures] == ["early"]
    assert "before the first samples (starting)" in collector.failures[0]["reason"]
    told = [left for _, left in shown if left is not None]
    assert told == sorted(told, reverse=True)
    assert ("late single (compiling)", None) in shown  # no time left where nobody knows it

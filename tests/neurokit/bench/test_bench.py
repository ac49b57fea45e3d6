"""The benchmark on real artifacts: every scenario, failing subjects, bad input, packs, and a connection that drops."""

import ast
import json
import os
import shutil
import stat
import subprocess
import sys
import venv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import neurokit as nk
from neurokit import cli
from neurokit.bench import measure as measuring
from neurokit.bench import pack as packing
from neurokit.bench.environment import Snapshot
from neurokit.bench.events import Collector, run_jobs
from neurokit.bench.job import Job, Rules
from neurokit.bench.run import BenchRun
from neurokit.bench.ssh import DeviceError, run_there
from neurokit.bench.subject import Subject
from neurokit.errors import ArtifactError, InputError, ParityError
from neurokit.reports import LatencyReport

FAST = Rules(seconds=0.15, samples=20, warm_up_runs=10, warm_up_s=0.02, warm_up_limit_s=0.5)
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


def test_a_quiet_steady_run_is_valid():
    found = simulated(steady(), busy=1.0)
    assert (found.verdict, found.reasons) == ("VALID", ())
    assert len(found.samples_s) >= 980
    assert found.p50.value == pytest.approx(0.0101)
    assert found.warm_up["settled"]


def test_planted_background_load_makes_it_invalid():
    found = simulated(steady(), busy=2.0)
    assert found.verdict == "INVALID"
    assert found.reasons == ("competing load: other processes used 1.00 CPUs, more than 0.10",)


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


@pytest.fixture
def pack(artifacts, tmp_path):
    jobs = [
        Job("artifact", str(artifacts["onnx"]), threads=1, rules=FAST),
        Job("artifact", str(artifacts["onnx-step"]), "stream", threads=1, rules=FAST),
    ]
    return packing.write_pack(tmp_path / "pack", jobs)


BLOCKED = """
import importlib.abc, sys
class Block(importlib.abc.MetaPathFinder):
    names = {"torch", "torchvision", "spikingjelly", "onnx", "onnxscript", "onnx_ir", "pydantic", "rich", "typer",
             "scipy", "psutil", "jinja2", "triton", "numba", "safetensors"}
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in self.names:
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Block())
"""


def test_the_pack_runs_without_torch_and_its_json_comes_back(pack, tmp_path):
    """Also in the processes that the script starts: the block is in a sitecustomize."""
    site = tmp_path / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(BLOCKED)
    env = {**os.environ, "PYTHONPATH": str(site)}
    out = tmp_path / "result.json"
    done = subprocess.run(
        [sys.executable, "bench.py", "--json", str(out)], cwd=pack, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    run = BenchRun.load(out)
    assert run.failures == ()
    assert [(r.target, r.scenario) for r in run.reports] == [("onnx", "single"), ("onnx-step", "stream")]
    assert all(len(r.samples_s) >= 20 and r.output_error < 1e-3 for r in run.reports)
    assert "median" in done.stdout
    page = tmp_path / "page.html"
    assert cli.main(["report", str(out), "--html", str(page)]) == 0
    assert "onnx-step" in page.read_text()


def test_the_pack_holds_only_what_old_pythons_read(pack):
    files = sorted(path.relative_to(pack).as_posix() for path in pack.rglob("*.py"))
    assert "neurokit/bench/method.py" in files
    assert not [name for name in files if "capture" in name or "pipeline" in name]
    for name in files:
        ast.parse((pack / name).read_text(), feature_version=packing.OLDEST_PYTHON)
        source = ROOT / name.replace("neurokit/export", "export")
        if name != "bench.py":
            assert (pack / name).read_bytes() == source.read_bytes()


def test_a_pack_appears_whole_and_is_not_overwritten(pack, artifacts):
    jobs = [Job("artifact", str(artifacts["onnx"]))]
    with pytest.raises(nk.errors.OutputError):
        packing.write_pack(pack, jobs)
    packing.write_pack(pack, jobs, force=True)
    assert len(json.loads((pack / "jobs.json").read_text())) == 1
    with pytest.raises(InputError, match="nothing to pack"):
        packing.write_pack(pack.parent / "p2", [])


def test_a_damaged_pack_says_so(pack, tmp_path):
    (pack / "models/onnx/model.onnx").write_bytes(b"x")
    (pack / "jobs.json").write_text(json.dumps(json.loads((pack / "jobs.json").read_text())[:1]))
    done = subprocess.run(
        [sys.executable, "bench.py", "--json", str(tmp_path / "r.json")], cwd=pack, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "sha256 mismatch" in done.stdout
    (pack / "jobs.json").write_text("nonsense")
    done = subprocess.run([sys.executable, "bench.py"], cwd=pack, capture_output=True, text=True)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


@pytest.mark.slow
def test_the_pack_runs_in_an_environment_of_just_two_packages(pack, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, with_pip=True)
    python = home / "bin/python"
    done = subprocess.run(
        [python, "-m", "pip", "install", "-q", "numpy", "onnxruntime"], capture_output=True, text=True
    )
    if done.returncode:
        pytest.skip(f"pip cannot install here: {done.stderr.splitlines()[-1] if done.stderr else ''}")
    env = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    assert subprocess.run([python, "-c", "import torch"], env=env, capture_output=True).returncode == 1
    out = tmp_path / "r.json"
    done = subprocess.run([python, "bench.py", "--json", str(out)], cwd=pack, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(BenchRun.load(out).reports) == 2


@pytest.fixture
def fake_ssh(tmp_path, monkeypatch):
    """`ssh` and `scp` that act on this machine; a file says where the connection drops."""
    tools = tmp_path / "tools"
    tools.mkdir()
    drop = tmp_path / "drop"
    ssh = f"""#!{sys.executable}
import os, subprocess, sys
remote = sys.argv[-1]
drop = open({str(drop)!r}).read() if os.path.exists({str(drop)!r}) else ""
if drop == "at once":
    sys.stderr.write("No route to host\\n")
    sys.exit(255)
if drop and "bench.py" in remote:
    child = subprocess.Popen(["sh", "-c", remote], stdout=subprocess.PIPE, text=True)
    for line in child.stdout:
        sys.stdout.write(line); sys.stdout.flush()
        if '"event": "samples"' in line:
            child.kill(); sys.stderr.write("Connection to board closed by remote host.\\n"); sys.exit(255)
sys.exit(subprocess.call(["sh", "-c", remote]))
"""
    scp = f"#!{sys.executable}\nimport shutil, sys\nwhere = sys.argv[-1].partition(':')[2]\n"
    scp += "shutil.copytree(sys.argv[-2], where + '/pack')\n"
    for name, text in (("ssh", ssh), ("scp", scp)):
        (tools / name).write_text(text)
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    return drop


def device_jobs(artifacts, **changes):
    return [Job("artifact", str(artifacts["onnx"]), threads=1, rules=replace(FAST, **changes))] * 2


def test_a_dropped_connection_keeps_what_was_measured(fake_ssh, artifacts):
    fake_ssh.write_text("midway")
    run = run_there("user@board", device_jobs(artifacts, seconds=5.0), python=sys.executable)
    (report,) = run.reports
    assert len(report.samples_s) > 10
    assert report.verdict == "INVALID"
    assert report.reasons[0].startswith("the connection to the device was lost after")
    assert any("closed by remote host" in note for note in run.notes)


def test_a_device_out_of_reach(fake_ssh, artifacts):
    fake_ssh.write_text("at once")
    with pytest.raises(DeviceError, match="cannot be reached: No route to host"):
        run_there("user@board", device_jobs(artifacts))
    with pytest.raises(InputError):
        run_there("-oProxyCommand=x", device_jobs(artifacts))


def test_a_device_without_onnxruntime(fake_ssh, artifacts):
    with pytest.raises(DeviceError) as caught:
        run_there("user@board", device_jobs(artifacts), python="/no/such/python")
    assert "onnxruntime" in caught.value.expected


@pytest.fixture
def sshd(tmp_path):
    """A real ssh server on loopback, with a key of its own."""
    server = shutil.which("sshd") or ("/usr/sbin/sshd" if os.path.exists("/usr/sbin/sshd") else None)
    if server is None or shutil.which("ssh-keygen") is None:
        pytest.skip("openssh-server is not installed")
    if os.geteuid() == 0:
        os.makedirs("/run/sshd", exist_ok=True)
    import socket

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", tmp_path / name], check=True)
    (tmp_path / "authorized").write_text((tmp_path / "user.pub").read_text())
    (tmp_path / "authorized").chmod(stat.S_IRUSR | stat.S_IWUSR)
    config = {
        "Port": port,
        "ListenAddress": "127.0.0.1",
        "HostKey": tmp_path / "host",
        "StrictModes": "no",
        "AuthorizedKeysFile": tmp_path / "authorized",
        "PidFile": tmp_path / "pid",
        "UsePAM": "no",
        "PermitRootLogin": "yes",
        "Subsystem": "sftp internal-sftp",
    }
    (tmp_path / "config").write_text("".join(f"{key} {value}\n" for key, value in config.items()))
    with subprocess.Popen([server, "-D", "-e", "-f", tmp_path / "config"], stderr=subprocess.PIPE) as daemon:
        options = [
            f"Port={port}",
            f"IdentityFile={tmp_path / 'user'}",
            "StrictHostKeyChecking=no",
            f"UserKnownHostsFile={tmp_path / 'known'}",
            "IdentitiesOnly=yes",
        ]
        command = ["ssh", *(part for o in options for part in ("-o", o)), "-o", "BatchMode=yes", "127.0.0.1", "true"]
        for _ in range(20):
            tried = subprocess.run(command, capture_output=True, text=True)
            if tried.returncode == 0:
                break
            if daemon.poll() is not None:
                break
        if tried.returncode:
            daemon.kill()
            pytest.skip(f"sshd does not take a connection here: {tried.stderr.strip()[-200:]}")
        yield options
        daemon.kill()


def test_over_a_real_ssh_connection(sshd, artifacts):
    run = run_there("127.0.0.1", device_jobs(artifacts), python=sys.executable, options=sshd)
    assert len(run.reports) == 2
    assert all(report.output_error < 1e-3 for report in run.reports)
    assert run.notes == ("measured on 127.0.0.1 over ssh",)
    with pytest.raises(DeviceError, match="cannot be reached"):
        run_there("127.0.0.1", device_jobs(artifacts), options=["Port=1"])

"""Measuring on another machine: a connection that drops, a device out of reach, and a real server."""

import os
import sys
from dataclasses import replace

import pytest

from neurokit.bench.job import Job
from neurokit.bench.ssh import DeviceError, run_there
from neurokit.errors import InputError

from .rules import FAST


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


def test_over_a_real_ssh_connection(sshd, artifacts):
    run = run_there("127.0.0.1", device_jobs(artifacts), python=sys.executable, options=sshd)
    assert len(run.reports) == 2
    assert all(report.output_error < 1e-3 for report in run.reports)
    assert run.notes == ("measured on 127.0.0.1 over ssh",)
    with pytest.raises(DeviceError, match="cannot be reached"):
        run_there("127.0.0.1", device_jobs(artifacts), options=["Port=1"])

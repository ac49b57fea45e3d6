"""Measuring on another device over ssh: copy a pack there, run it, and keep every sample as it arrives."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from neurokit.bench.events import Collector, Progress
from neurokit.bench.job import Job
from neurokit.bench.pack import SCRIPT, write_pack
from neurokit.bench.run import BenchRun, finished
from neurokit.errors import InputError, MissingRuntimeError, NeurokitError
from neurokit.scratch import scratch

# No question may be asked (nobody is there to answer), and a dead connection must end by itself.
_OPTIONS = ("BatchMode=yes", "ConnectTimeout=10", "ServerAliveInterval=5", "ServerAliveCountMax=3")
_CONNECTION_FAILED = 255  # ssh's own exit status; anything else is that of the remote command


class DeviceError(NeurokitError, ConnectionError):
    """A device that cannot be reached, or that cannot run the benchmark."""

    exit_code = 1


def run_there(
    host: str,
    jobs: Sequence[Job],
    *,
    python: str = "python3",
    options: Sequence[str] = (),
    progress: Progress | None = None,
) -> BenchRun:
    """Runs jobs on ONNX artifacts on a device.

    Args:
        host: `user@board`, as ssh takes it.
        jobs: The jobs.
        python: Python on the device; needs numpy and onnxruntime.
        options: Further ssh options, each as `Name=value`.
        progress: Is told how far everything is.

    Returns:
        What was measured. If the connection was lost midway, what had arrived by then, marked INVALID.

    Raises:
        MissingRuntimeError: If there is no ssh on this machine.
        InputError: If the host or an option is no such thing.
        DeviceError: If the device cannot be reached, or lacks Python, numpy or ONNX Runtime.
    """
    if shutil.which("ssh") is None or shutil.which("scp") is None:
        raise MissingRuntimeError("there is no ssh command here", fix="apt-get install openssh-client")
    if not host or host.startswith("-") or any(character.isspace() for character in host):
        raise InputError(f"--host is {host!r}", expected="user@board, as ssh takes it")
    link = _Link(host, options)
    link.check(python)
    with scratch("pack") as here:
        pack = write_pack(here / "pack", jobs)
        place = link.ask("mktemp -d").strip()
        try:
            link.copy(pack, place)
            return _run(link, f"{place}/pack", python, progress)
        finally:
            with suppress(DeviceError):
                link.ask(f"rm -rf -- {shlex.quote(place)}")


class _Link:
    def __init__(self, host: str, options: Sequence[str]) -> None:
        self.host = host
        self._options = [part for option in (*options, *_OPTIONS) for part in ("-o", option)]

    def command(self, remote: str) -> list[str]:
        return ["ssh", *self._options, "--", self.host, remote]

    def ask(self, remote: str) -> str:
        done = subprocess.run(self.command(remote), capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode == _CONNECTION_FAILED:
            raise self.unreachable(done.stderr)
        if done.returncode:
            raise DeviceError(f"{self.host}: {_last(done.stderr) or remote}", expected=f"{remote!r} to work there")
        return done.stdout

    def check(self, python: str) -> None:
        try:
            self.ask(f"{shlex.quote(python)} -c 'import numpy, onnxruntime'")
        except DeviceError as error:
            if "cannot be reached" in error.what:
                raise
            raise DeviceError(
                error.what,
                expected="Python 3.10 or newer with numpy and onnxruntime on the device",
                fix="python3 -m pip install numpy onnxruntime there, or say which Python with --python",
            ) from error

    def copy(self, folder: Path, place: str) -> None:
        command = ["scp", "-q", "-r", *self._options, "--", str(folder), f"{self.host}:{place}/"]
        done = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
        if done.returncode:
            raise self.unreachable(done.stderr)

    def unreachable(self, said: str) -> DeviceError:
        return DeviceError(
            f"{self.host} cannot be reached: {_last(said) or 'no reason given'}",
            expected="a device that ssh reaches with a key, without a password",
            fix=f"try: ssh {self.host} true",
        )


def _run(link: _Link, place: str, python: str, progress: Progress | None) -> BenchRun:
    collector = Collector(progress)
    notes = [f"measured on {link.host.rpartition('@')[2]} over ssh"]
    script = f"cd {shlex.quote(place)} && exec {shlex.quote(python)} -u {SCRIPT} --events"
    with tempfile.TemporaryFile(mode="w+") as complaints:
        with subprocess.Popen(
            link.command(script), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=complaints, text=True
        ) as child:
            try:
                for line in child.stdout or ():
                    collector.take(line)
            except KeyboardInterrupt:
                child.kill()
                notes.append("stopped by the user before the end")
        complaints.seek(0)
        said = _last(complaints.read())
    if collector.pending or child.returncode == _CONNECTION_FAILED:
        notes.append(f"the connection to the device was lost: {said or 'no reason given'}")
        collector.lost("the connection to the device was lost")
    if not collector.rows and not collector.failures:
        raise DeviceError(f"{link.host}: the benchmark did not start: {said}", expected="events of the benchmark")
    return finished(collector, notes)


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""

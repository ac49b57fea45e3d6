"""Where a figure was obtained: versions, machine and time, without names of hosts, users or folders."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from datetime import datetime, timezone
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from neurokit._version import __version__

# Everything that may take part in a lowering, a run or a simulation.
PACKAGES = (
    "torch",
    "torchvision",
    "spikingjelly",
    "triton",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "onnxruntime-gpu",
    "tensorrt",
    "tensorrt_rtx",
    "nir",
    "numpy",
    "numba",
)
_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def collect() -> dict[str, Any]:
    """Returns a JSON object that says which software on which machine produced a figure, and when (UTC)."""
    return {
        "time": datetime.now(timezone.utc).isoformat(timespec="seconds"),  # noqa: UP017 - Python 3.10 on devices
        "git": git_commit(),
        "versions": versions(),
        "machine": machine(),
        "threads": threads(),
    }


def versions(names: tuple[str, ...] = PACKAGES) -> dict[str, str]:
    """Returns the versions of neurokit, Python and those of `names` that are installed; imports none of them."""
    known = {name: _version(name) for name in names}
    found = {"neurokit": __version__, "python": platform.python_version()}
    return found | {name: value for name, value in known.items() if value is not None}


@cache  # reading them takes longer than verifying a small network; what is imported stays what it was
def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def machine() -> dict[str, Any]:
    """Returns operating system, processor, its clock governor, and the GPU if torch is already loaded."""
    return {
        "system": f"{platform.system()} {platform.release()}",
        "architecture": platform.machine(),
        "cpu": cpu_model(),
        "cpus": _usable_cpus(),
        "governor": _first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor") or "unknown",
        "load_1min": round(os.getloadavg()[0], 2),
        "gpu": _gpu(),
    }


@cache
def cpu_model() -> str:
    """Returns the processor's name as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() in ("model name", "Model", "Processor"):
                return value.strip()
    except OSError:
        pass
    return platform.processor() or "unknown"


def threads() -> dict[str, Any]:
    """Returns the settings that decide how many threads the libraries use."""
    found: dict[str, Any] = {name: os.environ[name] for name in _THREAD_VARIABLES if name in os.environ}
    torch = sys.modules.get("torch")
    if torch is not None:
        found["torch"] = torch.get_num_threads()
    return found


@cache  # the code that runs was loaded from it; asking takes as long as verifying a small network
def git_commit() -> str:
    """Returns the commit of the checkout that neurokit runs from, with "+changes" if it differs, or "" outside one."""
    root = Path(__file__).resolve().parents[1]
    if not (root / ".git").exists():
        return ""
    lines = _git(root, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines()
    commit = next((line.split()[2] for line in lines if line.startswith("# branch.oid ")), "")
    return commit + ("+changes" if any(not line.startswith("#") for line in lines) else "")


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _usable_cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _gpu() -> str | None:
    torch = sys.modules.get("torch")
    return str(torch.cuda.get_device_name()) if torch is not None and torch.cuda.is_available() else None


def _first_line(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()[0].strip()
    except (OSError, IndexError):
        return ""

"""What the machine does while something is measured: background load, clocks, temperatures, throttling."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neurokit.bench import gpu

# Other processes may use this many CPUs' time, or this share of the usable CPUs if that is more.
MAX_COMPETING_CPUS = 0.10
MAX_COMPETING_SHARE = 0.05
MAX_CLOCK_DROP = 0.10


@dataclass(frozen=True)
class Snapshot:
    """The machine's counters at one moment; what it does not tell is None.

    Attributes:
        wall_s: Time.
        own_cpu_s: CPU time of this process and its children.
        busy_cpu_s: CPU time of everything on the CPUs that this process may use, also what a hypervisor took.
        clock_hz: Fastest clock of these CPUs.
        temperature_c: Hottest sensor, in degrees Celsius.
        throttled: Thermal throttling events of these CPUs since boot.
        switches: How often this process had to give up its CPU.
        gpu: What `neurokit.bench.gpu.look` returns.
    """

    wall_s: float
    own_cpu_s: float
    busy_cpu_s: float | None = None
    clock_hz: float | None = None
    temperature_c: float | None = None
    throttled: int | None = None
    switches: int | None = None
    gpu: dict[str, Any] = field(default_factory=dict)


def look(root: Path = Path("/")) -> Snapshot:
    """Returns the counters of this moment.

    Args:
        root: Where proc and sys are.
    """
    times = os.times()
    return Snapshot(
        wall_s=time.monotonic(),
        own_cpu_s=sum(times[:4]),
        busy_cpu_s=_busy(root),
        clock_hz=_clock(root),
        temperature_c=_temperature(root),
        throttled=_throttled(root),
        switches=_switches(),
        gpu=gpu.look(),
    )


class Watch:
    """Compares the machine before and after a measurement.

    Args:
        look: Takes a snapshot.
    """

    def __init__(self, look: Callable[[], Snapshot] = look) -> None:
        self._look = look
        self._before = look()

    def stop(self) -> tuple[dict[str, Any], list[str]]:
        """Returns what was seen, and why the measurement cannot carry a claim."""
        return judge(self._before, self._look())


def judge(before: Snapshot, after: Snapshot) -> tuple[dict[str, Any], list[str]]:
    """Compares two snapshots; returns what was seen, and why a measurement between them cannot carry a claim."""
    wall = max(after.wall_s - before.wall_s, 1e-9)
    competing = None
    if before.busy_cpu_s is not None and after.busy_cpu_s is not None:
        others = (after.busy_cpu_s - before.busy_cpu_s) - (after.own_cpu_s - before.own_cpu_s)
        competing = max(others / wall, 0.0)
    seen = {
        "own_cpus": (after.own_cpu_s - before.own_cpu_s) / wall,
        "competing_cpus": competing,
        "clock_hz": [before.clock_hz, after.clock_hz],
        "temperature_c": [before.temperature_c, after.temperature_c],
        "throttle_events": _difference(before.throttled, after.throttled),
        "switches": _difference(before.switches, after.switches),
        "gpu": [before.gpu, after.gpu] if before.gpu or after.gpu else None,
    }
    return seen, _reasons(seen)


def _reasons(seen: dict[str, Any]) -> list[str]:
    reasons = []
    allowed = max(MAX_COMPETING_CPUS, MAX_COMPETING_SHARE * len(usable_cpus()))
    if seen["competing_cpus"] is not None and seen["competing_cpus"] > allowed:
        reasons.append(
            f"competing load: other processes used {seen['competing_cpus']:.2f} CPUs, more than {allowed:.2f}"
        )
    if seen["throttle_events"]:
        reasons.append(f"throttling: {seen['throttle_events']} thermal events")
    first, last = seen["clock_hz"]
    if first and last and last < (1 - MAX_CLOCK_DROP) * first:
        reasons.append(f"the CPU's clock fell from {first / 1e9:.2f} to {last / 1e9:.2f} GHz")
    return reasons + _gpu_reasons(*(seen["gpu"] or ({}, {})))


def _gpu_reasons(before: dict[str, Any], after: dict[str, Any]) -> list[str]:
    reasons = []
    if gpu.throttled(before) or gpu.throttled(after):
        reasons.append("throttling: the GPU reports a slowdown")
    first, last = before.get("clock_hz"), after.get("clock_hz")
    if first and last and last < (1 - MAX_CLOCK_DROP) * first:
        reasons.append(f"the GPU's clock fell from {first / 1e9:.2f} to {last / 1e9:.2f} GHz")
    if after.get("other_processes"):
        reasons.append(f"competing load: {after['other_processes']} other processes hold the GPU")
    return reasons


def usable_cpus() -> list[int]:
    """Returns the numbers of the CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def _difference(before: int | None, after: int | None) -> int | None:
    return None if before is None or after is None else after - before


def _busy(root: Path) -> float | None:
    """Returns the busy seconds of the usable CPUs: user, nice, system, irq, softirq and steal (man 5 proc_stat)."""
    try:
        lines = (root / "proc/stat").read_text().splitlines()
        ticks = os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, AttributeError):
        return None
    wanted = {f"cpu{number}" for number in usable_cpus()}
    rows = [[int(value) for value in line.split()[1:9]] for line in lines if line.split(" ", 1)[0] in wanted]
    return sum(sum(row[:3]) + sum(row[5:8]) for row in rows) / ticks if rows else None


def _clock(root: Path) -> float | None:
    """Returns the fastest present clock in Hz; from cpufreq (in kHz), else from cpuinfo (in MHz)."""
    cpus = root / "sys/devices/system/cpu"
    found = [_number(cpus / f"cpu{number}/cpufreq/scaling_cur_freq") for number in usable_cpus()]
    known = [value * 1e3 for value in found if value]
    if not known:
        try:
            lines = (root / "proc/cpuinfo").read_text().splitlines()
        except OSError:
            return None
        known = [float(line.partition(":")[2]) * 1e6 for line in lines if line.startswith("cpu MHz")]
    return max(known, default=None)


def _temperature(root: Path) -> float | None:
    found = [_number(path) for path in (root / "sys/class/thermal").glob("thermal_zone*/temp")]
    return max((value / 1e3 for value in found if value is not None), default=None)


def _throttled(root: Path) -> int | None:
    cpus = root / "sys/devices/system/cpu"
    found = [_number(path) for path in cpus.glob("cpu[0-9]*/thermal_throttle/*_throttle_count")]
    known = [int(value) for value in found if value is not None]
    return sum(known) if known else None


def _switches() -> int | None:
    try:
        import resource
    except ImportError:
        return None
    return resource.getrusage(resource.RUSAGE_SELF).ru_nivcsw


def _number(path: Path) -> float | None:
    try:
        return float(path.read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return None

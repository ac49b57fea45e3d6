"""The method: warm up until the times have settled, then time every call by itself; standard library only.

The scenarios follow MLPerf Inference (single stream, multi-stream, offline), with one more for networks that keep
their state: a stream, in which every time step has its period and must be done within it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from neurokit.bench.job import Rules

Clock = Callable[[], float]
# Called now and then between two samples: the samples since the last call, and about how many seconds are left.
Observer = Callable[[Sequence[float], float], None]

_REPORT_EVERY_S = 0.5
_SETTLED = 0.03
# A sleeping process wakes up late, so the last part of a wait is spent awake.
_AWAKE_S = 0.001


@dataclass(frozen=True)
class WarmUp:
    """How warming up went.

    Attributes:
        runs: Number of runs.
        seconds: How long it took.
        settled: Whether the median had stopped changing.
    """

    runs: int
    seconds: float
    settled: bool


def warm_up(call: Callable[[], object], rules: Rules, clock: Clock = time.perf_counter) -> WarmUp:
    """Runs until the median of the last quarter of the runs equals that of the quarter before it within 3 %."""
    taken: list[float] = []
    start = now = clock()
    while now - start < rules.warm_up_limit_s:
        call()
        before, now = now, clock()
        taken.append(now - before)
        if len(taken) >= rules.warm_up_runs and now - start >= rules.warm_up_s and _settled(taken):
            return WarmUp(len(taken), now - start, True)
    return WarmUp(len(taken), now - start, _settled(taken))


def _settled(taken: Sequence[float]) -> bool:
    quarter = max(5, len(taken) // 4)
    if len(taken) < 2 * quarter:
        return False
    last, before = (statistics.median(part) for part in (taken[-quarter:], taken[-2 * quarter : -quarter]))
    return abs(last - before) <= _SETTLED * before


def back_to_back(
    call: Callable[[], object], rules: Rules, *, clock: Clock = time.perf_counter, observe: Observer | None = None
) -> tuple[list[float], float]:
    """Times calls one after the other.

    Returns:
        Every sample, and how long all of it took, both in seconds.
    """
    found: list[float] = []
    add, wanted, seconds, limit = found.append, rules.samples, rules.seconds, rules.limit_s
    start = clock()
    report_at = start + _REPORT_EVERY_S
    while True:
        before = clock()
        call()
        after = clock()
        add(after - before)
        elapsed = after - start
        if (elapsed >= seconds and len(found) >= wanted) or elapsed >= limit:
            return found, elapsed
        if observe is not None and after >= report_at:
            observe(found, time_left(len(found), elapsed, rules))
            report_at = clock() + _REPORT_EVERY_S


def paced(
    step: Callable[[], object],
    period_s: float,
    rules: Rules,
    *,
    clock: Clock = time.perf_counter,
    sleep: Callable[[float], object] = time.sleep,
    observe: Observer | None = None,
) -> tuple[list[float], float]:
    """Times steps that are released once a period, as by a sensor; a late step makes the next ones wait.

    Returns:
        The time from each release to its answer, and how long all of it took, both in seconds.
    """
    found: list[float] = []
    start = clock()
    release, report_at = start, start + _REPORT_EVERY_S
    while True:
        _wait_until(release, clock, sleep)
        step()
        after = clock()
        found.append(after - release)
        release += period_s
        elapsed = after - start
        if (elapsed >= rules.seconds and len(found) >= rules.samples) or elapsed >= rules.limit_s:
            return found, max(elapsed, len(found) * period_s)
        if observe is not None and after >= report_at and release - after > _AWAKE_S:
            observe(found, time_left(len(found), elapsed, rules))
            report_at = clock() + _REPORT_EVERY_S


def _wait_until(moment: float, clock: Clock, sleep: Callable[[float], object]) -> None:
    while (left := moment - clock()) > 0:
        if left > _AWAKE_S:
            sleep(left - _AWAKE_S)


def at_once(calls: Sequence[Callable[[], object]], pool: ThreadPoolExecutor) -> Callable[[], object]:
    """Returns a call that starts all of `calls` at once, a thread each, and ends with the last of them."""

    def call() -> None:
        for pending in [pool.submit(each) for each in calls]:
            pending.result()

    return call


def time_left(count: int, elapsed_s: float, rules: Rules) -> float:
    """Returns about how many seconds a measurement will still take."""
    missing = max(rules.samples - count, 0) * (elapsed_s / count if count else 0.0)
    return min(max(rules.seconds - elapsed_s, missing, 0.0), max(rules.limit_s - elapsed_s, 0.0))

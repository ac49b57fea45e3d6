"""Finds every kernel's launch parameters on the GPU at hand, in the form that kernels/configs ships.

    python benchmarks/tune_kernels.py --out kernels/configs/NVIDIA_H200.json --processes 12

Compiling takes longer than measuring, so processes of their own compile all candidates first, side by side; then one
process alone measures them.
"""

from __future__ import annotations

import argparse
import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from gpu_timing import graph_time
from kernel_parts.parity import definition
from kernel_parts.tuning import PARTS, Config, Job

from neurokit.kernels import config


def attempt(job: Job, candidate: Config, call: Callable[[], Any], run: Callable[[Callable[[], Any]], Any]) -> Any:
    """Runs a candidate; one that needs more than the GPU has is no candidate, and gives None."""
    with config.override(job.kernel, candidate):
        try:
            return run(call)
        except Exception as error:
            torch.cuda.synchronize()
            print(f"  {job.kernel} {candidate}: {type(error).__name__} {str(error)[:80]}", flush=True)
            return None


def gives(job: Job, candidate: Config, call: Callable[[], Any], bits: torch.Tensor) -> bool:
    """Returns whether a candidate gives these bits: an assembler may compile one set of parameters to wrong code."""
    found = attempt(job, candidate, call, lambda call: call())
    equal = found is not None and torch.equal(found, bits)
    if found is not None and not equal:
        print(f"  {job.kernel} {job.key} {candidate}: {int((found != bits).sum())} of {bits.numel()} wrong", flush=True)
    return equal


def near(job: Job, candidate: Config, call: Callable[[], Any], usual: torch.Tensor) -> bool:
    """Returns whether a candidate comes within bf16's rounding of another's output; tiles change the order of sums."""
    found = attempt(job, candidate, call, lambda call: call())
    off = None if found is None else float((found.float() - usual.float()).abs().max() / usual.float().abs().max())
    if off is not None and not off < 0.02:
        print(f"  {job.kernel} {job.key} {candidate}: {off:.3f} of the largest output away", flush=True)
    return off is not None and off < 0.02


def compile_share(jobs: Iterator[Job], share: int, of: int) -> None:
    """Runs every candidate of this process's jobs once, so that the compiler's cache has them."""
    pairs = [(job, candidate) for job in jobs for candidate in job.candidates]
    for job, candidate in pairs[share::of]:
        attempt(job, candidate, job.work(), lambda call: (call(), torch.cuda.synchronize()))


def measure(jobs: Iterator[Job], table: dict[str, dict[str, Config]], deadline: float) -> None:
    """Times all candidates of all jobs and enters the best into the table."""
    time_it = lambda call: graph_time(call, target_ms=4.0, replays=5)  # noqa: E731
    for job in jobs:
        if time.monotonic() > deadline:
            print("out of time before", job.kernel, job.key, flush=True)
            return
        call = job.work()
        right = job.candidates
        if job.exact:
            bits = definition(call)
            right = [c for c in right if gives(job, c, call, bits)]
        elif job.close:
            usual = call()
            right = [c for c in right if near(job, c, call, usual)]
        timed = [(attempt(job, c, call, time_it), c) for c in right]
        timed = [(seconds, c) for seconds, c in timed if seconds is not None]
        line = " ".join(f"{s * 1e6:.1f}:{'/'.join(map(str, c.values()))}" for s, c in sorted(timed, key=lambda x: x[0]))
        if timed:
            seconds, best = min(timed, key=lambda x: x[0])
            entry = dict(best)
            if job.rival is not None:
                del call
                other = attempt(job, {}, job.rival(), time_it)
                entry["path"] = job.names[0] if other is None or seconds < other else job.names[1]
                line += f" | {job.names[1]} {0.0 if other is None else other * 1e6:.1f}"
            table.setdefault(job.kernel, {})[",".join(map(str, job.key))] = entry
        print(f"{job.kernel} {job.key}: {line}", flush=True)
        call = None
        torch.cuda.empty_cache()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--limit", type=float, default=600.0, help="seconds after which nothing more is tried")
    parser.add_argument("--part", nargs="*", default=list(PARTS), help="what to tune; the rest of the file stays")
    parser.add_argument("--processes", type=int, default=1, help="processes that compile")
    parser.add_argument("--share", type=int, help="only compile this share of the jobs (what --processes starts)")
    arguments = parser.parse_args()
    deadline = time.monotonic() + arguments.limit
    jobs = lambda: itertools.chain.from_iterable(PARTS[name]() for name in arguments.part)  # noqa: E731
    if arguments.share is not None:
        compile_share(jobs(), arguments.share, arguments.processes)
        return
    if arguments.processes > 1:
        command = [sys.executable, *sys.argv, "--share"]
        helpers = [subprocess.Popen([*command, str(i)]) for i in range(arguments.processes)]
        for helper in helpers:
            try:
                helper.wait(max(1.0, deadline - 0.4 * arguments.limit - time.monotonic()))
            except subprocess.TimeoutExpired:  # what is missing in the cache is compiled when it is measured
                helper.terminate()
        print(f"compiled after {time.monotonic() - deadline + arguments.limit:.0f} s", flush=True)
    record: dict[str, Any] = {"kernels": {}}
    if arguments.out.exists():
        record = json.loads(arguments.out.read_text(encoding="utf-8"))
    import triton

    name, capability = config.gpu_at(torch.cuda.current_device())
    record |= {"gpu": name, "compute_capability": capability, "torch": torch.__version__, "triton": triton.__version__}
    for kernel in {job.kernel for job in jobs()}:
        record["kernels"].pop(kernel, None)
    for name in arguments.part:
        measure(PARTS[name](), record["kernels"], deadline)
        arguments.out.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

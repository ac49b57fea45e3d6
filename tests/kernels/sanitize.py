"""Runs every kernel under compute-sanitizer's memcheck and racecheck on the GPU at hand.

python tests/kernels/sanitize.py [kernel ...]

Writes a line for each kernel and tool; the exit status is 1 if anything was reported, or did not finish.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from neurokit.kernels.contract import KERNELS

TOOLS = {"memcheck": r"ERROR SUMMARY: (\d+) error", "racecheck": r"RACECHECK SUMMARY: (\d+) hazard"}
SECONDS = 240
AT_ONCE = 8


def check(job: tuple[str, str]) -> tuple[str, bool]:
    """Runs one kernel under one tool; returns a line and whether nothing was found."""
    name, tool = job
    script = Path(__file__).with_name("run_examples.py")
    # Without the caching allocator every tensor is an allocation of its own, whose ends memcheck knows.
    environment = {**os.environ, "PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    try:
        done = subprocess.run(
            ["compute-sanitizer", "--tool", tool, sys.executable, str(script), name],
            capture_output=True,
            text=True,
            env=environment,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return f"{name:18} {tool:10} not finished in {SECONDS} s", False
    found = re.search(TOOLS[tool], done.stdout)
    ran = re.search(r"(\d+) examples ran", done.stdout)
    if found is None or ran is None:
        return f"{name:18} {tool:10} broke off: {(done.stdout + done.stderr)[-600:]}", False
    clean = found.group(1) == "0"
    details = "" if clean else "\n" + done.stdout[:1500]
    return f"{name:18} {tool:10} {ran.group(1)} examples, {found.group(1)} reported{details}", clean


def main() -> None:
    """Checks the named kernels, or all."""
    jobs = [(name, tool) for name in sys.argv[1:] or KERNELS.names() for tool in TOOLS]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = []
        for line, clean in pool.map(check, jobs):
            print(line, flush=True)
            results.append(clean)
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()

"""Runs the parts of benchmarks/kernels.py on several GPUs of one machine at once, and joins their records."""

from __future__ import annotations

import argparse
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# What belongs together on one GPU, longest first; a part that is not here gets a task of its own.
GROUPS = (("attention", "linear"), ("lif", "words", "batch_one"), ("parity", "registered", "convolution", "depthwise"))


def tasks(arguments: argparse.Namespace) -> list[list[str]]:
    """Returns the arguments of every task: a group of parts."""
    wanted = [[part for part in group if part in arguments.part] for group in GROUPS]
    grouped = {part for group in GROUPS for part in group}
    wanted += [[part] for part in arguments.part if part not in grouped]
    helpers = ["--processes", str(arguments.processes)]
    return [["--part", *group, *helpers] for group in wanted if group]


def join(records: list[dict[str, Any]], devices: int) -> dict[str, Any]:
    """Returns one record of several: rows and parity of all; about and ceilings of the first."""
    first = records[0]
    joined: dict[str, Any] = {"about": {**first["about"], "gpus": devices}, "rows": []}
    if "ceilings" in first:
        joined["ceilings"] = first["ceilings"]
        joined["ceilings_by_gpu"] = [record["ceilings"] for record in records if "ceilings" in record]
    for record in records:
        joined["rows"] += record["rows"]
        if "parity" in record:
            joined["parity"] = record["parity"]
        if "not_reached" in record:
            joined.setdefault("not_reached", []).extend(record["not_reached"])
    return joined


def run(arguments: argparse.Namespace, page: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """Runs all tasks, one a GPU at a time; writes the joined record whenever one has ended, and returns it."""
    deadline = time.monotonic() + arguments.limit
    waiting: queue.Queue[tuple[int, list[str]]] = queue.Queue()
    for item in enumerate(tasks(arguments)):
        waiting.put(item)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
    # Networks are built on the processor; without a share of it each, the tasks' threads spin against each other.
    threads = str(max(1, (os.cpu_count() or 1) // arguments.devices))
    with tempfile.TemporaryDirectory() as folder:

        def files() -> list[Path]:
            return sorted(Path(folder).glob("*.json"))

        def write() -> dict[str, Any]:
            data = join([json.loads(file.read_text(encoding="utf-8")) for file in files()], arguments.devices)
            arguments.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
            arguments.out.with_suffix(".md").write_text(page(data), encoding="utf-8")
            return data

        def work(device: int) -> None:
            while True:
                try:
                    number, task = waiting.get_nowait()
                except queue.Empty:
                    return
                left = deadline - time.monotonic()
                command = [
                    sys.executable,
                    sys.argv[0],
                    *task,
                    "--out",
                    f"{folder}/{number}.json",
                    "--limit",
                    str(left),
                    "--prepare-limit",
                    str(min(arguments.prepare_limit, 0.6 * left)),
                ]
                environment = {**os.environ, "CUDA_VISIBLE_DEVICES": str(device), "OMP_NUM_THREADS": threads}
                try:
                    subprocess.run(command, env=environment, check=False, timeout=max(1.0, left + 20))
                except subprocess.TimeoutExpired:  # what it has measured is in its file
                    print(f"out of time: {' '.join(task)}", flush=True)
                with lock:
                    if files():
                        write()

        workers = [threading.Thread(target=work, args=(device,)) for device in range(arguments.devices)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return write()

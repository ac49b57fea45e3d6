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

# What belongs together on one GPU, longest first; the order of the page is that of the parts.
GROUPS = (("attention", "linear"), ("lif", "words", "batch_one"), ("parity", "convolution"))


def tasks(arguments: argparse.Namespace) -> list[list[str]]:
    """Returns the arguments of every task: a size of the models, or a group of parts."""
    sizes = sorted({name.split(":")[0] for name in arguments.model}) if "models" in arguments.part else []
    found = [
        ["--part", "models", "--model", *(n for n in arguments.model if n.startswith(f"{size}:")),
         "--stems", *arguments.stems] for size in sizes
    ]  # fmt: skip
    wanted = [[part for part in group if part in arguments.part] for group in GROUPS]
    return found + [["--part", *group] for group in wanted if group]


def join(records: list[dict[str, Any]], devices: int) -> dict[str, Any]:
    """Returns one record of several: rows, models and parity of all; about and ceilings of the first."""
    first = records[0]
    joined: dict[str, Any] = {"about": {**first["about"], "gpus": devices}, "rows": []}
    if "ceilings" in first:
        joined["ceilings"] = first["ceilings"]
        joined["ceilings_by_gpu"] = [record["ceilings"] for record in records if "ceilings" in record]
    for record in records:
        joined["rows"] += record["rows"]
        joined |= {key: record[key] for key in ("parity",) if key in record}
        for key in ("end_to_end", "not_reached"):
            if key in record:
                joined.setdefault(key, []).extend(record[key])
    return joined


def run(arguments: argparse.Namespace, page: Callable[[dict[str, Any]], str]) -> dict[str, Any]:
    """Runs all tasks, one a GPU at a time; writes the joined record whenever one has ended, and returns it."""
    deadline = time.monotonic() + arguments.limit
    waiting: queue.Queue[tuple[int, list[str]]] = queue.Queue()
    for item in enumerate(tasks(arguments)):
        waiting.put(item)
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    lock = threading.Lock()
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
                command = [sys.executable, sys.argv[0], *task, "--out", f"{folder}/{number}.json", "--limit", str(left),
                           "--processes", str(arguments.processes), "--prepare-limit",
                           str(min(arguments.prepare_limit, 0.6 * left))]  # fmt: skip
                environment = {**os.environ, "CUDA_VISIBLE_DEVICES": str(device)}
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

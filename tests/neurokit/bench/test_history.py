"""The history of benchmarks: several processes add to one file, and no entry is lost."""

import json
import multiprocessing
from dataclasses import replace

from neurokit import atomic
from neurokit.bench import history

FIELDS = {"key": "k", "machine": "m", "git": "", "p50_s": 1.0, "low_s": 0.9, "high_s": 1.1, "samples": 3}


def add(path, who):
    for number in range(25):
        atomic.append_text(path, json.dumps({"time": f"{who}-{number}", "verdict": "VALID", **FIELDS}) + "\n")


def test_four_processes_add_a_hundred_entries(tmp_path):
    path = tmp_path / "history.jsonl"
    context = multiprocessing.get_context("fork")
    workers = [context.Process(target=add, args=(path, who)) for who in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert [worker.exitcode for worker in workers] == [0] * 4
    found = history.read(path)
    assert {entry.time for entry in found} == {f"{who}-{number}" for who in range(4) for number in range(25)}
    assert len(found) == 100
    assert len({replace(entry, time="") for entry in found}) == 1

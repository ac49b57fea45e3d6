"""A page of measured and priced rows."""

import pytest

from neurokit.bench.history import append
from neurokit.bench.run import BenchRun
from neurokit.page.build import build

from .reports import CASES, energy, latency


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    failure = {"subject": "tensorrt", "variant": "", "scenario": "single", "reason": "no GPU <here>", "fix": ""}
    run = BenchRun(tuple(latency(i, *case) for i, case in enumerate(CASES)), (failure,))
    run.save(folder / "run.json")
    energy().save_json(folder / "energy.json")
    for _ in range(3):
        append(folder / "h.jsonl", run)
    build([folder / "run.json", folder / "energy.json", folder / "h.jsonl"], folder / "page.html")
    return folder / "page.html"

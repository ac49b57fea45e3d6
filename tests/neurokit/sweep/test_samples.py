"""Energy over many samples: the report of several workers is that of one."""

from __future__ import annotations

import dataclasses
import os
import signal
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("distributed", reason='needs pip install "neurokit-edge[sweep]"')

from neurokit.sweep import samples
from neurokit.sweep.samples import Job, fill, simulate_on_workers
from neurokit.sweep.study import Workers

from .test_sweep import here


def fake_rows(job, start, stop):
    return {
        "key": {"model": job.model},
        "rows": [{"energy loihi1": float(k)} for k in range(start, stop)],
        "fired": {"a": stop - start},
    }


@pytest.mark.parametrize(("count", "workers"), [(2, 1), (7, 2), (50, 4)])
def test_parts_are_kept_in_order_whoever_ends_first(tmp_path, monkeypatch, count, workers):
    monkeypatch.setattr(samples, "rows_of", fake_rows)
    from neurokit.hw_sim.sample_set import Kept

    job, told = Job("m", "d", ()), []
    fill(job, count, tmp_path / "kept", Workers(count=workers), lambda done, total: told.append(done), here)
    kept = Kept(tmp_path / "kept", {"model": "m"})
    assert [row["energy loihi1"] for row in kept.rows] == list(range(count))
    assert kept.fired == {"a": count}
    assert (told[0], told[-1]) == (0, count)


@pytest.mark.parametrize("damage", ["null", "{}", "[" * 10_000, '{"rows": 3, "fired": {}}', "{"])
def test_of_damaged_figures_what_came_before_is_kept(tmp_path, damage):
    from neurokit.hw_sim.sample_set import Kept

    kept = Kept(tmp_path / "kept", {"model": "m"})
    kept.add([{"energy loihi1": 1.0}], {"a": 1})
    with (tmp_path / "kept").open("a") as file:
        file.write(damage + "\n")
    again = Kept(tmp_path / "kept", {"model": "m"})
    assert (again.rows, again.fired) == ([{"energy loihi1": 1.0}], {"a": 1})
    (tmp_path / "kept").write_bytes(bytes(range(256)))
    assert Kept(tmp_path / "kept", {"model": "m"}).rows == []


def deadly(job, start, stop):
    """Kills the first worker that is given the second part."""
    from neurokit.sweep.samples import rows_of

    mark = Path(job.place).with_name("died")
    if start > 0 and not mark.exists():
        mark.write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return rows_of(job, start, stop)


@pytest.mark.slow
def test_two_workers_give_the_report_of_one_though_one_is_killed(tmp_path, monkeypatch):
    import cloudpickle

    import neurokit as nk

    x = np.random.default_rng(0).random((9, 1, 8, 8)).astype(np.float32)
    np.savez(tmp_path / "x.npz", x=x, y=np.zeros(9, np.int64))
    job = Job("spiking_cnn", str(tmp_path / "x.npz"), ("loihi1",), time_steps=4)
    alone = nk.simulate(job.captured(), job.place, ["loihi1"])
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    monkeypatch.setattr(samples, "rows_of", deadly)
    shared = simulate_on_workers(job, 2)
    assert (tmp_path / "died").exists()
    assert shared.test_set is not None
    for name, spread in alone.spread.items():  # batches end elsewhere, so that sums may differ in their last digit
        mine = dataclasses.asdict(shared.spread[name])
        assert {key: mine[key] for key in ("mean", "smallest", "largest", "samples")} == pytest.approx(
            {key: getattr(spread, key) for key in ("mean", "smallest", "largest", "samples")}, rel=1e-12
        )
    same = {"spread": {}, "test_set": None}
    assert dataclasses.replace(shared, **same) == dataclasses.replace(alone, **same)

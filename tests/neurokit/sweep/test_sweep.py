"""Studies: the same table on one and on four workers, one of them killed; resumed, pruned, refused."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("optuna", reason='needs pip install "neurokit-edge[sweep]"')
pytest.importorskip("distributed", reason='needs pip install "neurokit-edge[sweep]"')
parquet = pytest.importorskip("pyarrow.parquet", reason='needs pip install "neurokit-edge[sweep]"')

from neurokit import cli  # noqa: E402
from neurokit.errors import InputError, OutputError  # noqa: E402
from neurokit.sweep import evaluate as evaluating  # noqa: E402
from neurokit.sweep import sweep  # noqa: E402
from neurokit.sweep.evaluate import hopeless  # noqa: E402
from neurokit.sweep.search import alone  # noqa: E402
from neurokit.sweep.study import Study, read_study  # noqa: E402

TEXT = """
name = "small"
objectives = ["size", "energy"]
[models.a]
source = "spiking_cnn"
[space]
time_steps = [2, 4, 8]
threshold = [0.5, 1.0]
target = ["onnx"]
chip = ["loihi1"]
"""


def fake(trial, finished):
    """Two figures that pull in opposite directions; one combination fails."""
    if trial["time_steps"] == 8 and trial["threshold"] == 0.5:
        return {"status": "failed", "reason": "no room", "figures": {}}
    return {
        "status": "done",
        "reason": "",
        "figures": {"size": 100.0 / trial["time_steps"], "energy": trial["time_steps"] * trial["threshold"]},
    }


class Here:
    """Runs trials in this process, the last one first, and is interrupted after some."""

    def __init__(self, stop_after=None):
        self.left = stop_after

    def run(self, evaluate, trials):
        for number, given in reversed(trials.items()):
            if self.left == 0:
                raise KeyboardInterrupt
            self.left = None if self.left is None else self.left - 1
            yield number, evaluate(*given)


@contextmanager
def here(workers):
    yield Here()


def study(tmp_path, text=TEXT):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return read_study(path)


def test_a_grid_is_tried_whole_and_its_front_is_that_of_brute_force(tmp_path):
    swept = sweep(study(tmp_path), tmp_path / "out", run=fake, workers_of=here)
    assert [(row["time_steps"], row["threshold"]) for row in swept.rows] == [
        (t, v) for t in (2, 4, 8) for v in (0.5, 1.0)
    ]
    done = [row for row in swept.rows if row["status"] == "done"]
    front = [
        row["trial"]
        for row in done
        if not any(
            o["size"] <= row["size"] and o["energy"] <= row["energy"] and o["trial"] != row["trial"] for o in done
        )
    ]
    assert list(swept.front) == front
    table = parquet.read_table(swept.table).to_pylist()
    assert [row["status"] for row in table].count("failed") == 1
    assert table[4]["reason"] == "no room"
    page = swept.page.read_text()
    assert 'class="front"' in page
    assert "#4" in page
    assert json.loads((tmp_path / "out" / "study.json").read_text())["name"] == "small"


@pytest.mark.parametrize("sampler", ["grid", "nsga2", "tpe"])
def test_a_study_that_is_interrupted_goes_on_as_if_it_had_not_been(tmp_path, sampler):
    text = TEXT + f'[search]\nsampler = "{sampler}"\ntrials = 10\nbatch = 4\nseed = 3\n'
    whole = sweep(study(tmp_path, text), tmp_path / "whole", run=fake, workers_of=here)

    @contextmanager
    def stopping(workers):
        yield Here(stop_after=5)

    with pytest.raises(KeyboardInterrupt):
        sweep(study(tmp_path, text), tmp_path / "parts", run=fake, workers_of=stopping)
    ran = []

    def counted(trial, finished):
        ran.append(trial)
        return fake(trial, finished)

    again = sweep(study(tmp_path, text), tmp_path / "parts", run=counted, workers_of=here)
    assert again.rows == whole.rows
    assert again.front == whole.front
    assert len(ran) < len(whole.rows)
    sweep(study(tmp_path, text), tmp_path / "parts", run=counted, workers_of=here)
    assert len(again.rows) == len(whole.rows)


def cut_line(folder):
    with (folder / "trials.log").open("ab") as file:
        file.write(b'{"op_code":4,"work')


def cut_result(folder):
    (folder / "results/.000005.json.partial-1").write_text("{")


def kept_lock(folder):
    (folder / "trials.log.lock").symlink_to(folder / "trials.log")  # waited for half a minute


@pytest.mark.parametrize("leave", [cut_line, cut_result, kept_lock])
def test_a_study_goes_on_with_what_a_killed_process_left(tmp_path, leave):
    @contextmanager
    def stopping(workers):
        yield Here(stop_after=2)

    with pytest.raises(KeyboardInterrupt):
        sweep(study(tmp_path), tmp_path / "out", run=fake, workers_of=stopping)
    leave(tmp_path / "out")
    begun = time.monotonic()
    assert len(sweep(study(tmp_path), tmp_path / "out", run=fake, workers_of=here).rows) == 6
    assert time.monotonic() - begun < 25
    assert len(sweep(study(tmp_path), tmp_path / "out", run=fake, workers_of=here).rows) == 6
    assert list((tmp_path / "out").rglob(".*")) == []


def test_a_trial_without_room_is_done_again(tmp_path):
    def full(trial, finished):
        return {"status": "not done", "reason": "the disk is full where it ran", "figures": {}}

    with pytest.raises(OutputError, match="trial 5 cannot be done: the disk is full"):
        sweep(study(tmp_path), tmp_path / "out", run=full, workers_of=here)
    assert len(sweep(study(tmp_path), tmp_path / "out", run=fake, workers_of=here).rows) == 6


BEHIND = {
    "the system's": (OSError(28, "No space left on device"), "not done"),
    "a compiler's": (RuntimeError("as: No space left on device"), "not done"),
    "none": (OSError(13, "Permission denied"), "failed"),
}


@pytest.mark.parametrize("name", BEHIND)
def test_a_full_disk_is_no_result_of_a_trial(monkeypatch, name):
    def full(trial, finished):
        raise RuntimeError("a compiler failed") from behind

    behind, status = BEHIND[name]
    monkeypatch.setattr(evaluating, "_evaluate", full)
    assert evaluating.evaluate({})["status"] == status


def test_a_study_runs_in_one_process_at_a_time(tmp_path):
    with alone(tmp_path / "out", study(tmp_path)), pytest.raises(InputError, match="another process runs the study"):
        sweep(study(tmp_path), tmp_path / "out", run=fake, workers_of=here)


@pytest.mark.parametrize("file", ["results/000001.json", "study.json", "trials.log"])
@pytest.mark.parametrize(
    "damage",
    [
        b"null",
        *(pytest.param(each, marks=pytest.mark.slow) for each in (b"", b"[" * 10_000, bytes(range(256)), None)),
    ],
    ids=("null", "nothing", "a deep nest", "other bytes", "a pipe"),
)
def test_a_damaged_folder_is_mended_or_refused_in_a_line(tmp_path, file, damage):
    text = TEXT.replace("[2, 4, 8]", "[2, 4]")
    whole = sweep(study(tmp_path, text), tmp_path / "out", run=fake, workers_of=here)
    place = tmp_path / "out" / file
    place.unlink()
    os.mkfifo(place) if damage is None else place.write_bytes(damage)
    if damage is not None and (file == "results/000001.json" or (file, damage) == ("trials.log", b"")):
        assert sweep(study(tmp_path, text), tmp_path / "out", run=fake, workers_of=here).rows == whole.rows
        return
    with pytest.raises(OutputError) as caught:
        sweep(study(tmp_path, text), tmp_path / "out", run=fake, workers_of=here)
    assert "\n" not in caught.value.what


def test_pruning_leaves_what_may_still_win():
    assert hopeless(0.5, [0.9, 0.3], less_is_better=False)
    assert not hopeless(0.8, [0.9], less_is_better=False)
    assert hopeless(2.0, [1.0], less_is_better=True)
    assert not hopeless(1.1, [1.0], less_is_better=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("[space]", "[spaces]"), "spaces"),
        (('["size", "energy"]', '["speed"]'), "objectives"),
        (('["size", "energy"]', '["score"]'), "labelled data"),
        (('chip = ["loihi1"]', 'chip = ["none"]'), "energy needs a chip"),
        (("[2, 4, 8]", "[0]"), "out of range"),
        (("threshold = [0.5, 1.0]", "bits = [9]"), "bits"),
        (("name =", "name"), "cannot be read"),
    ],
)
def test_what_is_no_study_is_refused_in_a_line(tmp_path, capsys, change, said):
    assert change[0] in TEXT
    path = tmp_path / "study.toml"
    path.write_text(TEXT.replace(*change))
    assert cli.main(["sweep", str(path), "--out", str(tmp_path / "o")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "o").exists()


def test_another_study_in_the_folder_is_not_mixed_with_this_one(tmp_path):
    sweep(study(tmp_path), tmp_path / "out", run=fake, workers_of=here)
    with pytest.raises(OutputError, match="another study"):
        sweep(study(tmp_path, TEXT.replace("8]", "16]")), tmp_path / "out", run=fake, workers_of=here)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("mine")
    with pytest.raises(OutputError, match="no folder of neurokit sweep"):
        sweep(study(tmp_path), tmp_path / "mine", run=fake, workers_of=here)
    with pytest.raises(InputError, match="no study"):
        read_study(Path(tmp_path / "none.toml"))


def test_the_command_says_what_it_would_do(tmp_path, capsys):
    path = tmp_path / "study.toml"
    path.write_text(TEXT)
    assert cli.main(["sweep", str(path), "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["trials"] == 6


def deadly(trial, finished):
    """Kills the first worker that is given one of the trials."""
    mark = Path(trial["weights"])
    if trial["time_steps"] == 4 and trial["threshold"] == 1.0 and not mark.exists():
        mark.write_text("died")
        os.kill(os.getpid(), signal.SIGKILL)
    return fake(trial, finished)


@pytest.mark.slow
def test_one_and_four_workers_give_the_same_table_though_one_is_killed(tmp_path):
    import cloudpickle

    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    found = study(tmp_path)

    def with_mark(name) -> Study:
        source = found.models["a"].model_copy(update={"weights": str(tmp_path / name)})
        return found.model_copy(update={"models": {"a": source}})

    (tmp_path / "calm").write_text("nobody dies")
    one = sweep(with_mark("calm"), tmp_path / "one", workers=1, run=deadly)
    four = sweep(with_mark("killed"), tmp_path / "four", workers=4, run=deadly)
    assert (tmp_path / "killed").read_text() == "died"
    assert parquet.read_table(one.table).to_pylist() == parquet.read_table(four.table).to_pylist()
    assert one.front == four.front


@pytest.mark.slow
def test_real_trials_in_real_processes(tmp_path):
    found = study(tmp_path, TEXT.replace("[2, 4, 8]", "[2, 4]").replace("threshold = [0.5, 1.0]", "bits = [0, 4]"))
    swept = sweep(found, tmp_path / "out", workers=2)
    assert [row["status"] for row in swept.rows] == ["done"] * 4, swept.rows
    energies = {(row["time_steps"], row["bits"]): row["energy"] for row in swept.rows}
    assert energies[4, 0] > energies[2, 0]
    assert swept.front

"""What is no file, or no whole one, at every door where data, tables and lists come in: an answer or one clear line."""

import contextlib
import io
import json
import os
import random
import shutil
import signal
import time
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import neurokit as nk
from neurokit import cli
from neurokit.data.readable import DECODED, faults_of
from neurokit.data.sets import SampleFiles
from neurokit.errors import InputError, LeftOutWarning
from neurokit.loading import load

from . import generated
from .conftest import LIMIT_S, TooLateError, _too_late
from .doors import DOORS, INSTEAD, MODELS, NO_FILE, replaced, write_samples, write_tables

EVERY = [(door, name) for door in DOORS for name in INSTEAD]
DRAWN = 8  # changed files a door
KINDS = {".json": "json", ".jsonl": "lines", ".toml": "toml"}
QUICK = {"a list, CSV", "study", "walls", "heads", "rules of pauses", "a picture of a class folder, deploy", "device"}
FAST = [(door, list(INSTEAD)[(at * 5 + more) % len(INSTEAD)]) for at, door in enumerate(DOORS) for more in (0, 1)]
FAST = [case for case in FAST if case[0] in QUICK]
FAST += [(door, "a pipe") for door in ("texts", "vectors of words", "a picture by itself")]


@pytest.fixture(scope="module")
def everything(tmp_path_factory):
    """A sound file for every door."""
    from neurokit.bench.run import BenchRun

    folder = tmp_path_factory.mktemp("doors")
    (folder / "m.py").write_text(MODELS)
    write_tables(folder)
    write_samples(folder)
    _artifact(folder, "p")
    row = nk.benchmark(folder / "p", seconds=0.02, threads=1, meter="none", allow_mismatch=True)
    (folder / "run.json").write_text(json.dumps(BenchRun(reports=(row,)).to_json()))
    return folder


def _artifact(folder, name):
    """Makes an artifact that a command is about, where it is not there yet."""
    factory = {"p": "picture", "e": "events", "s": "sound"}.get(name)
    if factory and not (folder / name).exists():
        nk.lower(nk.capture(load(f"{folder}/m.py:{factory}")), "onnx", folder / name, verified=False)


def _spoken(command):
    """Runs a command; returns its status, what it said, and how long it computed."""
    out, err = io.StringIO(), io.StringIO()
    old = signal.signal(signal.SIGALRM, _too_late)
    signal.alarm(8 * LIMIT_S)  # a hang; the machine may be loaded
    start = time.process_time()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
            status = cli.main(list(command))
    except TooLateError:
        pytest.fail(f"{command}: it hangs")
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    return status, err.getvalue(), time.process_time() - start, out.getvalue()


def _there(folder):
    return {path for path in folder.rglob("*") if "__pycache__" not in path.parts}


def _hold(everything, tmp_path, monkeypatch, door, spoil, *, certain=False, left_out=""):
    """Spoils the file of a door and runs its command.

    Args:
        certain: Whether it must be refused.
        left_out: What must be named where the command goes on without the file.
    """
    entry = DOORS[door]
    _artifact(everything, entry.command[1])
    shutil.copytree(everything, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    what = spoil(tmp_path / entry.file)
    before = _there(tmp_path)
    status, said, spent, out = _spoken(entry.command)
    assert "Traceback" not in said + out, (what, said)
    assert status in ((2,) if certain else (0,) if left_out else (0, 1, 2)), (what, status, said[-800:])
    assert left_out in said + out, said
    if status == 2:
        lines = [line for line in said.splitlines() if not line.startswith(("done ", "  - ", "warning: "))]
        assert [line.split(":")[0] for line in lines] == ["error", "expected", "fix"], (what, said[-800:])
        assert _there(tmp_path) == before, (what, said)
        assert spent < LIMIT_S, (what, said)


def _replace(everything, tmp_path, monkeypatch, door, name):
    entry = DOORS[door]
    # Pillow reads a picture whose last chunk is cut; a folder may be a folder of samples.
    leaves = entry.spared and name not in ("a folder", "all but its end")
    certain = name in NO_FILE and name != "a folder" and not entry.spared
    spoil = lambda place: replaced(place, name)  # noqa: E731
    _hold(everything, tmp_path, monkeypatch, door, spoil, certain=certain, left_out=entry.file if leaves else "")


@pytest.mark.parametrize(("door", "name"), FAST)
def test_a_sample_of_what_may_stand_at_a_door(everything, tmp_path, monkeypatch, door, name):
    _replace(everything, tmp_path, monkeypatch, door, name)


@pytest.mark.slow
@pytest.mark.parametrize(("door", "name"), [case for case in EVERY if case not in FAST])
def test_everything_that_may_stand_at_a_door(everything, tmp_path, monkeypatch, door, name):
    _replace(everything, tmp_path, monkeypatch, door, name)


@pytest.mark.slow
@pytest.mark.parametrize(("door", "number"), [(door, number) for door in DOORS for number in range(DRAWN)])
def test_files_with_something_changed(everything, tmp_path, monkeypatch, door, number):
    kind = KINDS.get(Path(DOORS[door].file).suffix, "bytes")
    drawn = random.Random(f"{door} {number}")
    _hold(everything, tmp_path, monkeypatch, door, lambda place: generated.changed(place, kind, drawn))


@pytest.mark.slow
@pytest.mark.parametrize("door", DOORS)
def test_every_door_opens_to_what_is_sound(everything, tmp_path, monkeypatch, door):
    _artifact(everything, DOORS[door].command[1])
    shutil.copytree(everything, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    status, said, _, _ = _spoken(DOORS[door].command)
    assert status in (0, 1) or (door == "device, measured" and "no measured energy" in said), said[-800:]


def test_pictures_of_a_folder_are_left_out_and_said_but_named_ones_are_refused(everything, tmp_path, monkeypatch):
    shutil.copytree(everything / "d", tmp_path / "d")
    (tmp_path / "d" / "a" / "1.png").write_bytes((tmp_path / "d" / "a" / "0.png").read_bytes()[:60])
    (tmp_path / "d" / "b" / "2.png").unlink()
    os.mkfifo(tmp_path / "d" / "b" / "2.png")
    spec = load(f"{everything}/m.py:picture")
    with pytest.warns(LeftOutWarning, match=r"2 of 8 files .* are left out: .*1\.png: OSError.*2\.png: it is no reg"):
        files = SampleFiles.find(tmp_path / "d", spec, None)
    assert files.count == 6
    assert files.labelled().y.tolist() == [0, 0, 0, 1, 1, 1]
    assert "2 unreadable files left out" in files.description
    (tmp_path / "list.csv").write_text("path,label\nd/a/0.png,a\nd/a/1.png,a\n")
    with pytest.raises(InputError, match=r"d/a/1\.png cannot be read as an image"):
        SampleFiles.find(tmp_path / "list.csv", spec, None)
    for at in range(4):
        (tmp_path / "d" / "a" / f"{at}.png").write_bytes(b"hello")
    with pytest.raises(InputError, match="no image of class folder a of"):
        SampleFiles.find(tmp_path / "d", spec, None)


def test_of_many_pictures_the_end_is_looked_at(tmp_path, monkeypatch):
    monkeypatch.setattr("neurokit.data.readable.DECODED", 1)
    assert DECODED == 2_000
    places = [tmp_path / name for name in ("whole.jpg", "cut.jpg", "whole.png", "cut.png", "text.png")]
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (300, 300, 3), dtype=np.uint8))
    for place in places[:4]:
        noise.save(place)
    for place in (places[1], places[3]):
        place.write_bytes(place.read_bytes()[:-2000])
    places[4].write_text("hello")
    whole, cut, *others = faults_of(places)
    assert (whole, cut) == ("", "it is cut off")
    assert others[:2] == ["", "it is cut off"]
    assert others[2].startswith("UnidentifiedImageError")


NO_SAMPLE = {
    "None": None,
    "a number": 3,
    "words": "hello",
    "a name that no system takes": "x" * 300,
    "a name with a null": "a\0b",
    "an object": object(),
    "a ragged list": [[1.0], [1.0, 2.0]],
    "another shape": np.zeros((2, 8, 8), np.float32),
    "nothing": np.zeros((0, 8, 8), np.float32),
    "objects": np.full((1, 8, 8), None),
    "letters": np.full((1, 8, 8), "a"),
    "complex": np.zeros((1, 8, 8), np.complex64),
    "NaN": np.full((1, 8, 8), np.nan, np.float32),
    "infinity": np.full((1, 8, 8), np.inf, np.float32),
    "names of no input": {1: np.zeros((1, 8, 8)), "a": None},
}


@pytest.mark.parametrize("name", NO_SAMPLE)
def test_what_is_no_sample_is_refused_in_python(everything, name):
    with pytest.raises(InputError) as caught:
        nk.answer(everything / "p", [NO_SAMPLE[name]])
    assert "\n" not in caught.value.what
    assert len(caught.value.what) < 300 or name.startswith("a name")

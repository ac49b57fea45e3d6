"""What PyTorch's loader unpacked for processes that were killed is removed, and nothing else."""

import json
import mmap
import os
import signal
import subprocess
import sys
import zipfile

import pytest

from neurokit.export.aoti import unpacked

ENTRY = "p/data/aotinductor/model/cktrec2b4kacbqfx6a.wrapper.so"
# Notes a load, unpacks one file as the loader does, and waits for its end.
LOADS = """
import sys, tempfile, time
from pathlib import Path
from neurokit.export.aoti import unpacked
tempfile.tempdir, folder = sys.argv[1], Path(sys.argv[3])
with unpacked.noted(Path(sys.argv[2]), kept=sys.argv[5] == "kept"):
    place = folder / sys.argv[4]
    place.parent.mkdir(parents=True)
    place.write_bytes(b"x" * 4096)
    if sys.argv[5] != "kept":
        print("ready", flush=True)
        time.sleep(600)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Returns a folder of notes, one of the loader's folders, and a package."""
    notes, folders, package = tmp_path / "notes", tmp_path / "folders", tmp_path / "p.pt2"
    notes.mkdir()
    folders.mkdir()
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr(ENTRY, b"x")
        archive.writestr("p/byteorder", b"little")
    monkeypatch.setattr(unpacked, "_YOUNG_S", -1)
    return notes, folders, package


def start(places, name, kind="loading", entry=ENTRY):
    notes, folders, package = places
    given = [str(notes), str(package), str(folders / name), entry, kind]
    process = subprocess.Popen([sys.executable, "-c", LOADS, *given], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    return process


def kill(process):
    os.kill(process.pid, signal.SIGKILL)
    process.wait()


@pytest.mark.parametrize("kind", ["loading", "kept"])
def test_what_a_killed_process_left_is_removed_and_what_a_living_one_needs_stays(places, kind):
    notes, folders, _ = places
    process = start(places, "aB3dE6", kind)
    try:
        unpacked.clear(notes, folders)
        assert (folders / "aB3dE6").is_dir()
    finally:
        kill(process)
    unpacked.clear(notes, folders)
    assert not list(folders.iterdir())
    assert not list(notes.iterdir())


def test_nothing_else_is_removed(places, tmp_path):
    notes, folders, _ = places
    earlier, outside = folders / "Early1" / ENTRY, tmp_path / "outside" / ENTRY
    for path in (earlier, outside):
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
    kill(start(places, "aB3dE6"))
    (note,) = notes.iterdir()
    made = json.loads(note.read_text())
    note.write_text(json.dumps({**made, "begun": (folders / "Early1").stat().st_ctime + 1.5}))
    others = {"longer-name": ENTRY, "Other1": "p/data/aotinductor/model/another.wrapper.so", "Plain1": "p/byteorder"}
    for name, entry in others.items():
        (folders / name / entry).parent.mkdir(parents=True)
        (folders / name / entry).write_bytes(b"x")
    (folders / "Linked").symlink_to(outside.parents[4])
    opened = folders / "Opened" / ENTRY
    opened.parent.mkdir(parents=True)
    opened.write_bytes(b"x" * 4096)
    with opened.open("rb") as file, mmap.mmap(file.fileno(), 4096, prot=mmap.PROT_READ):
        unpacked.clear(notes, folders)
    left = {path.name for path in folders.iterdir()}
    assert left >= {*others, "Linked", "Opened", "Early1"}
    assert outside.is_file()


def test_a_load_that_ends_leaves_no_note(places, monkeypatch):
    notes, _, package = places
    monkeypatch.setattr("tempfile.tempdir", str(notes))
    unpacked._clear_once.cache_clear()
    with unpacked.noted(package, kept=False):
        assert len(list(notes.iterdir())) == 1
    with pytest.raises(RuntimeError), unpacked.noted(package, kept=True):
        raise RuntimeError
    assert not list(notes.iterdir())


@pytest.mark.parametrize("text", ["", "[", "[]", '{"begun": "x", "names": []}', "[" * 9000])
def test_a_note_that_says_nothing_goes(places, text):
    notes, folders, _ = places
    (notes / f"{unpacked._PREFIX}x").write_text(text)
    (folders / "aB3dE6" / ENTRY).parent.mkdir(parents=True)
    unpacked.clear(notes, folders)
    assert not list(notes.iterdir())
    assert (folders / "aB3dE6").is_dir()


def test_young_folders_stay(places, monkeypatch):
    notes, folders, _ = places
    kill(start(places, "aB3dE6"))
    monkeypatch.setattr(unpacked, "_YOUNG_S", 60)
    unpacked.clear(notes, folders)
    assert (folders / "aB3dE6").is_dir()
    assert list(notes.iterdir())

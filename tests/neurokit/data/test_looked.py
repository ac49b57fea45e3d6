"""Folders that are looked through for samples: all of a data set, and not all of a disk."""

import os

import pytest

from neurokit.data import looked
from neurokit.data.folders import read_folder
from neurokit.data.found import find
from neurokit.errors import InputError


def files(folder, names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).touch()


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(looked, "_MOST_OTHERS", 50)


LOOKS = {"samples": find, "images of classes": lambda place: read_folder(place, (8, 8))}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_a_disk_is_not_looked_through(tmp_path, few, look, monkeypatch):
    for at in range(9):
        files(tmp_path / "usr" / str(at), [f"{n}.so" for n in range(20)])
    walked, walk = [], os.walk
    monkeypatch.setattr(looked.os, "walk", lambda place: (walked.append(each[0]) or each for each in walk(place)))
    with pytest.raises(InputError, match="holds more than 50 files and folders that are no samples"):
        look(tmp_path)
    assert len(walked) == 4  # usr, and three times twenty and a folder


def test_a_tree_of_empty_folders_is_left_again(tmp_path, few):
    (tmp_path / "a" / "/".join("b" * 60)).mkdir(parents=True)
    with pytest.raises(InputError, match="that are no samples"):
        find(tmp_path)


def test_what_lies_beside_samples_does_not_matter(tmp_path, few):
    for name in "ab":
        files(tmp_path / name / "deep", [f"{n}.png" for n in range(20)])
        files(tmp_path / name / "deep", [f"{n}.xml" for n in range(100)])
        files(tmp_path / name / ".hidden", ["0.png"])
        files(tmp_path / name, ["._0.png", "z.png"])
    found = find(tmp_path)
    assert found.classes == ("a", "b")
    assert len(found.items) == 42
    assert [item.value for item in found.items] == sorted(item.value for item in found.items)

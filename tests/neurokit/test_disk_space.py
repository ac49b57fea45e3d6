"""A full disk is told as one, whatever the library that met it said."""

import errno

import pytest

from neurokit import disk_space
from neurokit.artifact import write_artifact
from neurokit.atomic import write_text
from neurokit.errors import ArtifactError, OutputError, UnsupportedError

from .artifacts import leftovers

HDF5 = "Can't decrement id ref count (file write failed: errno = 28, error message = 'No space left on device')"


def _caused(error, cause):
    error.__cause__ = cause
    return error


SAID = {
    "the system": OSError(errno.ENOSPC, "No space left on device"),
    "a quota": OSError(errno.EDQUOT, "Disk quota exceeded"),
    "a limit": OSError(errno.EFBIG, "File too large"),
    "a library": RuntimeError(HDF5),
    "a compiler": _caused(UnsupportedError("it does not compile", []), RuntimeError("ld: No space left on device")),
}


@pytest.mark.parametrize("name", SAID)
def test_said_in_words_of_its_own(tmp_path, name):
    with pytest.raises(OutputError, match="cannot be written: the disk is full"), write_artifact(tmp_path / "m"):
        raise SAID[name]
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("error", [RuntimeError("no words"), ArtifactError("what was written is no model")])
def test_not_said_but_nothing_can_be_written(tmp_path, monkeypatch, error):
    monkeypatch.setattr(disk_space, "_is_full", lambda place: ".m.partial" in place.name)
    said = f"{tmp_path}/m cannot be written: the disk is full"
    with pytest.raises(OutputError, match=said), write_artifact(tmp_path / "m"):
        raise error


def test_the_temporary_folder_is_named_where_it_is_full(tmp_path, monkeypatch):
    monkeypatch.setattr(disk_space, "_is_full", lambda place: ".m.partial" not in place.name)
    with pytest.raises(OutputError, match=r"the temporary folder .* is full"), write_artifact(tmp_path / "m"):
        raise RuntimeError("C++ compile error")


def test_other_errors_stay_what_they_are(tmp_path):
    for error in (RuntimeError("a fault"), OutputError("another place"), OSError(errno.EACCES, "no")):
        with pytest.raises(type(error)) as caught, write_artifact(tmp_path / "m"):
            raise error
        assert caught.value is error


def test_a_text_says_what_to_do(tmp_path, monkeypatch):
    def full(_file):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError) as caught:
        write_text(tmp_path / "a.txt", "words")
    assert caught.value.fix == "free some space"

"""Malformed samples for `neurokit run`, and kept calibration samples that are damaged: one clear line each."""

import io
import os
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import neurokit as nk
from neurokit.errors import ArtifactError, InputError
from neurokit.export.onnx.calibrated import SAMPLES_FILE, judge_kept
from neurokit.plain import check_regular, is_file, no_file

from .edits import Pickled, spread


def _saved(array, **how):
    held = io.BytesIO()
    np.save(held, array, **how)
    return held.getvalue()


def _headed(text):
    head = text.encode() + b"\n"
    return b"\x93NUMPY\x01\x00" + len(head).to_bytes(2, "little") + head


SAMPLES = {
    "empty.npy": b"",
    "text.npy": b"hello",
    "huge.npy": _headed("{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 6)}"),
    "code.npy": _headed("__import__('os').mkdir('executed')"),
    "deep.npy": _headed("(" * 20_000),
    "pickle.npy": _saved(np.array([Pickled()], dtype=object), allow_pickle=True),
    "no_steps.npy": _saved(np.zeros((0, 6), np.float32)),
    "no_axes.npy": _saved(np.float32(1)),
    "words.npy": _saved(np.full((4, 6), "a")),
    "complex.npy": _saved(np.zeros((4, 6), np.complex64)),
    "dates.npy": _saved(np.zeros(6, "M8[s]")),
    "records.npy": _saved(np.zeros(6, [("a", "f4")])),
    "many_axes.npy": _saved(np.zeros((1,) * 30, np.float32)),
    "empty.npz": b"",
    "text.npz": b"PK\x03\x04" + b"x" * 99,
    "head.png": b"\x89PNG\r\n\x1a\n",
    "text.png": b"hello",
    "bytes": bytes(10),
    "pipe.npy": None,
}


@pytest.mark.parametrize("name", spread(SAMPLES))
def test_samples(sound, tmp_path, refused, name):
    content = SAMPLES[name]
    os.mkfifo(tmp_path / name) if content is None else (tmp_path / name).write_bytes(content)
    refused("run", sound / "a", name)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("given", ["", "1.5", "9" * 5000, "٣"])
def test_prompts(sound, refused, given):
    refused("run", sound / "a", f"--prompt-ids={given}")


@pytest.mark.parametrize("number", ["9" * 5000, "1" + "0" * 30])
def test_numbers_of_many_digits(sound, refused, number):
    refused("export", f"{sound}/m.py:net", "--input-shape", "6", "--batch", number, "--out", "out")


@pytest.mark.parametrize("seconds", ["inf", "nan", "-1", "1e300"])
def test_measuring_for_ever(sound, refused, seconds):
    refused("bench", sound / "a", "--seconds", seconds)


def _archive(**arrays):
    held = io.BytesIO()
    np.savez(held, **arrays)
    return held.getvalue()


GOOD = {"x0": np.zeros((2, 3), np.float32), "float0": np.ones((2, 1)), "int80": np.ones((2, 1))}
KEPT = {
    "half": _archive(**GOOD)[:300],
    "text": b"hello",
    "names": _archive(a=np.zeros(3)),
    "no samples": _archive(**{**GOOD, "x0": GOOD["x0"][:0]}),
    "no axes": _archive(**{**GOOD, "x0": np.float32(1)}),
    "words": _archive(**{**GOOD, "float0": np.array([["a"], ["b"]])}),
    "more outputs": _archive(**GOOD, float1=np.ones((2, 1)), int81=np.ones((2, 1))),
}


@pytest.mark.parametrize("name", KEPT)
def test_kept_samples(tmp_path, name):
    path = tmp_path / SAMPLES_FILE
    path.write_bytes(KEPT[name])
    ports = [SimpleNamespace(name="x")]
    manifest = SimpleNamespace(files={SAMPLES_FILE: None}, inputs=ports, outputs=ports, options={})
    artifact = SimpleNamespace(path=tmp_path, manifest=manifest, file=lambda _: path)
    with pytest.raises(ArtifactError) as caught:
        judge_kept(artifact, lambda feeds: [np.ones((len(feeds["x"]), 1))], 0.3)
    assert "\n" not in caught.value.what


def test_an_archive_that_unpacks_to_much_more_is_refused(sound, tmp_path, refused):
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", SAMPLES["huge.npy"] + bytes(2**20))
    refused("run", sound / "a", "x.npz")


@pytest.mark.parametrize("seed", [-1, 10**30, "x"])
def test_a_seed_that_is_none(sound, tmp_path, refused, seed):
    np.save(tmp_path / "x.npy", np.zeros((4, 6), np.float32))
    refused("run", sound / "a", "x.npy", "--seed", seed)


def test_a_seed_that_is_none_in_python(sound):
    for seed in (-1, 0.5, True, None):
        with pytest.raises(InputError, match="seed is"):
            nk.open(sound / "a", seed=seed)
        with pytest.raises(InputError, match="seed is"):
            nk.answer(sound / "a", [np.zeros((4, 6), np.float32)], seed=seed)


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="needs files of the kernel's")
def test_files_of_the_kernel_are_no_input(sound, tmp_path, refused):
    """Reading /proc/kmsg waits for ever; it is a regular file by what the system says."""
    for suffix, command in (("nir", ("export",)), ("npy", ("run", sound / "a")), ("json", ("report",))):
        place = tmp_path / f"x.{suffix}"
        place.symlink_to("/proc/self/environ")
        with pytest.raises(OSError, match="no regular file"):
            check_regular(place)
        assert not is_file(place)
        assert no_file(place) == "is no regular file"
        refused(*command, place, *(("--html", "o.html") if suffix == "json" else ()))

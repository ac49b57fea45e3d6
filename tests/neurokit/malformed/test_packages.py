"""Compiled packages whose manifest, entries or place are damaged, sealed again and trusted: one clear line each.

What lies there was never compiled: a package is read as data first, and all of these are refused before anything of it
is loaded. `test_targets.py` does the like with packages that were.
"""

import contextlib
import errno
import fcntl
import io
import json
import os
import shutil
import struct
import zipfile

import numpy as np
import pytest

import neurokit as nk
from neurokit.export.aoti.place import here

from .edits import field, seal, spread

MODEL = "model/data/aotinductor/model/c.wrapper"


def library(size=200, sections=0):
    """Returns what a library of Linux begins with, and says of its size."""
    head = bytearray(64)
    head[:5] = b"\x7fELF\x02"
    struct.pack_into("<Q", head, 40, size - 64 * sections)
    struct.pack_into("<HH", head, 58, 64, sections)
    return bytes(head).ljust(200, b"\0")


def archive(**entries):
    """Returns a zip of entries, whose names have "__" for "/"."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        for name, content in entries.items():
            file.writestr(name.replace("__", "/"), content)
    return held.getvalue()


def package(said, code=None, name=MODEL):
    """Returns a package that says something of itself."""
    return archive(**{f"{name}.so": code or library(), f"{name}_metadata.json": json.dumps(said)})


def _as_package(data):
    graph = data["graphs"][0]
    graph["file"] = "model.pt2"
    call = {"layer": "1", "kind": 0, "rare": False, "states": 1, "shape": [4, "B", 5], "dtype": "float32"}
    data["files"] = {name: {"sha256": "0" * 64, "bytes": 0} for name in ("model.pt2", "probe.pt2", "vectors.npz")}
    data |= {"target": "aoti", "form": "sequence", "runtime": "", "opset": None}
    data["target_info"] = {
        "time_input": "sequence",
        "time_output": "sequence",
        "built_for": here("cpu"),
        "calls": [call],
        "kinds": [2],
        "examples": [[[[6], "float32"], [[6], "float32"]]],
        "kernels": [],
        "precision": "float32",
    }
    return data


@pytest.fixture
def packed(sound, tmp_path):
    """An artifact of a package, in `a`."""
    folder = tmp_path / "a"
    shutil.copytree(sound / "a", folder)
    (folder / "model.onnx").unlink()
    data = _as_package(json.loads((folder / "manifest.json").read_text()))
    graph = data["graphs"][0]
    said = {
        "model": data["model"]["name"],
        "target": "aoti",
        "time_steps": "4",
        "time_output": "sequence",
        "reset_policy": data["reset_policy"],
        "state": json.dumps(graph["states"]),
        "inputs": json.dumps(graph["inputs"]),
        "outputs": json.dumps(graph["outputs"]),
        "neurons": json.dumps(data["neurons"]),
    }
    notes = {"neurokit.manifest": json.dumps({f"neurokit.{key}": value for key, value in said.items()})}
    notes |= {"neurokit.form": "sequence", "neurokit.precision": "float32"}
    notes |= {"neurokit.dims": json.dumps(graph["dims"], sort_keys=True)}
    (folder / "model.pt2").write_bytes(package(notes))
    (folder / "probe.pt2").write_bytes(package({}))
    (folder / "manifest.json").write_text(json.dumps(data))
    seal(folder)
    return folder


def _twice(folder):
    seal(folder, lambda data: data["graphs"].append({**data["graphs"][0], "name": "other"}))


def _exact_in_16_bits(folder):
    info = {"precision": "float16", "proof": {}}
    seal(folder, lambda data: (data.update(numerics="exact"), data[INFO].update(info)))


INFO, PORTS, INVALID = "target_info", "graphs.0", "its manifest is invalid at target_info"
MANIFESTS = {
    "no machine": (field(f"{INFO}.built_for", None), f"{INVALID}.built_for"),
    "a machine of text": (field(f"{INFO}.built_for", "here"), f"{INVALID}.built_for"),
    "an unknown device": (field(f"{INFO}.built_for.device", "meta"), f"{INVALID}.built_for.device"),
    "a device that is a number": (field(f"{INFO}.built_for.device", -1), f"{INVALID}.built_for.device"),
    "a GPU": (field(f"{INFO}.built_for.device", "cuda"), "no usable GPU"),
    "another PyTorch": (field(f"{INFO}.built_for.torch", "1.0"), "was compiled for PyTorch 1.0"),
    "extensions null": (field(f"{INFO}.built_for.cpu_extensions", None), f"{INVALID}.built_for.cpu_extensions"),
    "calls null": (field(f"{INFO}.calls", None), f"{INVALID}.calls"),
    "a call without end": (field(f"{INFO}.calls.0.states", 10**30), f"{INVALID}.calls.0.states"),
    "a call of nothing": (field(f"{INFO}.calls.0.shape", []), f"{INVALID}.calls.0.shape"),
    "a call rare by text": (field(f"{INFO}.calls.0.rare", "x"), f"{INVALID}.calls.0.rare"),
    "another layer": (field(f"{INFO}.calls.0.layer", "7"), "layer '7', which is none of its neurons"),
    "no such kind": (field(f"{INFO}.calls.0.kind", 5), "a kind of neurons that it does not have"),
    "kinds without end": (field(f"{INFO}.kinds", [10**9]), "kinds of neurons take"),
    "examples too large": (field(f"{INFO}.examples.0.0.0", [10**12]), "an example of its neurons is larger"),
    "examples null": (field(f"{INFO}.examples.0", None), f"{INVALID}.examples.0"),
    "another precision": (field(f"{INFO}.precision", "float16"), "contradict each other: precision"),
    "no precision": (lambda folder: seal(folder, lambda data: data[INFO].pop("precision")), f"{INVALID}.precision"),
    "exact in 16 bits": (_exact_in_16_bits, "exact numerics and a precision of float16"),
    "precision null": (field(f"{INFO}.precision", None), f"{INVALID}.precision"),
    "kernels of text": (field(f"{INFO}.kernels", "x"), f"{INVALID}.kernels"),
    "time output null": (field(f"{INFO}.time_output", None), "time_output is None"),
    "time output of text": (field(f"{INFO}.time_output", "fifth"), "time_output is 'fifth'"),
    "time input": (field(f"{INFO}.time_input", 3), "time_input is 3"),
    "batch": (field(f"{PORTS}.inputs.0.shape", [4, 7, 6]), "contradict each other: inputs.0.shape"),
    "input type": (field(f"{PORTS}.inputs.0.dtype", "float16"), "which is float16"),
    "output shape": (field(f"{PORTS}.outputs.0.shape", [4, "B", 9]), "contradict each other: outputs.0.shape"),
    "output type": (field(f"{PORTS}.outputs.0.dtype", "float64"), "contradict each other: outputs.0.dtype"),
    "no outputs": (field(f"{PORTS}.outputs", []), "graphs.0.outputs"),
    "axes": (field(f"{PORTS}.dims.B.min", 5), "contradict each other: dims"),
    "no axes": (field(f"{PORTS}.dims", {}), "contradict each other: dims"),
    "form": (field("form", "step"), "contradict each other: form"),
    "form of text": (field("form", "zz"), "contradict each other: form"),
    "steps": (field("time_steps", 9), "the manifest 9"),
    "no steps": (field("time_steps", None), "contradict each other: time_steps"),
    "reset policy": (field("reset_policy", "never"), "contradict each other: reset_policy"),
    "threshold": (field("neurons.0.parameters.v_threshold", 0.7), "v_threshold"),
    "a graph twice": (_twice, "one package for two graphs"),
    "another file": (field(f"{PORTS}.file", "vectors.npz"), "one folder"),
    "no such file": (field(f"{PORTS}.file", "none.pt2"), "none.pt2"),
}


@pytest.mark.parametrize("name", spread(MANIFESTS, 2))
def test_a_manifest_that_its_package_does_not_fit(packed, tmp_path, refused, name):
    make, said = MANIFESTS[name]
    make(packed)
    _trusted(packed)
    assert said in refused("verify", "a")


def _trusted(folder):
    try:
        nk.trust(folder)
    except nk.errors.ArtifactError:
        return  # it cannot even be read


def _content(content):
    def make(folder):
        (folder / "model.pt2").write_bytes(content)
        seal(folder)

    return make


PACKAGES = {
    "empty": (b"", "no whole package"),
    "text": (b"hello", "no whole package"),
    "cut": (package({})[:-40], "no whole package"),
    "an empty archive": (archive(), "one folder"),
    "another archive": (archive(a=b"b"), "no compiled model"),
    "two folders": (archive(a__b=b"", b__c=b""), "one folder"),
    "above its folder": (archive(**{"model/../../x": b"", MODEL: b""}), "one folder"),
    "from the root": (archive(**{"/tmp/x": b""}), "one folder"),
    "no library": (archive(**{f"{MODEL}_metadata.json": b"{}"}), "no compiled model"),
    "another model": (package({}, name="model/data/aotinductor/other/c.wrapper"), "no compiled model"),
    "a library of text": (package({}, b"hello"), "no whole library"),
    "a library that is cut": (package({}, library(5_000, 3)), "no whole library"),
    "notes no JSON": (archive(**{f"{MODEL}.so": library(), f"{MODEL}_metadata.json": b"{"}), "no whole package"),
    "notes a list": (archive(**{f"{MODEL}.so": library(), f"{MODEL}_metadata.json": b"[]"}), "no whole package"),
    "notes deep": (package({"neurokit.manifest": "[" * 100_000}), "nothing readable of itself"),
    "notes null": (package({"neurokit.manifest": "null"}), "nothing readable of itself"),
}


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_that_is_none(packed, refused, name, monkeypatch):
    content, said = PACKAGES[name]
    monkeypatch.setattr("neurokit.export.aoti.run.load", lambda *_: lambda *given: [])
    _content(content)(packed)
    nk.trust(packed)
    assert said in refused("verify", "a")


def _place(put):
    def make(folder):
        (folder / "model.pt2").unlink()
        put(folder / "model.pt2")

    return make


PLACES = {
    "a pipe": _place(os.mkfifo),
    "a folder": _place(lambda path: path.mkdir()),
    "a link to itself": _place(lambda path: path.symlink_to(path.name)),
    "a link to zeros": _place(lambda path: path.symlink_to("/dev/zero")),
    "nothing": _place(lambda path: None),
    "five gigabytes": lambda folder: os.truncate(folder / "model.pt2", 5 << 30),
}


@pytest.mark.parametrize("name", PLACES)
def test_a_package_in_whose_place_lies_something_else(packed, refused, name):
    nk.trust(packed)
    PLACES[name](packed)
    assert "model.pt2" in refused("verify", "a")
    assert "model.pt2" in refused("run", "a", "--prompt-ids=1")


def test_nothing_of_it_is_loaded_without_trust(packed, tmp_path, refused, monkeypatch):
    np.save(tmp_path / "x.npy", np.zeros((4, 6), np.float32))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "none"))  # other tests have trusted the same bytes
    monkeypatch.setattr(nk.native, "_noted", set())
    monkeypatch.setattr("neurokit.export.aoti.run.load", lambda *_: pytest.fail("it was loaded"))
    for command in (("verify", "a"), ("run", "a", "x.npy")):
        assert "machine code" in refused(*command)


OPTIONS = {
    "a GPU that is not there": ("--option", "device=cuda"),
    "an unknown device": ("--option", "device=tpu"),
    "an unknown option": ("--option", "speed=9"),
    "an option without a value": ("--option", "device"),
    "an unknown form": ("--option", "form=none"),
    "a precision of text": ("--option", "precision=float8"),
    "a precision of exact numbers": ("--option", "precision=float16", "--numerics", "exact"),
    "tuning of text": ("--option", "tune=often"),
    "a batch beyond all memory": ("--batch", str(10**12)),
    "a batch of nothing": ("--batch", "0"),
    "any number of steps": ("--time-steps", "dynamic"),
    "a place within a file": ("--out", "m.py/out"),
}


@pytest.mark.parametrize("name", spread(OPTIONS, 2))
def test_options_of_the_target(sound, tmp_path, refused, name):
    shutil.copy(sound / "m.py", tmp_path / "m.py")
    given = ("--input-shape", "6", "--time-steps", "4", "--target", "aoti", "--out", "out", *OPTIONS[name])
    refused("export", "m.py:net", *given)


class _FullAfter:
    """A file on a disk that is full after some bytes."""

    def __init__(self, most):
        self.left = most

    def seek(self, offset, _whence=0):
        return offset

    def write(self, data):
        self.left -= len(data)
        if self.left < 0:
            raise OSError(errno.ENOSPC, "No space left on device")


def test_a_package_on_a_full_disk_does_not_end_the_process(tmp_path, monkeypatch):
    """PyTorch's writer of archives aborts where writing raises: the error is held back until it is done."""
    pytest.importorskip("torch._inductor.package")
    from neurokit.export.aoti.compile import package

    made = tmp_path / "c.wrapper.so"
    made.write_bytes(library())
    package(tmp_path / "model.pt2", {"model": [str(made)]})
    with zipfile.ZipFile(tmp_path / "model.pt2") as whole:
        assert [name for name in whole.namelist() if name.endswith("/data/aotinductor/model/c.wrapper.so")]
    for most in (0, 300, 900):
        full = _FullAfter(most)
        monkeypatch.setattr("pathlib.Path.open", lambda *_a, full=full: contextlib.nullcontext(full))
        with pytest.raises(OSError, match="No space left"):
            package(tmp_path / "other.pt2", {"model": [str(made)]})


def test_two_processes_do_not_compile_at_once(tmp_path, monkeypatch):
    from neurokit.export.aoti.compile import one_process

    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path))
    with one_process(), (tmp_path / "neurokit.lock").open() as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with pytest.raises(OSError, match="mine"), one_process():
        raise OSError("mine")

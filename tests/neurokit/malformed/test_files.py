"""Malformed weights, files of other tools, chips, reports and arguments: each is refused in one clear line."""

import os
import shutil
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit import cli
from neurokit.errors import InputError

from .edits import DEEP, Pickled, spread


def _itself(path):
    held = {}
    held["state_dict"] = held
    torch.save(held, path)


def _deep(path):
    held = {"0.weight": torch.zeros(1)}
    for _ in range(50):
        held = {"model": held}
    torch.save(held, path)


def good_state(**changes):
    state = {
        "0.weight": torch.zeros(5, 6),
        "0.bias": torch.zeros(5),
        "2.weight": torch.zeros(3, 5),
        "2.bias": torch.zeros(3),
    }
    return {**state, **changes}


WEIGHTS = {
    "itself.pt": _itself,
    "deep.pt": _deep,
    "sparse.pt": lambda path: torch.save(good_state(**{"0.weight": torch.zeros(5, 6).to_sparse()}), path),
    "meta.pt": lambda path: torch.save(good_state(**{"0.weight": torch.zeros(5, 6, device="meta")}), path),
    "quantised.pt": lambda path: torch.save(
        good_state(**{"0.weight": torch.quantize_per_tensor(torch.zeros(5, 6), 0.1, 0, torch.qint8)}), path
    ),
    "complex.pt": lambda path: torch.save(good_state(**{"0.weight": torch.zeros(5, 6, dtype=torch.complex64)}), path),
    "list.pt": lambda path: torch.save([1, 2], path),
    "none.pt": lambda path: torch.save(None, path),
    "code.pt": lambda path: torch.save({"0.weight": Pickled()}, path),
    "text.pt": lambda path: path.write_bytes(b"weights"),
    "empty.pt": lambda path: path.write_bytes(b""),
    "pipe.pt": os.mkfifo,
    "text.safetensors": lambda path: path.write_bytes(b"weights"),
    "huge.safetensors": lambda path: path.write_bytes(b"\xff" * 16),
    "folder.pt": Path.mkdir,
}


@pytest.mark.parametrize("name", spread(WEIGHTS, 2))
def test_weights(sound, tmp_path, refused, name):
    WEIGHTS[name](tmp_path / name)
    refused("export", f"{sound}/m.py:net", "--input-shape", "6", "--weights", name, "--out", "out")
    assert not Path("executed").exists()


def _many_outputs(path):
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], [f"y{i}"]) for i in range(10_000)]
    ends = [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["B", 3]) for i in range(10_000)]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [given], ends)), str(path))


FILES = {
    "many.onnx": _many_outputs,
    **{f"empty{end}": lambda path: path.write_bytes(b"") for end in (".onnx", ".nir", ".pt2")},
    **{f"text{end}": lambda path: path.write_bytes(b"network" * 99) for end in (".onnx", ".nir", ".pt2")},
    **{f"pipe{end}": os.mkfifo for end in (".onnx", ".nir", ".pt2")},
    **{f"folder{end}": Path.mkdir for end in (".onnx", ".nir", ".pt2")},
    "archive.pt2": lambda path: zipfile.ZipFile(path, "w").close(),
}


@pytest.mark.parametrize("name", spread(FILES, 2))
def test_files_of_other_tools(tmp_path, refused, name):
    FILES[name](tmp_path / name)
    refused("export", name, "--out", "out")


CHIPS = {
    "deep.toml": b"a = " + b"[" * DEEP + b"]" * DEEP,
    "deep_tables.toml": b"[" + b"a." * DEEP + b"a]",
    "binary.toml": bytes(range(256)),
    "empty.toml": b"",
    "list.toml": b"a = [1, 2]\n",
}


@pytest.mark.parametrize("name", [*CHIPS, "pipe.toml", "folder.toml"])
def test_chips(tmp_path, refused, name):
    if name in CHIPS:
        (tmp_path / name).write_bytes(CHIPS[name])
    else:
        {"pipe.toml": os.mkfifo, "folder.toml": Path.mkdir}[name](tmp_path / name)
    refused("energy", "spiking_cnn", "--chip", name)


REPORTS = {
    "null.jsonl": b"null\n",
    "number.jsonl": b"3\n",
    "list.jsonl": b"[]\n",
    "fields.jsonl": b'{"time": 1, "key": [], "machine": {}, "git": null, "p50_s": "x"}\n',
    "deep.jsonl": b"[" * DEEP + b"\n",
    "binary.jsonl": bytes(range(256)),
    "null.json": b"null",
    "deep.json": b"[" * DEEP + b"]" * DEEP,
    "binary.json": bytes(range(256)),
    "another.json": b'{"report": "parity"}',
    "empty.json": b"",
}


@pytest.mark.parametrize("name", spread([*REPORTS, "pipe.json", "pipe.jsonl", "folder.json"], 2))
def test_reports(tmp_path, refused, name):
    if name in REPORTS:
        (tmp_path / name).write_bytes(REPORTS[name])
    else:
        (Path.mkdir if "folder" in name else os.mkfifo)(tmp_path / name)
    refused("report", name, "--html", "page.html")


ARGUMENTS = {
    "batch": ("--batch", 10**12),
    "steps": ("--time-steps", 10**12),
    "shape": ("--input-shape", "1000000,1000000,1000"),
    "option": ("--option", "a=" + "[" * DEEP),
    "calibration": ("--calibration", "/dev/null", "--numerics", "exact"),
    "data": ("--data", "/dev/zero"),
    "weights": ("--weights", "/dev/zero"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(sound, refused, name):
    refused("export", f"{sound}/m.py:net", "--input-shape", "6", "--out", "out", *ARGUMENTS[name])


@pytest.mark.parametrize("place", ["/", ".", "..", "/dev/null", "/proc/out", "a\0b", "x" * 300])
def test_places_to_write(sound, refused, place):
    refused("export", f"{sound}/m.py:net", "--input-shape", "6", "--out", place)


@pytest.mark.parametrize("place", ["/", ".", "/dev/full", "/proc/page.html"])
def test_pages_to_write(sound, refused, place):
    refused("report", sound / "a", "--html", place)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_a_path_that_is_no_utf8(sound, tmp_path, capsys):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    assert cli.main(["verify", str(place)]) == 2
    assert "does not exist" in capsys.readouterr().err
    shutil.copytree(sound / "a", place)
    assert cli.main(["verify", str(place)]) == 0
    assert "Traceback" not in capsys.readouterr().err
    written = ["export", f"{sound}/m.py:net", "--input-shape", "6", "--out", str(place) + "2"]
    assert cli.main(written) == 2  # ONNX's checker and HDF5 take no such name
    assert "is no UTF-8" in capsys.readouterr().err


def test_more_streams_than_a_machine_holds(sound):
    with nk.open(sound / "s") as runner, pytest.raises(InputError, match=r"a state of 1,000,000,000,000 streams has"):
        runner.reset(10**12)


def test_a_message_of_torch_is_not_on_the_screen(sound, refused):
    said = refused("export", f"{sound}/m.py:net", "--input-shape", "7", "--out", "out")
    assert "fake_tensor" not in said


NO_DATA = {
    "no labels": {"x": np.zeros((3, 4, 6), np.float32)},
    "NaN": {"x": np.full((3, 4, 6), np.nan, np.float32), "y": np.zeros(3, np.int64)},
    "fewer labels": {"x": np.zeros((3, 4, 6), np.float32), "y": np.zeros(2, np.int64)},
}


@pytest.mark.parametrize("name", NO_DATA)
def test_data_to_score(sound, tmp_path, refused, name):
    np.savez(tmp_path / "d.npz", **NO_DATA[name])
    refused("bench", sound / "a", "--data", "d.npz")


def test_data_of_another_shape_are_refused_before_anything_is_measured(sound, tmp_path, monkeypatch):
    from neurokit.artifact import Artifact
    from neurokit.bench import measure
    from neurokit.bench.job import Job
    from neurokit.bench.subject import artifact_subject
    from neurokit.errors import InputError

    np.savez(tmp_path / "d.npz", x=np.zeros((3, 7), np.float32), y=np.zeros(3, np.int64))
    job = Job("artifact", str(sound / "a"), data=str(tmp_path / "d.npz"))
    subject = artifact_subject(Artifact.load(sound / "a"), job, lambda: pytest.fail("it was opened"))
    with pytest.raises(InputError, match=r"has shape \[3, 7\]"):
        measure.measure(subject, job)


@pytest.mark.parametrize("option", [("--margin", "nan"), ("--margin", "1"), ("--confidence", "7")])
def test_limits_of_a_comparison(sound, refused, option):
    refused("bench", sound / "a", *option)


LABELS = {"rows": np.zeros((3, 3), np.int64), "fractions": np.zeros((3, 2)), "no such class": np.full(3, 10**9)}


@pytest.mark.parametrize("name", LABELS)
def test_labels_to_train_on(sound, tmp_path, refused, name):
    np.savez(tmp_path / "t.npz", x=np.zeros((3, 4, 6), np.float32), y=LABELS[name])
    given = ("--input-shape", "6", "--time-steps", "4", "--numerics", "exact", "--fine-tune", "t.npz")
    refused("export", f"{sound}/m.py:net", *given, "--out", "out")

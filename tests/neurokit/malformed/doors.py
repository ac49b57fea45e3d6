"""Sound files for every door where data, tables and lists come in, and what may lie there in the place of one."""

from __future__ import annotations

import json
import os
import struct
import wave
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

MODELS = """
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk

def _built(*parts):
    torch.manual_seed(0)
    return nn.Sequential(*parts).eval()

def picture():
    build = lambda: _built(nn.Flatten(), nn.Linear(64, 2))
    return nk.ModelSpec("picture", build, (nk.TensorSpec("x", (1, 8, 8)),), classes=("a", "b"))

def events():
    parts = lambda: (layer.Flatten(step_mode="m"), layer.Linear(128, 3, step_mode="m"), neuron.IFNode(step_mode="m"))
    return nk.ModelSpec("events", lambda: _built(*parts()), (nk.TensorSpec("x", (2, 8, 8)),), time_steps=4)

def sound():
    parts = lambda: (layer.Linear(6, 3, step_mode="m"), neuron.IFNode(step_mode="m"))
    return nk.ModelSpec("sound", lambda: _built(*parts()), (nk.TensorSpec("x", (6,)),), time_steps=4)
"""
STUDY = """
name = "small"
objectives = ["size"]
[models.a]
source = "spiking_cnn"
[space]
time_steps = [2, 4]
target = ["onnx"]
"""
WORDS = [f"w{at}" for at in range(16)]
GROUPS = [WORDS[at : at + 4] for at in range(0, 16, 4)]


@dataclass(frozen=True)
class Door:
    """One way in.

    Attributes:
        file: The file that something else stands in the place of.
        command: The command line, which runs in a copy of the sound folder.
        spared: Whether the command goes on without the file: a picture of a folder is left out, and said.
    """

    file: str
    command: tuple[str, ...]
    spared: bool = False


_TRAIN = ("train", "m.py:picture", "--epochs", "1", "--no-cache", "--recipe", "scratch", "--out", "out")
_OUT = ("--out", "out")
DOORS: dict[str, Door] = {
    "a picture of a class folder, run": Door("d/a/0.png", ("run", "p", "d"), True),
    "a picture of a class folder, deploy": Door(
        "d/a/0.png", ("deploy", "m.py:picture", "--data", "d", "--dry-run"), True
    ),
    "a picture of a class folder, calibration": Door(
        "d/a/0.png", ("export", "m.py:picture", "--target", "onnx-int8", "--calibration", "d", *_OUT), True
    ),
    "a picture of a class folder, score": Door("d/a/0.png", ("verify", "p", "--data", "d"), True),
    "a picture of a class folder, train": Door("d/a/0.png", (*_TRAIN, "--data", "d"), True),
    "a picture by itself": Door("d/a/0.png", ("run", "p", "d/a/0.png")),
    "a picture in a list": Door("d/a/0.png", ("run", "p", "list.csv")),
    "a list, CSV": Door("list.csv", ("run", "p", "list.csv")),
    "a list, JSON": Door("list.json", ("verify", "p", "--data", "list.json")),
    "a list, JSON lines": Door("list.jsonl", ("run", "p", "list.jsonl")),
    "COCO": Door("coco/all.json", ("run", "p", "coco/all.json")),
    "labelled arrays": Door("d.npz", ("verify", "p", "--data", "d.npz")),
    "arrays to calibrate on": Door(
        "x.npy", ("export", "m.py:picture", "--target", "onnx-int8", "--calibration", "x.npy", *_OUT)
    ),
    "events, npz": Door("e.npz", ("run", "e", "e.npz")),
    "events, AEDAT": Door("e.aedat", ("run", "e", "e.aedat")),
    "sound": Door("s.wav", ("run", "s", "s.wav")),
    "a volume": Door("v.nii.gz", ("run", "p", "v.nii.gz")),
    "study": Door("study.toml", ("sweep", "study.toml", "--dry-run")),
    "preprocessing": Door("pre.toml", ("export", "m.py:picture", "--preprocess", "pre.toml", *_OUT)),
    "heads": Door("heads.toml", ("score", "texts.jsonl", "--model", "tiny_lm", "--heads", "heads.toml")),
    "texts": Door("texts.jsonl", ("score", "texts.jsonl", "--model", "tiny_lm", "--heads", "heads.toml")),
    "heads of a transform": Door(
        "heads.toml",
        ("export", "tiny_lm", "--target", "onnx-step", "--transform", "zerotuning:file=heads.toml", *_OUT),
    ),
    "walls": Door("walls.json", ("walls", "walls.json", "--predictions", "predicted.json")),
    "predictions of walls": Door("predicted.json", ("walls", "walls.json", "--predictions", "predicted.json")),
    "vectors of words": Door("words.npz", ("walls", "walls.json", "--embeddings", "words.npz")),
    "rules of pauses": Door("rules.toml", ("pause", "one, two", "--rules", "rules.toml")),
    "device": Door("device.toml", ("energy", "m.py:sound", "--chip", "loihi1", "--compare", "device.toml")),
    "device, measured": Door("run.json", ("energy", "m.py:sound", "--chip", "loihi1", "--compare", "run.json")),
    "results to compare": Door("run.json", ("bench", "--compare", "--allow-invalid", "run.json", "run.json")),
}


def _png(path: Path, seed: int) -> None:
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(seed).integers(0, 255, (8, 8), dtype=np.uint8)).save(path)


def write_tables(folder: Path) -> None:
    """Writes what is text."""
    import neurokit

    rows = [(f"d/{name}/{at}.png", name) for name in "ab" for at in range(4)]
    (folder / "list.csv").write_text("path,label\n" + "".join(f"{path},{label}\n" for path, label in rows))
    listed = [{"path": path, "label": label} for path, label in rows]
    (folder / "list.json").write_text(json.dumps(listed))
    (folder / "list.jsonl").write_text("".join(json.dumps(row) + "\n" for row in listed))
    box = {"id": 0, "image_id": 0, "category_id": 1, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4]]}
    images = [{"id": 0, "file_name": "0.png", "width": 8, "height": 8}]
    coco = {"images": images, "annotations": [box], "categories": [{"id": 1, "name": "thing"}]}
    (folder / "coco").mkdir()
    (folder / "coco" / "all.json").write_text(json.dumps(coco))
    (folder / "study.toml").write_text(STUDY)
    (folder / "pre.toml").write_text(
        '[[step]]\nname = "Resize"\nsize = [8, 8]\n[[step]]\nname = "ToDtype"\nscale = true\n'
    )
    (folder / "heads.toml").write_text('format = "neurokit-heads-1"\n[[scope]]\nlayers = "1"\nheads = [0]\n')
    (folder / "texts.jsonl").write_text("".join(json.dumps({"ids": [1, 2, at], "id": at}) + "\n" for at in (3, 4)))
    groups = {f"group_{at}": {"gt_words": words, "gt_connection": "c"} for at, words in enumerate(GROUPS)}
    (folder / "walls.json").write_text(json.dumps([{"wall_id": "1", "words": WORDS, "groups": groups}]))
    (folder / "predicted.json").write_text(json.dumps([{"wall_id": "1", "predicted_groups": GROUPS}]))
    rules, device = "neurokit/pause/rules.toml", "hw_sim/devices/coral-edgetpu.toml"
    for name, path in (("rules.toml", rules), ("device.toml", device)):
        (folder / name).write_text((Path(neurokit.__file__).parents[1] / path).read_text())


def write_samples(folder: Path) -> None:
    """Writes pictures, arrays and recordings."""
    import nibabel

    rng = np.random.default_rng(0)
    for number, (name, at) in enumerate((name, at) for name in "ab" for at in range(4)):
        _png(folder / "d" / name / f"{at}.png", number)
    _png(folder / "coco" / "0.png", 9)
    x = rng.random((8, 1, 8, 8), dtype=np.float32)
    np.savez(folder / "d.npz", x=x, y=np.arange(8) % 2)
    np.save(folder / "x.npy", x)
    t, p = np.arange(50), rng.integers(0, 2, 50)
    column, row = rng.integers(0, 8, (2, 50))
    np.savez(folder / "e.npz", t=t, x=column, y=row, p=p)
    address = (127 - column) << 8 | (127 - row) << 1 | (1 - p)
    pairs = b"".join(struct.pack(">II", int(a), int(b)) for a, b in zip(address, t, strict=True))
    (folder / "e.aedat").write_bytes(b"#!AER-DAT2.0\r\n# AEChip: DVS128\r\n" + pairs)
    with wave.open(str(folder / "s.wav"), "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes((rng.random(800) * 30000).astype("<i2").tobytes())
    nibabel.save(nibabel.Nifti1Image(x[:, 0].T, np.eye(4)), folder / "v.nii.gz")
    np.savez(folder / "words.npz", words=np.array(WORDS), vectors=rng.random((16, 3)))


def _link(to: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(to)


def _sparse(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(5 << 30)


def _cut(path: Path, content: bytes) -> None:
    path.write_bytes(content[: len(content) // 2])


def _later(path: Path, content: bytes) -> None:
    path.write_bytes(content[:-12] if len(content) > 40 else content[:-1])


# What stands in the place of a file; a function of two arguments is given what was there.
INSTEAD: dict[str, Callable[..., None]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a link to nothing": _link("nowhere"),
    "zeros without end": _link("/dev/zero"),
    "five gigabytes": _sparse,
    "nothing": lambda path: path.write_bytes(b""),
    "words": lambda path: path.write_bytes(b"hello\n"),
    "other bytes": lambda path: path.write_bytes(bytes(range(256))),
    "UTF-16": lambda path: path.write_text('{"a": 1}\n', encoding="utf-16"),
    "null": lambda path: path.write_bytes(b"null\n"),
    "a deep nest": lambda path: path.write_bytes(b"a = " * path.name.endswith(".toml") + b"[" * 100_000),
    "half of it": _cut,
    "all but its end": _later,
}
# What no reader can take for a file.
NO_FILE = ("a pipe", "a folder", "a link to itself", "a link to nothing", "zeros without end")


def replaced(path: Path, name: str) -> None:
    """Puts something else in the place of a file."""
    content, put = path.read_bytes(), INSTEAD[name]
    path.unlink()
    put(path, content) if put in (_cut, _later) else put(path)

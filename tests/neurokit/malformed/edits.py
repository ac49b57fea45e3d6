"""Edits of a sound artifact, sealed again as somebody would who wants them read."""

import hashlib
import io
import json
import os
import zipfile

import numpy as np
import pytest

DEEP = 100_000


def spread(names, every=3):
    """Returns every third name for every run, the others for `make test-slow`: each takes a fraction of a second."""
    marks = [() if at % every == 0 else pytest.mark.slow for at in range(len(names))]
    return [pytest.param(name, marks=mark) for name, mark in zip(list(names), marks, strict=True)]


def seal(folder, edit=None):
    """Makes sums and digest right again."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for name in data["files"]:
        content = (folder / name).read_bytes()
        data["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    if edit is not None:
        edit(data)
    body = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    data["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(data))


def arrays_of(folder):
    with np.load(folder / "vectors.npz") as data:
        return {key: data[key] for key in data.files}


def edited_vectors(edit):
    def make(folder):
        arrays = arrays_of(folder)
        edit(arrays)
        np.savez_compressed(folder / "vectors.npz", **arrays)

    return make


def edited_head(edit):
    def make(arrays):
        head = json.loads(bytes(arrays["head"]))
        head = edit(head) or head
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)

    return edited_vectors(make)


def raw_head(content):
    return edited_vectors(lambda arrays: arrays.update(head=np.frombuffer(content, dtype=np.uint8)))


def put(name, value):
    return edited_vectors(lambda arrays: arrays.update({name: value}))


def file_of(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def layer_field(key, value):
    return edited_head(lambda head: head["layers"][0].__setitem__(key, value))


class Pickled:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _bomb():
    held = io.BytesIO()
    with (
        zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(9 * 64):
            file.write(bytes(2**24))
    return held.getvalue()


def field(path, value):
    *parents, last = path.split(".")

    def edit(data):
        for part in parents:
            data = data[int(part)] if part.isdigit() else data[part]
        data[int(last) if last.isdigit() else last] = value

    return lambda folder: seal(folder, edit)

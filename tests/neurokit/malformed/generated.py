"""Makes malformed inputs for every door: a sound file of each kind, one value or one stretch of bytes of it changed.

What is changed is drawn with a seed, so that a case has the same name and content in every run.
"""

from __future__ import annotations

import contextlib
import json
import random
import shutil
import tomllib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .edits import arrays_of, seal

WRONG: tuple[Any, ...] = (
    None,
    True,
    0,
    -1,
    10**30,
    1e308,
    -0.5,
    float("nan"),
    "",
    "x",
    "../../x",
    "é\u0000",
    [],
    [None],
    [[[]]],
    {},
    {"x": 1},
)


@dataclass(frozen=True)
class Door:
    """One way in.

    Attributes:
        kind: How a file is changed: "json", "lines" (of JSON), "toml" or "bytes".
        file: The file within the folder of sound files.
        command: The command line, which runs in a copy of that folder.
        count: How many cases are drawn of it.
        sealed: The artifact whose sums are made right again.
    """

    kind: str
    file: str
    command: tuple[str, ...]
    count: int
    sealed: str = ""


_EXPORT = ("--out", "out")
_NET = ("export", "m.py:net", "--input-shape", "6", "--time-steps", "4", *_EXPORT)
DOORS: dict[str, Door] = {
    "manifest, verify": Door("json", "a/manifest.json", ("verify", "a"), 60, "a"),
    "manifest of a step form, verify": Door("json", "s/manifest.json", ("verify", "s"), 30, "s"),
    "manifest, run": Door("json", "a/manifest.json", ("run", "a", "x.npy"), 25, "a"),
    "manifest, report": Door("json", "a/manifest.json", ("report", "a", "--html", "page.html"), 25, "a"),
    "manifest of a NIR file, verify": Door("json", "nir/manifest.json", ("verify", "nir"), 20, "nir"),
    "head of the vectors": Door("head", "a", ("verify", "a"), 40, "a"),
    "vectors": Door("bytes", "a/vectors.npz", ("verify", "a"), 15, "a"),
    "graph": Door("bytes", "a/model.onnx", ("verify", "a"), 15, "a"),
    "run.json": Door("json", "run.json", ("report", "run.json", "--html", "page.html"), 40),
    "parity.json": Door("json", "parity.json", ("report", "parity.json", "--html", "page.html"), 25),
    "history": Door("lines", "h.jsonl", ("report", "h.jsonl", "--html", "page.html"), 25),
    "chip": Door("toml", "chip.toml", ("chips", "chip.toml"), 30),
    "pack": Door("json", "pack/jobs.json", ("pack",), 30),
    "safetensors": Door("bytes", "w.safetensors", (*_NET, "--weights", "w.safetensors"), 12),
    "checkpoint": Door("bytes", "w.pt", (*_NET, "--weights", "w.pt"), 12),
    ".nir": Door("bytes", "net.nir", ("export", "net.nir", "--time-steps", "4", *_EXPORT), 10),
    ".onnx": Door("bytes", "net.onnx", ("export", "net.onnx", *_EXPORT), 10),
    ".pt2": Door("bytes", "net.pt2", ("export", "net.pt2", *_EXPORT), 10),
    "samples": Door("bytes", "x.npy", ("run", "a", "x.npy"), 10),
}
TOTAL = sum(door.count for door in DOORS.values())
EVERY = [(name, number) for name, door in DOORS.items() for number in range(door.count)]
FAST = [(name, number) for name, number in EVERY if number < (3 if name in ("manifest, verify", "run.json") else 2)]


def spoil(name: str, number: int, folder: Path) -> str:
    """Changes the file of a case in a copy of the sound folder; returns what was changed."""
    door = DOORS[name]
    said = changed(folder / door.file, door.kind, random.Random(f"{name} {number}"))
    if door.sealed:
        sealed_again(folder / door.sealed)
    return said


def changed(place: Path, kind: str, drawn: random.Random) -> str:
    """Changes a file of a kind; returns what was changed."""
    change: dict[str, Callable[[Path, random.Random], str]] = {
        "json": _spoil_json,
        "lines": _spoil_lines,
        "toml": _spoil_toml,
        "bytes": _spoil_bytes,
        "head": _spoil_head,
    }
    return change[kind](place, drawn)


def copied(sound: Path, folder: Path) -> None:
    """Copies the sound files."""
    shutil.copytree(sound, folder, dirs_exist_ok=True)


def sealed_again(folder: Path) -> None:
    # What cannot be sealed any more is left as it is.
    with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError, OSError, RecursionError):
        seal(folder)


def _places(value: Any, where: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yields the path of every value within a piece of JSON."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*where, key)
        yield from _places(inner, (*where, key))


def _spoiled(value: Any, drawn: random.Random) -> tuple[Any, str]:
    """Returns a piece of JSON with one value changed, left out or added."""
    kind = drawn.choice(("value", "value", "value", "lost", "added", "whole"))
    if kind == "whole":
        return (wrong := drawn.choice(WRONG)), f"all of it {wrong!r}"
    where = drawn.choice(list(_places(value)))
    held = value
    for key in where[:-1]:
        held = held[key]
    if kind == "lost":
        del held[where[-1]]
    elif kind == "added" and isinstance(held, dict):
        held["planted"] = drawn.choice(WRONG)
    else:
        held[where[-1]] = drawn.choice(WRONG)
    return value, f"{kind} at {where}"


def _spoil_json(place: Path, drawn: random.Random) -> str:
    value, said = _spoiled(json.loads(place.read_text()), drawn)
    place.write_text(json.dumps(value))
    return said


def _spoil_lines(place: Path, drawn: random.Random) -> str:
    lines = place.read_text().splitlines()
    at = drawn.randrange(len(lines))
    value, said = _spoiled(json.loads(lines[at]), drawn)
    lines[at] = json.dumps(value)
    place.write_text("\n".join(lines) + "\n")
    return said


def _spoil_head(folder: Path, drawn: random.Random) -> str:
    import numpy as np

    arrays = arrays_of(folder)
    value, said = _spoiled(json.loads(bytes(arrays["head"])), drawn)
    arrays["head"] = np.frombuffer(json.dumps(value).encode(), np.uint8)
    np.savez(folder / "vectors.npz", **arrays)
    return said


def _spoil_toml(place: Path, drawn: random.Random) -> str:
    """Changes one line `key = value`: TOML of the standard library is only read."""
    lines = place.read_text().splitlines()
    at = drawn.choice([at for at, line in enumerate(lines) if " = " in line and not line.startswith(("#", " "))])
    key = lines[at].partition(" = ")[0]
    wrong = drawn.choice(
        ("nan", "-1", "1e308", '""', '"x"', "[]", "{}", "true", "[1, 2]", "10000000000000000000000", "")
    )
    lines[at] = f"{key} = {wrong}"
    place.write_text("\n".join(lines) + "\n")
    try:
        tomllib.loads(place.read_text())
    except tomllib.TOMLDecodeError:
        return f"{lines[at]} (no TOML)"
    return lines[at]


def _spoil_bytes(place: Path, drawn: random.Random) -> str:
    content = bytearray(place.read_bytes())
    kind = drawn.choice(("cut", "turned", "zeros", "twice", "more"))
    at = drawn.randrange(len(content))
    if kind == "cut":
        del content[at:]
    elif kind == "turned":
        for place_ in (drawn.randrange(len(content)) for _ in range(4)):
            content[place_] ^= drawn.randrange(1, 256)
    elif kind == "zeros":
        content[at : at + 64] = bytes(len(content[at : at + 64]))
    elif kind == "twice":
        content[at:at] = content[at : at + 64]
    else:
        content += bytes(drawn.randrange(256) for _ in range(64))
    place.write_bytes(bytes(content))
    return f"{kind} at {at}"

"""Chips by name or from .toml files; what is wrong with a file is said with its line and field."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from neurokit.errors import InputError
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.plain import parse_toml, text_of
from neurokit.registry import Registry

CHIP_FOLDER = Path(__file__).parent

_ADAPTER = TypeAdapter(HardwareProfile)
_MOST_BYTES, _LONGEST_LINE = 2**20, 2**14  # of a chip file; the longest shipped has some kilobytes


def chip_names() -> list[str]:
    """Returns the name of every chip, shipped and added by other distributions through `neurokit.chips`."""
    return _registry().names()


def load_chip(name: str | Path | HardwareProfile) -> HardwareProfile:
    """Returns a chip by name, or from the path of a .toml file.

    Raises:
        UnknownNameError: If nobody registered that name.
        InputError: If the file is not there, is no TOML (with its line) or does not fit the schema (with its field).
    """
    if isinstance(name, HardwareProfile):
        return name
    if isinstance(name, Path) or str(name).endswith(".toml"):
        return read_chip(Path(name))
    return read_chip(_registry().get(name))


def read_chip(path: Path) -> HardwareProfile:
    """Reads one chip file.

    Raises:
        InputError: If the file is not there, is no TOML (with its line) or does not fit the schema (with its field).
    """
    try:
        text = text_of(path, _MOST_BYTES)
        if max(map(len, text.splitlines()), default=0) > _LONGEST_LINE:
            raise ValueError("a line is too long")
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read chip file {path}: {error}", expected="a readable .toml file") from error
    return _parse(text, str(path), path.stat().st_mtime_ns)


@cache
def _parse(text: str, path: str, _modified: int) -> HardwareProfile:
    try:
        data = parse_toml(text)
    except ValueError as error:
        what = str(error).replace("at end of document", f"at line {len(text.splitlines())}, the end of the document")
        raise InputError(f"{path}: not valid TOML: {what}", expected="TOML", fix="correct that line") from error
    try:
        return replace(_ADAPTER.validate_python(data), path=path)
    except ValidationError as error:
        raise InputError(
            f"{path}: " + "; ".join(_explain(text, item) for item in error.errors()),
            expected="the fields of a chip file (see hw_sim/README.md)",
        ) from None


def _explain(text: str, item: Any) -> str:
    """Says which line and field of the file one validation error is about."""
    loc = tuple(str(part) for part in item["loc"])
    name = ".".join(loc) or "the file"
    message = item["msg"].removeprefix("Value error, ")
    line = _line_of(text, loc)
    return f"{'line ' + str(line) + ', ' if line else ''}field {name}: {message}"


def _line_of(text: str, loc: tuple[str, ...]) -> int | None:
    """Returns the line of a field, or of the nearest table around it; tomllib itself keeps no positions."""
    for depth in range(len(loc), 0, -1):
        header, key = ".".join(loc[: depth - 1]), loc[depth - 1]
        table = ".".join(loc[:depth])
        current = ""
        for number, line in enumerate(text.splitlines(), start=1):
            opened = re.match(r"\s*\[+\s*([^\]]+?)\s*\]+", line)
            if opened:
                current = opened.group(1).replace('"', "")
                if current == table:
                    return number
            elif current == header and re.match(rf'\s*"?{re.escape(key)}"?\s*=', line):
                return number
    return None


@cache
def _registry() -> Registry[Path]:
    """Returns the shipped files and those of other distributions."""
    chips: Registry[Path] = Registry("chip", command="neurokit chips")
    for path in sorted(CHIP_FOLDER.glob("*.toml")):
        chips.add(path.stem, path)
    for point in entry_points(group="neurokit.chips"):
        try:
            found = point.load()
            chips.add(point.name, Path(found() if callable(found) else found))
        except Exception as error:  # a third party's broken plug-in must not hide the rest
            chips.broken[point.name] = f"{type(error).__name__}: {error}"
    return chips

"""Reads plain files from outside: regular, of a sane size, JSON and TOML of a sane depth; one kind of error else."""

from __future__ import annotations

import json
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pydantic import ValidationError

MOST_BYTES = 2**28  # of a text; manifests and reports have some kilobytes
_MOST_DEPTH = 100


def check_regular(path: str | Path, most: int | None = None) -> Path:
    """Returns the path of a file that can be opened without waiting.

    Args:
        path: The path.
        most: Largest number of bytes; None for any.

    Raises:
        OSError: If there is none, it is no regular file (a pipe would be waited for), or it is too long.
    """
    path = Path(path)
    info = path.stat()
    if not stat.S_ISREG(info.st_mode) or _is_of_kernel(path, info):
        raise OSError(f"it is {'a folder' if stat.S_ISDIR(info.st_mode) else 'no regular file'}")
    if most is not None and info.st_size > most:
        raise OSError(f"it has {info.st_size:,} bytes, more than {most:,}")
    return path


def is_file(path: Path) -> bool:
    """Returns whether there is a regular file, also where the system refuses to say (a name of 300 letters)."""
    try:
        return path.is_file() and not _is_of_kernel(path, path.stat())
    except OSError:
        return False


def _is_of_kernel(path: Path, info: os.stat_result) -> bool:
    """Returns whether a file is none that lies anywhere: reading some of these waits for ever (/proc/kmsg)."""
    return not info.st_size and path.resolve().parts[:2] in (("/", "proc"), ("/", "sys"))


def no_file(path: Path) -> str:
    """Returns why there is no file to read ("does not exist", "is a folder", "is no regular file"), or ""."""
    if is_file(path):
        return ""
    if is_folder(path):
        return "is a folder"
    try:
        path.stat()
    except (OSError, ValueError):
        return "does not exist"
    return "is no regular file"  # a pipe would be waited for


def is_folder(path: Path) -> bool:
    """Returns whether there is a folder, also where the system refuses to say."""
    try:
        return path.is_dir()
    except OSError:
        return False


def text_of(path: Path, most: int = MOST_BYTES, encoding: str = "utf-8") -> str:
    """Reads a UTF-8 text.

    Raises:
        OSError: If it is no regular file (a pipe would be waited for), is too long, or cannot be read.
        ValueError: If it is no UTF-8.
    """
    return check_regular(path, most).read_text(encoding=encoding)


def json_of(path: Path) -> Any:
    """Reads a JSON file.

    Raises:
        OSError: As `text_of`.
        ValueError: If it is no UTF-8 or no JSON, or nests too deep.
    """
    return parse_json(text_of(path))


def toml_of(path: Path) -> dict[str, Any]:
    """Reads a TOML file.

    Raises:
        OSError: As `text_of`.
        ValueError: If it is no UTF-8 or no TOML, or nests too deep.
    """
    return parse_toml(text_of(path))


def parse_toml(text: str) -> dict[str, Any]:
    """Parses TOML.

    Raises:
        ValueError: If it is none or nests too deep.
    """
    try:
        import tomllib  # not in Python 3.10, which packs run on

        _refuse_long_keys(text)
        found = tomllib.loads(text)
        _check_depth(found)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    return found


def _refuse_long_keys(text: str) -> None:
    """Refuses keys of many parts before they are parsed: tomllib takes a minute for one of 16,000.

    Raises:
        ValueError: If there is one.
    """
    for line in text.splitlines():
        if line.count(".") > _MOST_DEPTH and any(
            part.count(".") > _MOST_DEPTH for part in re.split(r"[=\[\]{},#]", line)
        ):
            raise ValueError("it nests too deep")


def first_fault(error: ValidationError) -> tuple[str, str]:
    """Returns where the first fault of some data is ("chips.0.total", "" at the top), and what it is."""
    first = error.errors()[0]
    return ".".join(map(str, first["loc"])), first["msg"]


def parse_json(text: str) -> Any:
    """Parses JSON.

    Raises:
        ValueError: If it is none or nests too deep.
    """
    try:
        data = json.loads(text)
        _check_depth(data)
    except RecursionError:
        raise ValueError("it nests too deep") from None
    return data


def _check_depth(data: Any) -> None:
    level = [data]
    for _ in range(_MOST_DEPTH):
        level = [part for value in level for part in _parts(value)]
        if not level:
            return
    raise ValueError("it nests too deep")


def _parts(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []

"""One policy for files that cannot be read: pictures of a folder are left out and said, what was named is refused."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from neurokit.data.decoded import decoded
from neurokit.data.kinds import IMAGES, kind_of
from neurokit.errors import InputError, LeftOutWarning
from neurokit.plain import check_regular, is_file

if TYPE_CHECKING:
    from neurokit.data.found import Found

DECODED = 2_000  # so many pictures are decoded before work begins; of more, head and end are looked at
_TAIL = 1 << 16
_ENDS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
_THREADS = 8
_SHOWN = 3


def without_damaged(found: Found, place: str) -> Found:
    """Returns what was found without the pictures that cannot be read.

    Nobody named the files of a folder that was looked through one by one: there, pictures that are none after all are
    left out, with a `LeftOutWarning`. A picture that stands in a list, in COCO or by itself was meant, and anything
    but a picture (arrays, recordings, volumes) too.

    Args:
        found: What was found.
        place: Where.

    Raises:
        InputError: If a file that was meant cannot be opened, or nothing, or nothing of a class, is left.
    """
    files = [(at, item.value) for at, item in enumerate(found.items) if isinstance(item.value, Path)]
    pictures = [(at, path) for at, path in files if kind_of(path) in IMAGES]
    meant = next((path for _, path in files if kind_of(path) not in IMAGES and not is_file(path)), None)
    if meant is not None:
        raise InputError(f"input file {meant} is no regular file", expected="a file of samples")
    bad = {at: why for (at, _), why in zip(pictures, faults_of([path for _, path in pictures]), strict=True) if why}
    if not bad:
        return found
    unreadable = tuple((str(found.items[at].value), why) for at, why in bad.items())
    if not found.looked:
        raise InputError(
            f"{unreadable[0][0]} cannot be read as an image: {unreadable[0][1]}",
            expected="an undamaged image file",
            fix="mend it, or take it out of the list",
        )
    left = tuple(item for at, item in enumerate(found.items) if at not in bad)
    bare = sorted({str(item.label) for item in found.items} - {str(item.label) for item in left})
    if bare:
        at = next(at for at in bad if str(found.items[at].label) == bare[0])
        which = f"class folder {bare[0]} of {place}" if found.classes else place
        raise InputError(
            f"no image of {which} can be read; {found.items[at].name}: {bad[at]}", expected="at least one image"
        )
    warnings.warn(said_of(unreadable, len(found.items), place), LeftOutWarning, stacklevel=2)
    return replace(found, items=left, unreadable=unreadable)


def said_of(unreadable: Sequence[tuple[str, str]], count: int, place: str) -> str:
    """Returns one line on the files that were left out, the first ones by name."""
    named = "; ".join(f"{path}: {why}" for path, why in unreadable[:_SHOWN])
    more = f"; and {len(unreadable) - _SHOWN} more" if len(unreadable) > _SHOWN else ""
    return f"{len(unreadable)} of {count:,} files of {place} cannot be read and are left out: {named}{more}"


def faults_of(pictures: Sequence[Path]) -> list[str]:
    """Returns why each picture cannot be read, or ""."""
    if not pictures:
        return []
    decode = len(pictures) <= DECODED
    with ThreadPoolExecutor(_THREADS) as pool:  # Pillow decodes without the interpreter's lock
        return list(pool.map(lambda path: _fault(path, decode), pictures))


def why_of(error: Exception) -> str:
    """Returns what a decoder said, on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())[:120]}"


def _fault(path: Path, decode: bool) -> str:
    try:
        info = check_regular(path).stat()
    except OSError as error:
        return why_of(error) if error.errno is not None else str(error)
    return _fault_as_it_is(path, info.st_size, info.st_mtime_ns, decode)


@lru_cache(1 << 16)  # one command may look through a folder several times
def _fault_as_it_is(path: Path, size: int, changed: int, decode: bool) -> str:
    from PIL import Image

    try:
        if decode:
            decoded(path)
            return ""
        with Image.open(path) as image:
            if (end := _ENDS.get(image.format or "")) and end not in _tail(path, size):
                return "it is cut off"
    except Exception as error:  # every decoder has exceptions of its own
        return why_of(error)
    return ""


def _tail(path: Path, size: int) -> bytes:
    with path.open("rb") as file:
        file.seek(max(0, size - _TAIL))
        return file.read()

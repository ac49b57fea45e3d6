"""Pictures from files, each decoded once a command as long as memory for it lasts: first checked, then read."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from neurokit.plain import check_regular

if TYPE_CHECKING:
    from PIL import Image

MOST_BYTES = 256 << 20
_PIXEL = 4  # bytes: Pillow keeps colours in four, brightness in one

_Key = tuple[str, int, int]
_kept: OrderedDict[_Key, Image.Image] = OrderedDict()
_lock = threading.Lock()
_bytes = 0


def decoded(path: str | Path) -> Image.Image:
    """Returns a picture of its own, whole; a file that changes is decoded again.

    Raises:
        OSError: If there is no such file, or it is no picture or a damaged one; Pillow has other exceptions, too.
    """
    from PIL import Image

    about = check_regular(path).stat()
    key = str(path), about.st_size, about.st_mtime_ns
    with _lock:
        if key in _kept:
            _kept.move_to_end(key)
            return _kept[key].copy()
    with Image.open(path) as image:
        image.load()
        made = image.copy()
    _keep(key, made)
    return made.copy()


def _keep(key: _Key, image: Image.Image) -> None:
    """Keeps a picture, and drops those that were longest not asked for."""
    global _bytes
    with _lock:
        if key in _kept or _size(image) > MOST_BYTES // 8:
            return
        _kept[key] = image
        _bytes += _size(image)
        while _bytes > MOST_BYTES:
            _bytes -= _size(_kept.popitem(last=False)[1])


def _size(image: Image.Image) -> int:
    return image.width * image.height * _PIXEL

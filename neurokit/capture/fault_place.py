"""Where in a module's own code an error arose: the module and the call, for a refusal that names them."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

import torch
from torch import nn

_OURS = Path(__file__).parents[1]
_ZOO = _OURS / "models"
_LIBRARIES = tuple({Path(sysconfig.get_path(name)) for name in ("stdlib", "purelib", "platlib")})
_MOST = 80  # characters of a call that are told


def fault_place(error: BaseException, net: nn.Module | None) -> tuple[str, str]:
    """Returns the module path and the call in which an error arose, as "spikegen.latency(x) (net.py:13)".

    It is the innermost line of the user's own code, or, where an error arose in a library's module alone, of that
    library. Both are "" where nothing is known.
    """
    frames = [frame for each in _chain(error) for frame in _frames(each.__traceback__)]
    told = [at for at, (path, _) in enumerate(frames) if not _is_library(path)] or list(range(len(frames)))
    if not told:
        return "", ""
    names = {} if net is None else {id(part): name for name, part in net.named_modules()}
    owners = [id(tb.tb_frame.f_locals.get("self")) for _, tb in frames[: told[-1] + 1]]
    path = next((names[owner] for owner in reversed(owners) if owner in names), "")
    return path, _call(frames[told[-1]][1])


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yields an error and what it came of, the first cause last."""
    seen = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _frames(tb: TracebackType | None) -> list[tuple[Path, TracebackType]]:
    """Returns the frames of a traceback that are no part of torch or of capturing, the outermost first."""
    found = []
    while tb is not None:
        path = Path(tb.tb_frame.f_code.co_filename)
        ours = path.is_relative_to(_OURS) and not path.is_relative_to(_ZOO)
        if path.is_file() and not ours and not path.is_relative_to(Path(torch.__file__).parent):
            found.append((path, tb))
        tb = tb.tb_next
    return found


def _is_library(path: Path) -> bool:
    return any(path.is_relative_to(place) for place in _LIBRARIES) or path.is_relative_to(_ZOO)


def _call(tb: TracebackType) -> str:
    """Returns the text of the expression that a frame was at, in one line, with its place."""
    (at,) = traceback.extract_tb(tb, limit=1)
    lines = [linecache.getline(at.filename, number) for number in range(at.lineno or 0, (at.end_lineno or 0) + 1)]
    if lines and at.colno is not None and at.end_colno is not None:
        lines[-1] = lines[-1].encode()[: at.end_colno].decode(errors="ignore")
        lines[0] = lines[0].encode()[at.colno :].decode(errors="ignore")
    text = " ".join(" ".join(lines).split()) or at.name
    text = text if len(text) <= _MOST else f"{text[:_MOST]}..."
    return f"{text} ({Path(at.filename).name}:{at.lineno})"

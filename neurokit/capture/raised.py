"""Where in a user's or a library's code an error was raised."""

from __future__ import annotations

import traceback
from pathlib import Path

from torch import nn


def raised_at(error: BaseException) -> str:
    """Returns the line that raised an error, with its file and number: what an assertion without a message says."""
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return "no message"
    return f"{(frames[-1].line or 'no message')[:160]} ({Path(frames[-1].filename).name}:{frames[-1].lineno})"


def failing_part(error: BaseException, net: nn.Module) -> tuple[str, str]:
    """Returns the path and class of the innermost part of a module in whose code an error was raised.

    Args:
        error: The error, of a run of the module or of a copy of it.
        net: The module.
    """
    found, place = net, error.__traceback__
    while place is not None:
        here = place.tb_frame.f_locals.get("self")
        if isinstance(here, nn.Module) and any(type(part) is type(here) for part in net.modules()):
            found = here
        place = place.tb_next
    path = next((path for path, part in net.named_modules() if type(part) is type(found)), "")
    return path, type(found).__name__

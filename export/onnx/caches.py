"""Caches of a fixed size: a buffer and a length in the place of caches that grow with every call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, Unsupported

if TYPE_CHECKING:
    from neurokit.capture import Captured

_MOST = 2**24  # entries; a mask of one token over more would itself take 16 MiB


def entries_of(options: Mapping[str, Any]) -> int | None:
    """Returns the entries that `--option cache=fixed:N` asks for, or None for caches that grow.

    Raises:
        InputError: If it is neither "grow" nor "fixed:N" with a whole number from 1.
    """
    asked = options.get("cache", "grow")
    if asked == "grow":
        return None
    found = re.fullmatch(r"fixed:([0-9]{1,12})", asked) if isinstance(asked, str) else None
    if found is None or not 1 <= int(found[1]) <= _MOST:
        raise InputError(f"--option cache={asked}", expected=f"grow, or fixed:N with N from 1 to {_MOST:,}")
    return int(found[1])


def no_fixed_cache(captured: Captured, entries: int | None, form: str) -> list[Unsupported]:
    """Returns why a model cannot have caches of a fixed size."""
    if entries is None:
        return []
    spec = captured.spec
    if form != "step":
        return [Unsupported("", "cache", "this form keeps nothing between calls", "use --target onnx-step")]
    if spec.fixed_cache is None:
        return [Unsupported("", spec.name, "it has no caches that grow", "leave --option cache away")]
    return []


def with_fixed_cache(captured: Captured, entries: int | None) -> Captured:
    """Returns the capture of the same model with caches of so many entries; None leaves it as it is."""
    if entries is None or captured.spec.fixed_cache is None:
        return captured
    from neurokit.capture import capture

    made = capture(captured.spec.fixed_cache(entries), batch=captured.batch)
    return replace(made, notes=captured.notes, fidelity=captured.fidelity)

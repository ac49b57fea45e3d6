"""Caches of a fixed size: a buffer and a length in the place of caches that grow with every call."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, Unsupported
from neurokit.export.onnx.sparse import in_sparse_form

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
    from neurokit.parity.record_text import tokens_verified

    least = tokens_verified(captured)
    if entries < least:
        why = f"the {least} tokens that it is verified with do not fit into {entries} entries"
        return [Unsupported("", "cache", why, f"--option cache=fixed:N with N from {least}")]
    return []


def in_form(captured: Captured, entries: int | None, sparse: str | None) -> Captured:
    """Returns the capture of the same model as the options want it: captured again only where that changes it.

    Args:
        captured: The model.
        entries: Entries of caches of a fixed size, or None for caches that grow.
        sparse: "masked" or "gathered", or None.
    """
    spec = in_sparse_form(captured.spec, sparse)
    if entries is not None and spec.fixed_cache is not None:
        spec = spec.fixed_cache(entries)
    if spec is captured.spec:
        return captured
    from neurokit.capture import capture

    made = capture(spec, batch=captured.batch)
    return replace(made, notes=captured.notes, fidelity=captured.fidelity)

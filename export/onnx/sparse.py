"""Attention over selected keys as a graph: a dense product under a mask, or the selected keys alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neurokit.errors import Unsupported

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.spec import ModelSpec

SPARSE = ("masked", "gathered")


def sparse_of(options: Mapping[str, Any]) -> str | None:
    """Returns "masked" or "gathered" where `--option attention=` is one of them; softmax is decomposed then."""
    asked = options.get("attention")
    return str(asked) if asked in SPARSE else None


def no_sparse_form(captured: Captured, asked: str | None) -> list[Unsupported]:
    """Returns why a model has no graph of that form, before any work; without one asked for, why it has no graph."""
    spec = captured.spec
    if spec.sparse is None or (asked and spec.sparse.gathered is None):
        if asked is None:
            return []
        return [Unsupported("", spec.name, "no layer of it selects keys", f"leave --option attention={asked} away")]
    return list(spec.sparse.obstacles(asked or "masked"))


def in_sparse_form(spec: ModelSpec, asked: str | None) -> ModelSpec:
    """Returns the model in that form; masked is how it is written."""
    if asked != "gathered" or spec.sparse is None or spec.sparse.gathered is None:
        return spec
    return spec.sparse.gathered()

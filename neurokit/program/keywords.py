"""Lets graph modules hold parts whose names are Python keywords, as a `ModuleDict` of the user's may have them."""

from __future__ import annotations

import keyword

import torch.fx.graph


def _path(base: str, target: str) -> str:
    """Returns the code that fetches `target`; a keyword is an identifier to `str.isidentifier`, and no name."""
    for name in target.split("."):
        plain = name.isidentifier() and not keyword.iskeyword(name)
        base = f"{base}.{name}" if plain else f'getattr({base}, "{name}")'
    return base


def allow_keywords() -> None:
    """Makes torch.fx write `getattr` for a keyword: its own code for such a module is a syntax error (torch 2.11)."""
    if hasattr(torch.fx.graph, "_format_target"):
        torch.fx.graph._format_target = _path

"""Patterns as graphs: what has no graph is said before any work; two forms, masked and gathered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.errors import Unsupported

if TYPE_CHECKING:
    from neurokit.attention.pattern import AttentionPattern, Form


def obstacles(pattern: AttentionPattern, form: Form, longest: int | None = None) -> list[Unsupported]:
    """Returns every reason why a pattern has no graph in a form.

    Args:
        pattern: The pattern with its settings.
        form: "masked" (the dense product under a mask: exact, no gain) or "gathered" (selected keys only).
        longest: Largest number of tokens that the graph is for, if it is bound.
    """
    name, traits = pattern.card.name, pattern.traits
    found = []
    if traits.longest and longest is None:
        found.append(Unsupported("", name, "its rounds are unrolled for a largest number of tokens", "set longest"))
    if form == "gathered" and not traits.fixed_count:
        fix = "use masked, or set a cap of blocks; a flag then says when it overflows"
        found.append(Unsupported("", name, "a threshold selects: the number of keys is not fixed", fix))
    return found

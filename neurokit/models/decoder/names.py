"""What the parameters of a decoder are called in the checkpoints of families that call them otherwise."""

from __future__ import annotations

import re

_TRANSNORMER = (
    (r"^model\.embed_tokens\.", "lm_head."),  # one tensor under two names; the later one counts
    (r"^model\.layers\.", "transnormer.h."),
    (r"\.self_attn\.", ".token_mixer."),
    (r"\.mlp\.gate_proj\.", ".channel_mixer.l1."),
    (r"\.mlp\.up_proj\.", ".channel_mixer.l2."),
    (r"\.mlp\.down_proj\.", ".channel_mixer.l3."),
)


def transnormer(name: str) -> str:
    """Returns what the released port of TransNormerLLM calls a parameter."""
    for pattern, public in _TRANSNORMER:
        name = re.sub(pattern, public, name)
    return name

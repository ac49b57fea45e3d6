"""The report of `neurokit energy LM --tokens N`: what a token costs, counted by the model's equations."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from neurokit.atomic import write_text
from neurokit.quantity import Quantity
from neurokit.reports._base import Report


@dataclass(frozen=True)
class PatternWork:
    """What one token costs in all layers that mix tokens in one way.

    Attributes:
        pattern: Name of the way, or "mlp" and "head" for what every token does on its own.
        parts: How many layers.
        counts: Active pairs, multiply-adds of two activations and of activation and weight, and bytes of caches read
            and written, of the last token.
        mean: The same, the mean over all tokens.
    """

    pattern: str
    parts: int
    counts: dict[str, Quantity]
    mean: dict[str, Quantity]


@dataclass(frozen=True)
class ChipTokens:
    """What a chip's prices say of the last token.

    Attributes:
        chip: Name of the chip.
        energy: Joules by count, of those that have a price there.
        not_priced: Counts that the chip has no price for, with the reason.
    """

    chip: str
    energy: dict[str, Quantity]
    not_priced: dict[str, str]


@dataclass(frozen=True)
class TokenReport(Report):
    """What a token of a language model costs.

    Attributes:
        model: Name of the model.
        tokens: Tokens of the text, the counted one included.
        patterns: One entry a way to mix tokens, then MLP and head.
        total: The counts of the last token over all parts.
        mean: The same, the mean over all tokens.
        chips: What chips' prices say.
        assumptions: One line each.
    """

    KIND: ClassVar[str] = "token energy"

    model: str
    tokens: int
    patterns: tuple[PatternWork, ...]
    total: dict[str, Quantity]
    mean: dict[str, Quantity]
    chips: tuple[ChipTokens, ...] = ()
    assumptions: tuple[str, ...] = ()

    def __repr__(self) -> str:
        chips = ", ".join(chip.chip for chip in self.chips) or "no chip"
        return f"TokenReport({self.model!r}, {self.tokens} tokens, {len(self.patterns)} patterns, on {chips})"

    def save_json(self, path: str | Path) -> Path:
        """Writes the report as JSON, whole or not at all."""
        write_text(Path(path), json.dumps(self.to_json(), indent=1) + "\n")
        return Path(path)

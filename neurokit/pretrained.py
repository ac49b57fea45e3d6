"""Weights that somebody publishes for a model: what a specification says of them, and a build that has them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from neurokit.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

    from neurokit.spec import ModelSpec

# What a specification's options say of its weights, under "weights".
PRETRAINED, PARTLY = "pretrained", "pretrained but for the last layer"


@dataclass(frozen=True)
class Pretrained:
    """Weights that somebody publishes for a model.

    Attributes:
        load: Puts them into what `ModelSpec.build` returned, in place.
        whole: Whether every layer is trained; else the last one, of other classes, is drawn at random.
    """

    load: Callable[[nn.Module], None]
    whole: bool = True

    @property
    def said(self) -> str:
        """What a specification's options say of them."""
        return PRETRAINED if self.whole else PARTLY


def is_pretrained(weights: str | Path | None) -> bool:
    """Returns whether the published weights are meant, and no file of that name."""
    return weights is not None and str(weights) == PRETRAINED and not Path(weights).exists()


def published(spec: ModelSpec) -> Pretrained:
    """Returns what is published for a model.

    Raises:
        WeightsError: If nothing is.
    """
    if spec.pretrained is None:
        raise WeightsError(
            f"no weights are published for {spec.name!r}", expected="a weights file", fix="neurokit train makes one"
        )
    return spec.pretrained


def with_published(build_bare: Callable[[], nn.Module], found: Pretrained) -> Callable[[], nn.Module]:
    """Returns a build whose module has the published weights."""

    def build() -> nn.Module:
        module = build_bare()
        found.load(module)
        return module

    return build

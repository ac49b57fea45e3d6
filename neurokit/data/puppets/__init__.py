"""Synthetic hand-shadow puppets: drawn in the place of the HaSPeR data set where it is not at hand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurokit.data.puppets.names import CLASSES
from neurokit.data.puppets.render import render

if TYPE_CHECKING:
    from neurokit.data.puppets.shapes import PuppetShapes

__all__ = ["CLASSES", "PuppetShapes", "render"]


def __getattr__(name: str) -> Any:
    """Imports the dataset when it is asked for: it needs torch, and listings of models must not."""
    if name == "PuppetShapes":
        from neurokit.data.puppets.shapes import PuppetShapes

        return PuppetShapes
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

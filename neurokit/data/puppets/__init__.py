"""Synthetic hand-shadow puppets: drawn in the place of the HaSPeR data set where it is not at hand."""

from neurokit.data.puppets.names import CLASSES
from neurokit.data.puppets.render import render
from neurokit.data.puppets.shapes import PuppetShapes

__all__ = ["CLASSES", "PuppetShapes", "render"]

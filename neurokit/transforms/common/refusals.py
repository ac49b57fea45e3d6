"""What conversions of networks of ReLUs refuse before any work."""

from __future__ import annotations

from neurokit.errors import Unsupported
from neurokit.spec import ModelSpec

MOST_STEPS = 1024


def refusals(spec: ModelSpec) -> list[Unsupported]:
    """Returns why a model is no network of ReLUs with one input, as far as its specification tells."""
    if spec.spiking:
        return [no_relus(spec, "it is a spiking network")]
    if spec.graphs or spec.states or len(spec.inputs) != 1:
        return [no_relus(spec, "it has several graphs, inputs or declared states")]
    return []


def no_relus(spec: ModelSpec, why: str) -> Unsupported:
    """Returns the reason why a network cannot be converted."""
    return Unsupported("", spec.name, why, "give a network of convolutions or linear layers with ReLUs between them")

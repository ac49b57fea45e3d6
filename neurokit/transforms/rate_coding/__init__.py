"""The transform `rate_coding`: a network of ReLUs as a spiking one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurokit.errors import Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.common.refusals import no_relus
from neurokit.transforms.transform import Option, Transformed, TransformInfo, register_transform


@register_transform
class RateCoding:
    """Each ReLU becomes an integrate-and-fire neuron, whose rate stands for its value."""

    info = TransformInfo(
        name="rate_coding",
        summary="a network of ReLUs as a spiking one: rates stand for values",
        source="Rueckauer et al., Frontiers in Neuroscience 11:682, 2017",
        options={
            "time_steps": Option(32, "T, the resolution of the rates, >= 1"),
            "percentile": Option(99.9, "percentile of a layer's activations that a spike a step stands for, (0, 100]"),
        },
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why the model cannot be rate coded, as far as its specification tells."""
        return [no_relus(spec, "it is a spiking network")] if spec.spiking else []

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Converts the network and states its error against the source."""
        from neurokit.transforms.rate_coding.convert import rate_coded

        done = rate_coded(spec, settings["time_steps"], percentile=settings["percentile"])
        return Transformed(done.spec, (done.summary(),))

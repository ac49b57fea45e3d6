"""The transform `exact`: the model is lowered and priced in its exact form, like with `--numerics exact`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from neurokit.errors import InputError, Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.transform import Option, Transformed, TransformInfo, register_transform

_BITS = range(2, 9)


@register_transform
class ExactForm:
    """Asks for the exact form of a model; `neurokit.exact` makes it where the calibration data are known."""

    info = TransformInfo(
        name="exact",
        summary="weights on a grid of a few bits: the same spikes on every target, bit for bit, with a proof",
        options={"bits": Option(8, "bits of a weight, 2 to 8")},
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why the model has no exact form, as far as its specification says so."""
        if settings["bits"] not in _BITS:
            raise InputError(f"transform 'exact': bits is {settings['bits']}", expected="2 to 8")
        reasons = []
        if spec.exact_bits is not None:
            reasons.append(Unsupported("", spec.name, "it is in its exact form already", "name the transform once"))
        if spec.graphs or spec.states:
            why = "it has several graphs or declared states, and the exact form takes none"
            reasons.append(Unsupported("", spec.name, why, "leave the transform away"))
        return reasons

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification in exact form."""
        note = f"weights of {settings['bits']} bits; ranges and roundings are chosen when it is lowered"
        return Transformed(replace(spec, exact_bits=settings["bits"]), (note,))

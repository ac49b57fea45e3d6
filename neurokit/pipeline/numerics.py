"""A model in the numerics that were asked for: float as it is, or its exact form with the proof."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError
from neurokit.pipeline.capturing import exact, exact_finetune

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled
    from neurokit.exact import Exact


def exact_bits(model: Any) -> int | None:
    """Returns the bits of a weight of what is exact whatever numerics are asked for, or None."""
    if hasattr(model, "proof"):  # an `Exact`, which comes with torch
        return int(model.bits)
    spec = getattr(model, "spec", model)
    return getattr(spec, "exact_bits", None)


def source_of(model: Captured | Exact) -> Captured:
    """Returns the model in float numerics."""
    from neurokit.capture import Captured as IsCaptured

    return model if isinstance(model, IsCaptured) else model.source


def in_numerics(
    model: Captured | Exact, numerics: str, calibration: Any, bits: int, training: Labelled | None
) -> tuple[Captured, dict[str, Any] | None]:
    """Returns the model in the numerics that were asked for, and its proof."""
    from neurokit.capture import Captured as IsCaptured

    if isinstance(model, IsCaptured):
        if numerics == "float":
            if calibration is not None:
                raise InputError(
                    "calibration data were given for numerics 'float'", fix='numerics="exact", or target="onnx-int8"'
                )
            if training is not None:
                raise InputError(
                    "training data were given for numerics 'float'", fix='numerics="exact", or target="onnx-int8"'
                )
            return model, None
        if training is None:
            model = exact(model, calibration, bits=bits)
        else:
            model = exact_finetune(model, training, calibration, bits=bits)
    from neurokit.exact import refuse

    refuse(model)
    return model.captured, {**model.to_json(), "against_float": model.against_float}

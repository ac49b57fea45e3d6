"""The transform `ann2snn`: SpikingJelly's own conversion of a network of ReLUs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurokit.errors import InputError, Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.common.refusals import MOST_STEPS, refusals
from neurokit.transforms.transform import Option, Transformed, TransformInfo, register_transform


@register_transform
class Ann2Snn:
    """Each ReLU becomes an IF neuron between two scales, which SpikingJelly's recipe for rate codes chooses.

    The recipe sees the network as neurokit captures it, so that ReLU6, functional calls and files work too.
    """

    info = TransformInfo(
        name="ann2snn",
        summary="SpikingJelly's conversion of a network of ReLUs: largest or robust largest activation as threshold",
        source="Fang et al., SpikingJelly, Science Advances 9, 2023; Rueckauer et al., Front. Neurosci. 11:682, 2017",
        options={
            "time_steps": Option(32, "T, 1 to 1024"),
            "mode": Option(
                "99.9%", 'what a spike in every step stands for: "max", a percentile, or a share of the max'
            ),
            "channels": Option(False, "true for thresholds a channel, and membranes that begin at half of them"),
            "calibration": Option(
                "", "file of inputs [N, *shape] (.npy, or .npz with x); default: the model's example"
            ),
        },
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why the model cannot be converted, as far as its specification tells."""
        steps, mode = settings["time_steps"], settings["mode"]
        if not 1 <= steps <= MOST_STEPS:
            raise InputError(f"transform 'ann2snn': time_steps={steps}", expected=f"1 to {MOST_STEPS}")
        if not known_mode(mode):
            raise InputError(f"transform 'ann2snn': mode={mode!r}", expected="max, or a percentile such as 99.9%")
        return refusals(spec)

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Converts the network and states its error against the source."""
        from neurokit.transforms.ann2snn.convert import converted
        from neurokit.transforms.common.files import read_inputs

        x = read_inputs(spec, settings["calibration"])
        done = converted(spec, settings["time_steps"], x, mode=settings["mode"], channels=settings["channels"])
        return Transformed(done.spec, (*done.notes, done.summary()))


def known_mode(text: str) -> bool:
    """Returns whether a mode is one of SpikingJelly's that says it in any units: max, or a percentile in (0, 100]."""
    if text == "max":
        return True
    try:
        return text.endswith("%") and 0 < float(text.removesuffix("%")) <= 100
    except ValueError:
        return False

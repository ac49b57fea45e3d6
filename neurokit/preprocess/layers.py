"""A declared preprocessing as part of a model: the module then takes bytes of pixels, or samples of sound."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurokit.data.prepare import ON_ARRAYS, is_audio, prepared_wave, rate_of
from neurokit.errors import InputError
from neurokit.spec import ModelSpec, PreprocessStep

if TYPE_CHECKING:
    from torch import nn


def described(steps: Sequence[PreprocessStep]) -> str:
    """Returns steps as one line: "Resize(size=[256]), CenterCrop(size=[224, 224])"."""
    return ", ".join(f"{s.name}({', '.join(f'{k}={v}' for k, v in s.settings.items())})" for s in steps)


def in_graph(spec: ModelSpec, steps: tuple[PreprocessStep, ...]) -> ModelSpec:
    """Returns a model that takes bytes or samples: what is arithmetic on them is computed by its module."""
    if is_audio(steps):
        return _sound_in_graph(spec, steps)
    port = spec.inputs[0]
    first = next((at for at, step in enumerate(steps) if step.name in ON_ARRAYS), len(steps))
    arithmetic, outside = steps[first:], steps[:first]
    if not arithmetic or port.dtype != "float32":
        raise InputError(
            f"nothing of the preprocessing can be part of a graph whose input is {port.dtype}",
            expected="ToDtype or Normalize, for an input of float32",
            fix="leave graph away",
        )
    made = dataclasses.replace(port, dtype="uint8", low=0.0, high=255.0)
    applied = described(arithmetic)

    def build() -> nn.Module:
        from neurokit.data.in_graph import arithmetic_of

        return arithmetic_of(arithmetic, spec.build()).eval()

    options = {**spec.options, "preprocess_in_graph": applied}
    return dataclasses.replace(spec, build=build, inputs=(made,), preprocess=outside, example=None, options=options)


def _sound_in_graph(spec: ModelSpec, steps: tuple[PreprocessStep, ...]) -> ModelSpec:
    """Returns a model that takes samples: what follows the last FixLength is computed by its module."""
    port = spec.inputs[0]
    cut = max((at + 1 for at, step in enumerate(steps) if step.name == "FixLength"), default=0)
    outside, inside = steps[:cut], steps[cut:]
    if not cut or not inside or port.dtype != "float32":
        raise InputError(
            f"the preprocessing of sound cannot be part of a graph whose input is {port.dtype}"
            if port.dtype != "float32"
            else "preprocessing of sound in the graph needs to know how many samples it takes",
            expected="FixLength, then Resample, MelSpectrogram or AmplitudeToDB, for an input of float32",
            fix="add FixLength before them, or leave graph away",
        )
    size = int(outside[-1].settings["size"])
    made = prepared_wave(np.zeros(size, np.float32), inside)
    if made.size != math.prod(port.numbers) or made.shape not in (port.numbers, port.numbers[1:]):
        raise InputError(
            f"preprocessing gives {list(made.shape)}, input {port.name!r} is {list(port.numbers)}",
            expected="what the input takes at once; frames that are time steps are made outside of a graph",
            fix="another size of FixLength, or leave graph away",
        )
    rates = [rate_of(step) for step in steps if rate_of(step)]
    if rates and not any(rate_of(step) for step in outside):  # a file of another rate is still refused
        same = {"orig_freq": rates[0], "new_freq": rates[0]}
        outside = (PreprocessStep("Resample", same), *outside)

    def build() -> nn.Module:
        from neurokit.data.in_graph import SoundModel

        return SoundModel(spec.build(), inside, port.numbers).eval()

    taken = dataclasses.replace(port, shape=(size,), layout="L", low=-1.0, high=1.0)
    options = {**spec.options, "preprocess_in_graph": described(inside)}
    return dataclasses.replace(spec, build=build, inputs=(taken,), preprocess=outside, example=None, options=options)

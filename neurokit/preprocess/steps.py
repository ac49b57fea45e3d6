"""Steps of a declared preprocessing: names, order and settings that can be meant, each checked."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from neurokit.data.prepare import AUDIO_STEPS, IMAGE_STEPS, INTERPOLATIONS, ON_ARRAYS, is_audio
from neurokit.errors import InputError, NeurokitError
from neurokit.spec import PreprocessStep

FIX = "docs/preprocessing.md has one that works"
_NEEDED = {"Resize": ("size",), "CenterCrop": ("size",), "Normalize": ("mean", "std"), "FixLength": ("size",)}


@dataclass(frozen=True)
class Preprocessing:
    """What is done to a sample before a model takes it.

    Attributes:
        steps: The steps, in order, under the names that torchvision.transforms.v2 and torchaudio have for them.
        graph: Whether arithmetic becomes part of the model: of pixels ToDtype and Normalize (the model then takes
            bytes), of sound what follows FixLength (it then takes samples).
    """

    steps: tuple[PreprocessStep, ...]
    graph: bool = False


def unknown(name: str) -> InputError:
    """Returns the error for a step that is none."""
    random = name.startswith(("Random", "Auto", "Rand", "Color", "Mix", "Cut", "Trivial", "Aug"))
    fix = "augmentation belongs to training: leave it away" if random else FIX
    known = ", ".join((*IMAGE_STEPS, *AUDIO_STEPS))
    return InputError(f"preprocessing step {name!r} is none that can be declared", expected=f"one of {known}", fix=fix)


def checked(steps: Sequence[PreprocessStep]) -> tuple[PreprocessStep, ...]:
    """Returns steps in one form, whose names, order and settings can be meant.

    Raises:
        InputError: If they cannot.
    """
    if not steps:
        raise InputError("the preprocessing has no steps", expected="at least one", fix=FIX)
    made = []
    arithmetic = False
    for step in steps:
        known = IMAGE_STEPS.get(step.name, AUDIO_STEPS.get(step.name))
        if known is None:
            raise unknown(step.name)
        extra = sorted(set(step.settings) - set(known))
        missing = [key for key in _NEEDED.get(step.name, ()) if key not in step.settings]
        if extra or missing:
            what = f"has no setting {extra[0]!r}" if extra else f"lacks {missing[0]!r}"
            raise InputError(f"preprocessing step {step.name} {what}", expected=", ".join(known) or "no settings")
        made.append(dataclasses.replace(step, settings=_settings(step)))
        if arithmetic and step.name in IMAGE_STEPS and step.name not in (*ON_ARRAYS, "ToImage"):
            raise InputError(f"preprocessing step {step.name} follows ToDtype", expected="pictures first, then numbers")
        if step.name == "Normalize" and not arithmetic:
            raise InputError("Normalize follows no ToDtype", expected="ToDtype with scale = true before it")
        arithmetic = arithmetic or step.name in ON_ARRAYS
    if is_audio(steps) and any(step.name in IMAGE_STEPS for step in steps):
        raise InputError("the preprocessing has steps for pictures and for sound", expected="one of them")
    return tuple(made)


def _settings(step: PreprocessStep) -> dict[str, Any]:
    """Returns a step's settings, each checked."""
    made = {}
    for key, value in step.settings.items():
        check = _CHECKS.get((step.name, key), _CHECKS.get(("", key)))
        try:
            made[key] = value if check is None else check(value)
        except NeurokitError:
            raise
        except (TypeError, ValueError) as error:
            said = f"preprocessing step {step.name}: {key} is {value!r}"
            raise InputError(said, expected=_EXPECTED.get(key, "a value of torchvision's")) from error
    return made


def _size(value: Any) -> list[int]:
    sizes = [value] if isinstance(value, int) else list(value)
    if len(sizes) not in (1, 2) or not all(
        isinstance(s, int) and not isinstance(s, bool) and 0 < s < 2**15 for s in sizes
    ):
        raise ValueError
    return sizes


def _numbers(value: Any) -> list[float]:
    values = [float(each) for each in ([value] if isinstance(value, int | float) else value)]
    if len(values) not in (1, 3) or not all(abs(each) < 1e6 for each in values):
        raise ValueError
    return values


def _spread(value: Any) -> list[float]:
    values = _numbers(value)
    if min(values) <= 0:
        raise ValueError
    return values


def _one_of(*allowed: Any) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if value not in allowed or (isinstance(value, bool) != isinstance(allowed[0], bool)):
            raise ValueError
        return value

    return check


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError
    return value


_CHECKS: dict[tuple[str, str], Callable[[Any], Any]] = {
    ("FixLength", "size"): _whole,
    ("", "size"): _size,
    ("", "max_size"): _whole,
    ("", "interpolation"): _one_of(*INTERPOLATIONS),
    ("", "num_output_channels"): _one_of(1, 3),
    ("", "dtype"): _one_of("float32", "uint8"),
    ("", "scale"): _one_of(True, False),
    ("", "mean"): _numbers,
    ("", "std"): _spread,
    **{("", key): _whole for key in ("orig_freq", "new_freq", "sample_rate", "n_fft", "win_length", "hop_length")},
    ("", "n_mels"): _whole,
}
_EXPECTED = {
    "size": "a whole number, or height and width",
    "interpolation": ", ".join(INTERPOLATIONS),
    "mean": "one number, or one a channel",
    "std": "one number above 0, or one a channel",
    "dtype": "float32 or uint8",
    "scale": "true or false",
}

"""Declares what is done to an image or a recording before a model takes it, as part of its specification."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.prepare import (
    AUDIO_STEPS,
    IMAGE_STEPS,
    INTERPOLATIONS,
    ON_ARRAYS,
    is_audio,
    prepared_image,
    prepared_wave,
    rate_of,
)
from neurokit.errors import InputError, NeurokitError
from neurokit.plain import toml_of
from neurokit.spec import ModelSpec, PreprocessStep, TensorSpec

if TYPE_CHECKING:
    from torch import nn

_FIX = "docs/preprocessing.md has one that works"
_NEEDED = {"Resize": ("size",), "CenterCrop": ("size",), "Normalize": ("mean", "std"), "FixLength": ("size",)}
_TENSOR_STEPS = {"PILToTensor": (), "ToTensor": ({"scale": True},), "ConvertImageDtype": ({"scale": True},)}


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


def preprocessing(source: Any) -> Preprocessing:
    """Returns a declared preprocessing.

    Args:
        source: A .toml file; `FILE.py` (its function `preprocess`) or `FILE.py:NAME`, a function without arguments or a
            value; a Compose or a single transform of torchvision (v1, v2, or what `weights.transforms()` returns) or
            torchaudio; a sequence of these; a Preprocessing.

    Raises:
        InputError: If it cannot be read, or a step is none that can be declared, or has wrong settings.
    """
    if isinstance(source, Preprocessing):
        return source
    if not isinstance(source, str | Path):
        return Preprocessing(_checked(_steps_of(source)))
    text = str(source)
    if text.endswith(".toml"):
        return _from_toml(Path(text))
    path, _, name = text.partition(":") if ".py:" in text else (text, "", "preprocess")
    if not path.endswith(".py"):
        raise InputError(f"--preprocess is {text!r}", expected="a .toml file, FILE.py or FILE.py:NAME", fix=_FIX)
    if not Path(path).is_file():
        raise InputError(f"there is no preprocessing file {path}", expected="a .toml or .py file")
    return preprocessing(_from_python(Path(path), name))


def with_preprocessing(spec: ModelSpec, source: Any) -> ModelSpec:
    """Returns a model with a declared preprocessing in the place of what its task says of images.

    Args:
        spec: The model; of one input.
        source: As for `preprocessing`.

    Raises:
        InputError: If it cannot be read, or what it gives does not fit the model's input.
    """
    declared = preprocessing(source)
    if len(spec.inputs) != 1:
        raise InputError(f"model {spec.name!r} has {len(spec.inputs)} inputs", expected="one, to preprocess")
    task = spec.task
    if task is not None:  # the declaration takes the place of mean and std
        kept = {key: value for key, value in task.settings.items() if key not in ("mean", "std")}
        task = dataclasses.replace(task, settings=kept)
    if not is_audio(declared.steps):
        _refuse_unfit(spec.inputs[0], declared.steps)
    if not declared.graph:
        return dataclasses.replace(spec, preprocess=declared.steps, task=task)
    return _in_graph(dataclasses.replace(spec, task=task), declared.steps)


def described(steps: Sequence[PreprocessStep]) -> str:
    """Returns steps as one line: "Resize(size=[256]), CenterCrop(size=[224, 224])"."""
    return ", ".join(f"{s.name}({', '.join(f'{k}={v}' for k, v in s.settings.items())})" for s in steps)


def _refuse_unfit(port: TensorSpec, steps: Sequence[PreprocessStep]) -> None:
    """Tries the steps on a blank picture, so that what does not fit is said before any work."""
    from PIL import Image

    if len(port.shape) != 3 or port.numbers[0] not in (1, 3):
        raise InputError(
            f"input {port.name!r} is {list(port.shape)}", expected="an image of 1 or 3 channels to preprocess"
        )
    gray = port.numbers[0] == 1 and not any(step.name == "Grayscale" for step in steps)
    sized = any(step.name in ("Resize", "CenterCrop") for step in steps)
    size = (97, 61) if sized else (port.numbers[2], port.numbers[1])
    prepared_image(Image.new("L" if gray else "RGB", size), port, steps)


def _in_graph(spec: ModelSpec, steps: tuple[PreprocessStep, ...]) -> ModelSpec:
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


def _from_toml(path: Path) -> Preprocessing:
    try:
        data = toml_of(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {why}", expected="TOML with [[step]] tables", fix=_FIX) from error
    steps, graph = data.get("step"), data.get("graph", False)
    unknown = sorted(set(data) - {"step", "graph"})
    if unknown or not isinstance(steps, list) or not isinstance(graph, bool):
        what = f"has the unknown key {unknown[0]!r}" if unknown else "has no [[step]], or graph is not true or false"
        raise InputError(f"{path} {what}", expected="[[step]] tables with a name, and graph = true or false", fix=_FIX)
    return Preprocessing(_checked(_steps_of(steps)), graph)


def _from_python(path: Path, name: str) -> Any:
    from neurokit.user_file import guarded, import_file

    found = getattr(import_file(path, str(path)), name, None)
    if found is None:
        raise InputError(f"{path.name} has no {name!r}", expected=f"a function or value {name}", fix=_FIX)
    plain = callable(found) and not hasattr(found, "transforms") and not hasattr(found, "forward")
    return guarded(found, path, f"{path}:{name}")() if plain else found


def _steps_of(source: Any) -> list[PreprocessStep]:
    """Returns the steps of one transform, a Compose, a mapping of TOML, or a sequence of any of them."""
    if isinstance(source, PreprocessStep):
        return [source]
    if isinstance(source, Mapping):
        settings = {key: value for key, value in source.items() if key != "name"}
        return [PreprocessStep(str(source.get("name")), settings)]
    if isinstance(source, Preprocessing):
        return list(source.steps)
    inside = source if isinstance(source, list | tuple) else getattr(source, "transforms", None)
    if inside is None and type(source).__name__ == "Sequential":
        inside = list(source)
    if isinstance(inside, list | tuple):
        return [step for each in inside for step in _steps_of(each)]
    return _from_object(source)


def _from_object(made: Any) -> list[PreprocessStep]:
    """Returns a transform of torchvision or torchaudio as steps; names and settings are its own."""
    name = type(made).__name__
    if name == "ImageClassification" and hasattr(made, "crop_size"):  # of torchvision's weights
        way = {"interpolation": made.interpolation.value}
        norm = {"mean": list(made.mean), "std": list(made.std)}
        sizes = PreprocessStep("Resize", {"size": list(made.resize_size), **way}), _square(made.crop_size)
        return [*sizes, PreprocessStep("ToDtype", {"scale": True}), PreprocessStep("Normalize", norm)]
    if name in _TENSOR_STEPS:
        return [PreprocessStep("ToDtype", dict(settings)) for settings in _TENSOR_STEPS[name]]
    known = IMAGE_STEPS.get(name, AUDIO_STEPS.get(name))
    if known is None or name == "FixLength":
        raise _unknown(name)
    spectrogram, scale = getattr(made, "spectrogram", made), getattr(made, "mel_scale", made)
    places = {"n_mels": made, "norm": scale, "mel_scale": scale, "center": spectrogram, "pad_mode": spectrogram}
    found = {}
    for key in known:
        value = getattr(places.get(key, made), key, getattr(spectrogram, key, None))
        if value is not None:
            found[key] = _plain(value)
    return [PreprocessStep(name, found)]


def _square(size: Sequence[int]) -> PreprocessStep:
    return PreprocessStep("CenterCrop", {"size": [int(size[0]), int(size[-1])]})


def _plain(value: Any) -> Any:
    """Returns a setting as JSON has it."""
    if type(value).__name__ == "dtype":
        return str(value).removeprefix("torch.")
    value = getattr(value, "value", value)
    if hasattr(value, "tolist"):
        value = value.tolist()
    return list(value) if isinstance(value, tuple) else value


def _unknown(name: str) -> InputError:
    random = name.startswith(("Random", "Auto", "Rand", "Color", "Mix", "Cut", "Trivial", "Aug"))
    fix = "augmentation belongs to training: leave it away" if random else _FIX
    known = ", ".join((*IMAGE_STEPS, *AUDIO_STEPS))
    return InputError(f"preprocessing step {name!r} is none that can be declared", expected=f"one of {known}", fix=fix)


def _checked(steps: Sequence[PreprocessStep]) -> tuple[PreprocessStep, ...]:
    """Returns steps in one form, whose names, order and settings can be meant."""
    if not steps:
        raise InputError("the preprocessing has no steps", expected="at least one", fix=_FIX)
    made = []
    arithmetic = False
    for step in steps:
        known = IMAGE_STEPS.get(step.name, AUDIO_STEPS.get(step.name))
        if known is None:
            raise _unknown(step.name)
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

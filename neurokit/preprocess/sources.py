"""Where a declared preprocessing is read from: TOML, a user's Python file, transforms of torchvision and torchaudio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from neurokit.data.prepare import AUDIO_STEPS, IMAGE_STEPS
from neurokit.errors import InputError
from neurokit.plain import toml_of
from neurokit.preprocess.steps import FIX, Preprocessing, unknown
from neurokit.spec import PreprocessStep

_TENSOR_STEPS = {"PILToTensor": (), "ToTensor": ({"scale": True},), "ConvertImageDtype": ({"scale": True},)}


def from_toml(path: Path) -> tuple[list[PreprocessStep], bool]:
    """Returns the steps of a .toml file, and whether their arithmetic is part of the graph.

    Raises:
        InputError: If it cannot be read, or holds something else.
    """
    try:
        data = toml_of(path)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        raise InputError(f"{path} cannot be read: {why}", expected="TOML with [[step]] tables", fix=FIX) from error
    steps, graph = data.get("step"), data.get("graph", False)
    unknown = sorted(set(data) - {"step", "graph"})
    if unknown or not isinstance(steps, list) or not isinstance(graph, bool):
        what = f"has the unknown key {unknown[0]!r}" if unknown else "has no [[step]], or graph is not true or false"
        raise InputError(f"{path} {what}", expected="[[step]] tables with a name, and graph = true or false", fix=FIX)
    return steps_of(steps), graph


def from_python(path: Path, name: str) -> Any:
    """Returns what a user's Python file declares under a name: a value, or what a function returns."""
    from neurokit.user_file import guarded, import_file

    found = getattr(import_file(path, str(path)), name, None)
    if found is None:
        raise InputError(f"{path.name} has no {name!r}", expected=f"a function or value {name}", fix=FIX)
    plain = callable(found) and not hasattr(found, "transforms") and not hasattr(found, "forward")
    return guarded(found, path, f"{path}:{name}")() if plain else found


def steps_of(source: Any) -> list[PreprocessStep]:
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
        return [step for each in inside for step in steps_of(each)]
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
        raise unknown(name)
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

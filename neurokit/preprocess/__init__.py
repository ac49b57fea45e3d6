"""Declares what is done to an image or a recording before a model takes it, as part of its specification."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurokit.data.prepare import is_audio, prepared_image
from neurokit.errors import InputError
from neurokit.preprocess.layers import described, in_graph
from neurokit.preprocess.sources import from_python, from_toml, steps_of
from neurokit.preprocess.steps import FIX, Preprocessing, checked
from neurokit.spec import ModelSpec, PreprocessStep, TensorSpec

__all__ = ["Preprocessing", "described", "preprocessing", "with_preprocessing"]


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
        return Preprocessing(checked(steps_of(source)))
    text = str(source)
    if text.endswith(".toml"):
        steps, graph = from_toml(Path(text))
        return Preprocessing(checked(steps), graph)
    path, _, name = text.partition(":") if ".py:" in text else (text, "", "preprocess")
    if not path.endswith(".py"):
        raise InputError(f"--preprocess is {text!r}", expected="a .toml file, FILE.py or FILE.py:NAME", fix=FIX)
    if not Path(path).is_file():
        raise InputError(f"there is no preprocessing file {path}", expected="a .toml or .py file")
    return preprocessing(from_python(Path(path), name))


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
    return in_graph(dataclasses.replace(spec, task=task), declared.steps)


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

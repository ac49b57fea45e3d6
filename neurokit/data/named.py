"""Samples of a model with several inputs: one .npz file holds every input by its name."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurokit.errors import InputError
from neurokit.feeds import named_inputs

if TYPE_CHECKING:
    from neurokit.spec import ModelSpec


def read_named(path: Path, spec: ModelSpec) -> list[tuple[ModelSpec, np.ndarray]]:
    """Reads every input of a model from one file.

    Args:
        path: An .npz file with one array an input, by its name.
        spec: The model.

    Returns:
        For each input, in order, the model with this input alone, and its array.

    Raises:
        InputError: If the file is none, or an input is missing or unknown.
    """
    names = [port.name for port in spec.inputs]
    if path.suffix.lower() != ".npz":
        raise InputError(
            f"input file {path} is of kind {path.suffix!r}, and the model has {len(names)} inputs: {', '.join(names)}",
            expected="an .npz file with every input by its name",
            fix="numpy.savez(FILE, " + ", ".join(f"{name}=..." for name in names) + ")",
        )
    try:
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
    except Exception as error:  # numpy and zipfile have exceptions of their own
        raise InputError(
            f"input file {path} cannot be read: {type(error).__name__}: {str(error)[:120]}",
            expected="an undamaged file of its kind",
        ) from error
    given = named_inputs(arrays, names)
    return [(replace(spec, inputs=(port,), example=None, arguments=None), given[port.name]) for port in spec.inputs]

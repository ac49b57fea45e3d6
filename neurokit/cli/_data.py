"""Data on the command line: the same places and kinds for every command that takes samples."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from neurokit.errors import UNREADABLE, InputError
from neurokit.plain import check_regular

if TYPE_CHECKING:
    from neurokit.data.labelled import Labelled
    from neurokit.data.sets import SampleFiles
    from neurokit.spec import ModelSpec

DATA_HELP = "Samples: class folders, a folder, a CSV or JSON of paths and labels, COCO, or a file of arrays (x and y)."


Preprocess = Annotated[
    str | None,
    typer.Option(
        "--preprocess",
        metavar="FILE",
        help="What is done to an image or a recording first: a .toml file, or FILE.py:NAME with transforms of "
        "torchvision or torchaudio.",
    ),
]


def check_place(place: Path | None, option: str) -> None:
    """Refuses data that are not there, or of no kind that is read, before the minutes that a model can take.

    Raises:
        InputError: If so.
    """
    from neurokit.data.found import EXPECTED, find
    from neurokit.data.json_samples import holds_samples

    if place is None:
        return
    if not place.exists():
        raise InputError(f"{option}: there are no data at {place}", expected=EXPECTED)
    if place.is_file() and holds_samples(place):
        return
    first = find(place).items[0].value
    if first.suffix in (".npy", ".npz"):
        read_arrays_of(first, option)


def samples_of(place: Path, spec: ModelSpec) -> SampleFiles:
    """Returns the samples at a place, as a model takes them.

    Raises:
        InputError: If there are none, or they do not fit.
    """
    from neurokit.data.sets import SampleFiles

    return SampleFiles.find(place, spec, spec.time_steps)


def labelled_of(place: Path, spec: ModelSpec) -> Labelled:
    """Returns labelled data; an .npz file of x and y as its arrays are.

    Raises:
        InputError: If samples or labels cannot be read.
    """
    from neurokit.data.json_samples import labelled_json
    from neurokit.data.labelled import read_labelled

    if place.suffix == ".npz":
        return read_labelled(place)
    if (labelled := labelled_json(place, spec)) is not None:
        return labelled
    return samples_of(place, spec).labelled()


def calibration_of(place: Path, spec: ModelSpec) -> Any:
    """Returns calibration inputs: one tensor `[T, B, *shape]` or `[B, *shape]`, or several by name.

    Raises:
        InputError: If they cannot be read.
    """
    import numpy as np
    import torch

    from neurokit.data.json_samples import stacked_json
    from neurokit.feeds import given_ports

    spec = replace(spec, inputs=tuple(given_ports(spec.inputs)))  # draws that a file lacks are made
    if place.suffix in (".npy", ".npz"):
        data = read_arrays_of(place, "--calibration")
        if not isinstance(data, np.ndarray) and "y" not in data:
            return {name: torch.from_numpy(array) for name, array in data.items()}
        batched = len(spec.inputs) == 1 and isinstance(data, np.ndarray) and data.dtype.names is None
        if batched and data.ndim == len(spec.inputs[0].shape) + (2 if spec.spiking else 1):
            return torch.from_numpy(data.astype(np.float32))
    if (stacked := stacked_json(place, spec)) is not None:
        return {name: torch.from_numpy(array) for name, array in stacked.items()}
    return samples_of(place, spec).inputs()


def read_arrays_of(path: Path, option: str) -> Any:
    """Reads a .npy file as an array, an .npz file as arrays by name.

    Raises:
        InputError: If it is damaged.
    """
    import numpy as np

    try:
        with check_regular(path).open("rb") as file:
            data = np.load(file, allow_pickle=False)
            found = data if isinstance(data, np.ndarray) else {name: data[name] for name in data.files}
    except UNREADABLE as error:
        raise InputError(
            f"{option} {path} cannot be read: {error}", expected="an undamaged .npy or .npz file"
        ) from error
    for array in [found] if isinstance(found, np.ndarray) else found.values():
        if array.dtype.kind not in "biufcV":
            raise InputError(f"{option} {path} holds {array.dtype}", expected="numbers")
    return found

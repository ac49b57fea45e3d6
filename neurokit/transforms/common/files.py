"""Files that a transform's settings name: inputs to calibrate on, and labelled data to train on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurokit.data.labelled import read_labelled
from neurokit.errors import UNREADABLE, InputError
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    from torch import Tensor


def read_inputs(spec: ModelSpec, path: str) -> Tensor | None:
    """Reads inputs `[N, *shape]` of a model from a .npy file, or from the x of an .npz file; None for no path.

    Raises:
        InputError: If the file cannot be read or does not fit the model.
    """
    if not path:
        return None
    try:
        found = np.load(path, allow_pickle=False)
        x = found if isinstance(found, np.ndarray) else found["x"]
    except UNREADABLE as error:
        raise InputError(f"{path} holds no inputs: {error}", expected="a .npy file, or an .npz file with x") from error
    return _fitting(spec, x, path)


def read_training(spec: ModelSpec, path: str) -> tuple[Tensor, Tensor | None] | None:
    """Reads labelled data to train on from an .npz file with x and y; None for no path.

    Raises:
        InputError: If the file cannot be read or does not fit the model.
    """
    if not path:
        return None
    import torch

    data = read_labelled(Path(path))
    (given,) = data.named([spec.inputs[0].name]).values()
    if data.y.ndim != 1 or data.y.dtype.kind not in "iu":
        raise InputError(f"{path}: labels of shape {list(data.y.shape)}", expected="one class a sample, [N]")
    return _fitting(spec, given, path), torch.from_numpy(data.y.astype(np.int64))


def _fitting(spec: ModelSpec, x: np.ndarray, path: str) -> Tensor:
    import torch

    port = spec.inputs[0]
    if x.dtype.kind not in "fiub" or tuple(x.shape[1:]) != tuple(port.numbers) or not len(x):
        sizes = ", ".join(map(str, port.numbers))
        raise InputError(f"{path} holds {x.dtype} of shape {list(x.shape)}", expected=f"numbers [N, {sizes}]")
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        raise InputError(f"{path} holds numbers that are not finite", expected="finite numbers")
    return torch.from_numpy(x.astype(port.dtype))

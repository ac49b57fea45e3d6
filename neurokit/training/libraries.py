"""Lightning and torchmetrics, where they are needed: imported when asked, missing in one line."""

from __future__ import annotations

import importlib

from neurokit.errors import MissingRuntimeError


def require() -> None:
    """Checks that what training needs can be imported.

    Raises:
        MissingRuntimeError: If one is not installed.
    """
    for module in ("pytorch_lightning", "torchmetrics", "torchvision"):
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise MissingRuntimeError(
                f"training needs {module}, which is not installed", fix='pip install "neurokit-edge[train]"'
            ) from error


def has_tensorboard() -> bool:
    """Returns whether TensorBoard's writer can be imported."""
    try:
        importlib.import_module("torch.utils.tensorboard")
    except ImportError:
        return False
    return True

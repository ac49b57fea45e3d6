"""Libraries that a single model is built with."""

from __future__ import annotations

import importlib
from types import ModuleType

from neurokit.errors import MissingRuntimeError


def required(module: str, extra: str, model: str) -> ModuleType:
    """Imports a library for a model.

    Args:
        module: Name of its module.
        extra: The extra of this distribution that installs it.
        model: Name of the model.

    Raises:
        MissingRuntimeError: If it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        library = module.partition(".")[0]
        raise MissingRuntimeError(
            f"{model} is built with {library}, which is not installed", fix=f'pip install "neurokit-edge[{extra}]"'
        ) from error

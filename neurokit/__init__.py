"""neurokit: define a spiking or edge network once, deploy it everywhere, spike for spike."""

from __future__ import annotations

import importlib
import logging
import sys
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from neurokit._version import __version__

if TYPE_CHECKING:
    from neurokit import errors as errors
    from neurokit.answers import answer as answer
    from neurokit.artifact import Artifact as Artifact
    from neurokit.bench.api import benchmark as benchmark
    from neurokit.deploy import deploy as deploy
    from neurokit.dims import Dim as Dim
    from neurokit.explain import explain as explain
    from neurokit.generation import generate as generate
    from neurokit.loading import load as load
    from neurokit.pipeline import capture as capture
    from neurokit.pipeline import exact as exact
    from neurokit.pipeline import exact_finetune as exact_finetune
    from neurokit.pipeline import lower as lower
    from neurokit.pipeline import open as open
    from neurokit.pipeline import trust as trust
    from neurokit.pipeline import verify as verify
    from neurokit.plans import plan as plan
    from neurokit.quantity import Quantity as Quantity
    from neurokit.spec import GraphSpec as GraphSpec
    from neurokit.spec import ModelSpec as ModelSpec
    from neurokit.spec import StateSpec as StateSpec
    from neurokit.spec import TensorSpec as TensorSpec
    from neurokit.spec import register_model as register_model
    from neurokit.sweep import sweep as sweep
    from neurokit.training.api import train as train
    from neurokit.transforms import transform as transform
    from neurokit.transforms.rate_coding.convert import rate_coded as rate_coded

# Public name and the module it comes from, imported when the name is first used: `import neurokit` stays light.
_PUBLIC = {
    "Artifact": "neurokit.artifact",
    "Dim": "neurokit.dims",
    "GraphSpec": "neurokit.spec",
    "StateSpec": "neurokit.spec",
    "ModelSpec": "neurokit.spec",
    "Quantity": "neurokit.quantity",
    "TensorSpec": "neurokit.spec",
    "answer": "neurokit.answers",
    "benchmark": "neurokit.bench.api",
    "capture": "neurokit.pipeline",
    "deploy": "neurokit.deploy",
    "exact": "neurokit.pipeline",
    "exact_finetune": "neurokit.pipeline",
    "explain": "neurokit.explain",
    "generate": "neurokit.generation",
    "load": "neurokit.loading",
    "lower": "neurokit.pipeline",
    "open": "neurokit.pipeline",
    "plan": "neurokit.plans",
    "rate_coded": "neurokit.transforms.rate_coding.convert",
    "register_model": "neurokit.spec",
    "sweep": "neurokit.sweep",
    "train": "neurokit.training.api",
    "transform": "neurokit.transforms",
    "simulate": "neurokit.pipeline",
    "trust": "neurokit.pipeline",
    "verify": "neurokit.pipeline",
}

__all__ = ["__version__", "errors", *_PUBLIC]


def __getattr__(name: str) -> Any:
    if name == "errors":
        return importlib.import_module("neurokit.errors")
    if name not in _PUBLIC:
        raise AttributeError(f"module 'neurokit' has no attribute {name!r}")
    try:
        value = getattr(importlib.import_module(_PUBLIC[name]), name)
    except AttributeError:
        raise AttributeError(f"module 'neurokit' has no attribute {name!r} in this version") from None
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


def _refuse_namesake(folder: Path) -> None:
    """Says so where the physiology package of this import name was installed into the same folder.

    Its packages hide modules of ours (`neurokit/statistics/` before `neurokit/statistics.py`), so that imports would
    fail far from the cause.
    """
    if (folder / "bio" / "bio_ecg.py").is_file():
        raise ImportError(
            f"two distributions share the import name 'neurokit' in {folder}: neurokit-edge and the physiology package "
            "'neurokit'; fix: python -m pip uninstall neurokit neurokit-edge, then install neurokit-edge"
        )


_refuse_namesake(Path(__file__).parent)
logging.getLogger(__name__).addHandler(logging.NullHandler())  # a library says nothing unless its user listens


class _Package(ModuleType):
    """Keeps public functions when a submodule of the same name is imported.

    Importing `neurokit.capture` or `neurokit.parity.check` makes Python bind the submodule to that name in the package,
    where the function of the public API belongs. `from neurokit.capture import ...` works all the same.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if not (name in _PUBLIC and isinstance(value, ModuleType)):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package

"""What is registered, as plain rows: listings must work where a runtime is missing."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any

from neurokit.spec import MODELS
from neurokit.target import TARGETS


def models() -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Returns one row a model, and the modules that failed to load with the reason."""
    rows = []
    for name, factory in MODELS.items():
        spec = factory()
        rows.append(
            {
                "name": name,
                "description": spec.description,
                "time_steps": spec.time_steps,
                "inputs": [{"name": tensor.name, "shape": list(tensor.shape)} for tensor in spec.inputs],
                "source": spec.source,
            }
        )
    return rows, dict(MODELS.broken)


def targets() -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Returns one row a target, and the modules that failed to load with the reason."""
    rows = []
    for name, target in TARGETS.items():
        info = target.info
        missing = [library for library in dict.fromkeys((*info.requires, *info.opens_with)) if not _installed(library)]
        optional = {
            option: [library for library in libraries if not _installed(library)]
            for option, libraries in info.optional.items()
        }
        rows.append(
            {
                "name": name,
                "summary": info.summary,
                "streaming": info.streaming,
                "missing": missing,
                "install": info.install if missing else "",
                "optional": optional,
            }
        )
    return rows, dict(TARGETS.broken)


def _installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):
        return False

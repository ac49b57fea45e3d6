"""What is registered, as plain rows: listings must work where a runtime is missing."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

from neurokit.spec import MODELS
from neurokit.target import TARGETS

# One row a registered thing, and the modules that failed to load with the reason.
Listing = tuple[list[dict[str, Any]], dict[str, str]]


def models() -> Listing:
    """Returns one row a model, and the modules that failed to load with the reason."""
    rows = []
    for name, factory in MODELS.items():
        spec = factory()
        rows.append(
            {
                "name": name,
                "description": spec.description,
                "time_steps": spec.time_steps,
                "inputs": [
                    {"name": tensor.name, "shape": [s if isinstance(s, int) else str(s) for s in tensor.sizes]}
                    for tensor in spec.inputs
                ],
                "source": spec.source,
            }
        )
    return rows, dict(MODELS.broken)


def targets() -> Listing:
    """Returns one row a target, and the modules that failed to load with the reason."""
    rows = []
    for name, target in TARGETS.items():
        info = target.info
        missing = info.missing()
        optional = {
            option: [library for library in libraries if not _installed(library)]
            for option, libraries in info.optional.items()
        }
        rows.append(
            {
                "name": name,
                "summary": info.summary,
                "streaming": info.streaming,
                "numerics": list(info.numerics),
                "missing": missing,
                "install": info.install if missing else "",
                "optional": optional,
            }
        )
    return rows, dict(TARGETS.broken)


def kernels() -> Listing:
    """Returns one row a kernel; torch comes with it."""
    from neurokit.kernels.contract import KERNELS

    return [{"name": name, "summary": kernel.summary} for name, kernel in KERNELS.items()], dict(KERNELS.broken)


def tasks() -> Listing:
    """Returns one row a task."""
    from neurokit.tasks import TASKS

    rows = [
        {
            "name": name,
            "summary": task.info.summary,
            "headline": task.info.headline,
            "metrics": dict(task.info.metrics),
            "labels": task.info.labels,
        }
        for name, task in TASKS.items()
    ]
    return rows, dict(TASKS.broken)


def transforms() -> Listing:
    """Returns one row a transform."""
    from neurokit.transforms import TRANSFORMS

    rows = [
        {
            "name": name,
            "summary": transform.info.summary,
            "settings": {key: [option.default, option.meaning] for key, option in transform.info.options.items()},
            "source": transform.info.source,
        }
        for name, transform in TRANSFORMS.items()
    ]
    return rows, dict(TRANSFORMS.broken)


def estimators() -> Listing:
    """Returns one row an estimator of the literature."""
    from neurokit.hw_sim.estimators import ESTIMATORS

    return [{"name": name, "summary": rule.title} for name, rule in ESTIMATORS.items()], dict(ESTIMATORS.broken)


def chips() -> Listing:
    """Returns one row a chip."""
    from neurokit.hw_sim.chips.file import chip_names, load_chip

    return [{"name": name, "summary": load_chip(name).title} for name in chip_names()], {}


def patterns() -> Listing:
    """Returns one row a pattern of sparse attention."""
    from neurokit.attention.pattern import PATTERNS

    return [{"name": name, **_card(cls.card)} for name, cls in PATTERNS.items()], dict(PATTERNS.broken)


def mixers() -> Listing:
    """Returns one row a token mixer without softmax."""
    from neurokit.attention.mixer import MIXERS

    return [{"name": name, **_card(cls.card)} for name, cls in MIXERS.items()], dict(MIXERS.broken)


def _card(card: Any) -> dict[str, Any]:
    return {"summary": card.summary, "settings": dict(card.settings), "source": card.source}


# What `neurokit list` knows, by the word on the command line.
KINDS: dict[str, Callable[[], Listing]] = {
    "models": models,
    "targets": targets,
    "chips": chips,
    "tasks": tasks,
    "transforms": transforms,
    "kernels": kernels,
    "estimators": estimators,
    "patterns": patterns,
    "mixers": mixers,
}


def _installed(library: str) -> bool:
    try:
        return find_spec(library) is not None
    except (ImportError, ValueError):
        return False

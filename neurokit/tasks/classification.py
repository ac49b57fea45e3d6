"""Classification: how often a model and its lowered forms are right, with an interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.quantity import Quantity

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured


_BATCH = 64


def accuracies(captured: Captured, artifact: Artifact, data: Labelled) -> dict[str, Any]:
    """Returns how often the source model and an artifact are right, and how often they say the same.

    Args:
        captured: The source model, in float numerics.
        artifact: What it was lowered to.
        data: Labelled inputs.

    Raises:
        InputError: If the data do not fit the model.
    """
    from neurokit.target import TARGETS

    steps = _steps(captured)
    size = captured.batch if isinstance(captured.batch, int) else _BATCH
    options = artifact.manifest.options.get("batch")
    after_size = options if isinstance(options, int) else size
    batches = _inputs(captured, data, steps)
    before = _classes(lambda x: _run_source(captured, x), batches, captured, size)
    with TARGETS.get(artifact.manifest.target).open(artifact) as runner:
        after = _classes(runner, batches, captured, after_size)
    return {
        "samples": len(data.y),
        "data": data.name,
        "before": float((before == data.y).mean()),
        "after": float((after == data.y).mean()),
        "agreement": float((before == after).mean()),
    }


def sequences(captured: Captured, data: Labelled) -> np.ndarray:
    """Returns labelled inputs as `[N, *shape]`, or `[N, T, *shape]` for a model over time.

    Raises:
        InputError: If they do not fit the model.
    """
    return _inputs(captured, data, _steps(captured))


def right_share(captured: Captured, data: Labelled) -> float:
    """Returns the share of labelled inputs that a captured model gets right."""
    size = captured.batch if isinstance(captured.batch, int) else _BATCH
    found = _classes(lambda x: _run_source(captured, x), sequences(captured, data), captured, size)
    return float((found == data.y).mean())


def _steps(captured: Captured) -> int | None:
    timed = captured.spiking and captured.spec.time_input != "image"
    if not timed:
        return None
    return captured.time_steps if isinstance(captured.time_steps, int) else captured.spec.time_steps


def _inputs(captured: Captured, data: Labelled, steps: int | None) -> np.ndarray:
    """Returns the inputs as `[N, *shape]`, or `[N, T, *shape]` for a model over time."""
    info = captured.spec.inputs[0]
    x = data.x.astype(info.dtype)
    if steps is not None and x.ndim == len(info.shape) + 1:
        x = np.repeat(x[:, None], steps, axis=1)
    wanted = (steps, *info.shape) if steps is not None else info.shape
    if tuple(x.shape[1:]) != tuple(wanted):
        raise InputError(
            f"{data.name or 'labelled data'}: x has shape {list(data.x.shape)}",
            expected=f"[N, {', '.join(map(str, info.shape))}]" + (f" or [N, {steps}, ...]" if steps else ""),
        )
    return x


def _classes(run: Callable[[np.ndarray], Any], x: np.ndarray, captured: Captured, size: int) -> np.ndarray:
    timed = _steps(captured) is not None
    found = []
    for start in range(0, len(x), size):
        rows = (
            np.arange(start, start + size) % len(x) if isinstance(captured.batch, int) else slice(start, start + size)
        )
        part = np.moveaxis(x[rows], 1, 0) if timed else x[rows]
        y = np.asarray(run(np.ascontiguousarray(part)))
        y = y.mean(axis=0) if captured.spiking and captured.time_output == "sequence" else y
        found.append(y.argmax(-1)[: len(x) - start])
    return np.concatenate(found)


def _run_source(captured: Captured, x: np.ndarray) -> np.ndarray:
    import torch

    from neurokit.capture.reference import record

    source = captured if captured.form == "sequence" else captured.retrace(form="sequence")
    batch = x.shape[1] if _steps(captured) is not None else x.shape[0]
    outputs, _ = record(source.program.module(), (torch.from_numpy(x), *source.initial_states(batch)))
    return outputs[0].numpy()


_NORMAL = 1.96


def wilson(correct: int, total: int, data: str) -> Quantity:
    """Returns a share of right answers with its 95 % score interval (Wilson 1927)."""
    share, spread = correct / total, _NORMAL**2 / total
    middle = (share + spread / 2) / (1 + spread)
    half = _NORMAL / (1 + spread) * math.sqrt(share * (1 - share) / total + spread / (4 * total))
    low, high = min(middle - half, share), max(middle + half, share)
    return Quantity(share, max(low, 0.0), min(high, 1.0), "", "measured", f"{correct} of {total} of {data}")

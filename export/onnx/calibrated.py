"""How an int8 model differs from its float model: measured at export, kept with samples, and held to when verified."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import UNREADABLE, ArtifactError, damaged
from neurokit.tasks.choice import agreement_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from neurokit.artifact import Artifact
    from neurokit.feeds import Feeds

SAMPLES_FILE = "calibration.npz"
_KEPT = 16  # samples kept
_MOST = 2**20  # numbers kept of all samples
# Relative L2 distance that an artifact may have from its own answers at export where int8 changed next to nothing.
_LEAST = 1e-4
# Share of what int8 moved the float network's answers by that another processor may move the file's answers by. Int8
# moves every activation by up to half a unit; another rounding of the same sums moves a few of them by one.
_SHARE = 1 / 3


def against_float(before: Any, after: Any, feeds: Feeds, size: int, keep: Path | None = None) -> dict[str, Any]:
    """Returns how the int8 model differs from the float model on the calibration data.

    Args:
        before: A session of the float model, called as `run(None, feeds)`.
        after: A session of the int8 model.
        feeds: Calibration data by the names of the inputs, `[N, *shape]`.
        size: Batch size; N is cut to a multiple of it.
        keep: File to keep the first samples in, with what both models answer.
    """
    total = count_of(feeds)
    feeds = {name: x[: total - total % size] for name, x in feeds.items()}
    wanted = _answers(lambda part: before.run(None, dict(part)), feeds, size)
    given = _answers(lambda part: after.run(None, dict(part)), feeds, size)
    if keep is not None:
        each = sum(x[0].size for x in feeds.values())
        count = max(1, min(_KEPT, count_of(feeds), _MOST // max(1, each)) // size) * size
        arrays = {f"float{at}": value[:count] for at, value in enumerate(wanted)}
        arrays |= {f"int8{at}": value[:count] for at, value in enumerate(given)}
        made = corners({name: x[:count] for name, x in feeds.items()}, size)
        arrays |= {f"corner{at}": x for at, x in enumerate(made.values())}
        if made:
            mine = _answers(lambda part: after.run(None, dict(part)), made, size)
            arrays |= {f"answer{at}": value for at, value in enumerate(mine)}
        np.savez_compressed(keep, **{f"x{at}": x[:count] for at, x in enumerate(feeds.values())}, **arrays)
    first, mine = wanted[0], given[0]
    return {
        "samples": len(first),
        "output_relative_l2": distance(mine, first),
        "top1_agreement": agreement_of(mine, first),
        "data": "calibration data",
    }


def corners(feeds: Feeds, size: int) -> dict[str, np.ndarray]:
    """Returns samples whose elements are an input's smallest or largest; half of them are the others' complement.

    A feature that is 0 on every calibration sample is not on one of the two: a weight that reads it shows.

    Args:
        feeds: Samples to take range and number from, `[N, *shape]`.
        size: Batch size, which their number is a multiple of.

    Returns:
        The samples by input, none where an input holds no fractions.
    """
    if any(x.dtype.kind != "f" for x in feeds.values()):
        return {}
    half = -(-max(1, count_of(feeds) // 2) // size) * size
    made = {}
    for at, (name, x) in enumerate(feeds.items()):
        words = np.random.PCG64(at).random_raw(-(-half * x[0].size // 64))
        bits = np.unpackbits(np.asarray(words).astype("<u8").view(np.uint8), count=half * x[0].size)
        drawn = bits.reshape(half, *x.shape[1:]).astype(bool)
        both = np.concatenate((drawn, ~drawn))
        made[name] = np.where(both, x.max(), x.min()).astype(x.dtype)
    return made


def count_of(feeds: Feeds) -> int:
    """Returns the number of samples."""
    return len(next(iter(feeds.values())))


def distance(found: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the relative L2 distance; infinite where shapes differ or a number is not finite."""
    if found.shape != wanted.shape or not np.isfinite(found).all():
        return float("inf")
    off = np.linalg.norm(found.astype(np.float64) - wanted.astype(np.float64))
    return float(off / (np.linalg.norm(wanted.astype(np.float64)) or 1.0))


def judge_kept(
    artifact: Artifact, run: Callable[[Feeds], Sequence[np.ndarray]], most: float
) -> tuple[list[str], list[str]]:
    """Runs the samples that export kept, and holds the answers to what export measured.

    The distance from the answers that the file gave at export must be at most a third of that of these from the float
    model: what another processor's rounding moves is less than the quantisation's own error, and a fault is not.

    Args:
        artifact: The artifact.
        run: Runs it on one batch of inputs by name; returns its outputs.
        most: Relative L2 error against the float model that the user allows.

    Returns:
        Faults and notes, one line each.

    Raises:
        ArtifactError: If the samples cannot be read.
    """
    if SAMPLES_FILE not in artifact.manifest.files:
        return [], [f"no calibration samples were kept: against the float model, only max_error {most:g} is held to"]
    try:
        with np.load(artifact.file(SAMPLES_FILE), allow_pickle=False) as data:
            names = [port.name for port in artifact.manifest.inputs]
            # Before there could be several inputs, the one was called x.
            feeds = {name: data["x" if "x" in data.files else f"x{at}"] for at, name in enumerate(names)}
            outputs = sum(key.startswith("float") for key in data.files)
            kept = [(data[f"float{at}"], data[f"int8{at}"]) for at in range(outputs)]
            held = {key: data[key] for key in data.files if key.startswith(("corner", "answer"))}
    except UNREADABLE as error:
        raise ArtifactError(f"{artifact.path}: {SAMPLES_FILE} cannot be read: {error}") from error
    _check(artifact, feeds, kept)
    fixed = artifact.manifest.options.get("batch")
    size = fixed if isinstance(fixed, int) else 1
    found, count = _answers(run, feeds, size), count_of(feeds)
    moved_by = _moved_at_corners(artifact, run, held, size)
    faults, worst = [], 0.0
    for at, (y, (wanted, given)) in enumerate(zip(found, kept, strict=True)):
        measured, now, moved = distance(given, wanted), distance(y, wanted), distance(y, given)
        worst = max(worst, now)
        name = artifact.manifest.outputs[at].name
        if not moved <= allowed_of(measured):
            faults.append(
                f"output {name!r}: on {count} calibration samples it is off the float model by {now:.2g}, and export "
                f"measured {measured:.2g}; off its own answers at export by {moved:.2g} (relative L2), a third allowed"
            )
        elif moved_by and not moved_by[at] <= allowed_of(measured):
            faults.append(
                f"output {name!r}: on inputs at the ends of the calibrated range it is off its own answers at export "
                f"by {moved_by[at]:.2g} (relative L2), and {allowed_of(measured):.2g} is allowed"
            )
        elif not now <= most:
            faults.append(f"output {name!r}: off the float model by {now:.2g} (relative L2), {most:g} is allowed")
    notes = [f"off the float model by {worst:.2g} (relative L2) on {count} calibration samples, as export measured"]
    return faults, [] if faults else notes


def _moved_at_corners(
    artifact: Artifact, run: Callable[[Feeds], Sequence[np.ndarray]], held: dict[str, np.ndarray], size: int
) -> list[float]:
    """Returns how far each output is from the file's answers at export where inputs are at the ends of their range."""
    ports, outputs = artifact.manifest.inputs, artifact.manifest.outputs
    if not held:
        return []
    names = [f"corner{at}" for at in range(len(ports))] + [f"answer{at}" for at in range(len(outputs))]
    values = list(held.values())
    whole = set(names) == set(held) and all(v.dtype.kind in "biuf" and v.ndim for v in values)
    if not whole or len({len(v) for v in values}) > 1 or not len(values[0]):
        raise damaged(artifact.path, f"{SAMPLES_FILE} holds no samples of this model")
    found = _answers(run, {port.name: held[f"corner{at}"] for at, port in enumerate(ports)}, size)
    return [distance(y, held[f"answer{at}"]) for at, y in enumerate(found)]


def allowed_of(measured: float) -> float:
    """Returns by how much the file's answers may move from those at export, of what export measured (relative L2)."""
    return max(_SHARE * measured, _LEAST)


def _check(artifact: Artifact, feeds: Feeds, kept: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
    """Refuses samples that are not those of this model."""
    whole = all(value.ndim and len(value) == len(next(iter(feeds.values()))) for value in feeds.values())
    numbers = all(value.dtype.kind in "biuf" for pair in (*kept, tuple(feeds.values())) for value in pair)
    if not whole or not count_of(feeds) or not numbers or len(kept) != len(artifact.manifest.outputs):
        raise damaged(artifact.path, f"{SAMPLES_FILE} holds no samples of this model")


def _answers(run: Callable[[Feeds], Sequence[np.ndarray]], feeds: Feeds, size: int) -> list[np.ndarray]:
    parts = [run({n: x[at : at + size] for n, x in feeds.items()}) for at in range(0, count_of(feeds), size)]
    return [np.concatenate(values) for values in zip(*parts, strict=True)]

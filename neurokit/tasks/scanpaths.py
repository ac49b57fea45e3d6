"""Scanpaths: where somebody looks in a picture, fixation after fixation, and for how long."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.images import image_or_array
from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks import scanpath_scores as scores
from neurokit.tasks.choice import best_class
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec

_ENDED = -1.0  # duration of a row after the end


@register_task
class Scanpaths:
    """Sequences of fixations, each a position and a duration in seconds (0 where it is not known).

    Settings, all of them optional:
        fixations: Name of the output `[B, L, 2 or 3]` of x, y and duration; default is the first output.
        end: Name of an output `[B, L]` that is above 0 from where the path has ended.
        places: Positions `[N, 2]` between which the model chooses; the output is then `[B, L, N + 1]` of scores, the
            last one of "ended", as object-level models give them.
        size: Width and height of the display in the unit of the positions (default 1, 1).
        grid (12, 8), threshold (3.5): Cells of ScanMatch and of the sequence score, and how far alike ones may be.
        time_bin: Seconds of a bin, where ScanMatch compares durations too; default is fixations alone.
        map (96, 64), sigma: Cells of the fixation map, and the spread of one fixation (default: width / 24).
        mean, std: See `neurokit.data.images`.
    """

    info = TaskInfo(
        name="scanpaths",
        summary="where somebody looks, fixation after fixation",
        headline="scanmatch",
        metrics={
            "scanmatch": "likeness of two paths on a grid by alignment (Cristino et al. 2010), mean; 1 for equal ones",
            "sequence_score": "longest common order of cells over the longer path (Yang et al. 2020), mean; 0 to 1",
            "nss": "z-score of the predicted map where people looked (Peters et al. 2005), mean; 0 is chance",
            "auc": "area under the curve of fixated against other cells (Judd et al. 2009), mean; 0.5 is chance",
        },
        labels="rows of x, y, seconds (0: unknown; -1 fills up), [N, L, 3], of several observers [N, O, L, 3]",
        no_shares=frozenset({"nss"}),
        decide=None,
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns an image as the model takes it; an array of the input's own shape is taken as it is."""
        return image_or_array(sample, port, settings)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns the path of each sample, `[B, L, 3]` in float64: x, y, duration; duration -1 after the end.

        Raises:
            InputError: If outputs or settings do not go together.
        """
        name = settings.get("fixations", next(iter(outputs)))
        y = np.asarray(_named(outputs, name), dtype=np.float64)
        if settings.get("places") is not None:
            return _chosen(y, np.asarray(settings["places"], dtype=np.float64))
        if y.ndim != 3 or y.shape[-1] not in (2, 3):
            raise InputError(f"output {name!r} is {list(y.shape)}", expected="[B, L, 2 or 3], or the setting places")
        if y.shape[-1] == 2:
            y = np.concatenate([y, np.zeros_like(y[..., :1])], axis=-1)
        y[..., 2] = np.maximum(y[..., 2], 0.0)
        if "end" in settings:
            _end(y, np.asarray(_named(outputs, settings["end"])).reshape(y.shape[:2]) > 0)
        return y

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns ScanMatch, sequence score, NSS and AUC, each the mean over the samples."""
        labels = labels[:, None] if labels.ndim == 3 else labels
        if labels.ndim != 4 or labels.shape[-1] != 3 or len(labels) != len(predictions):
            raise InputError(
                f"labels are {list(labels.shape)}", expected=f"[{len(predictions)}, L, 3] or [.., observers, L, 3]"
            )
        rows = [_scores(said, there, settings) for said, there in zip(predictions, labels, strict=True)]
        source = f"{len(labels)} samples, {int((labels[..., 2] >= 0).any(-1).sum())} paths"
        return {
            name: Quantity.exact(float(np.mean([row[name] for row in rows])), "", "measured", source)
            for name in self.info.metrics
        }

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns every fixation."""
        return {"fixations": [{"x": float(x), "y": float(y), "duration_s": float(t)} for x, y, t in _path(prediction)]}


def _named(outputs: Mapping[str, np.ndarray], name: str) -> np.ndarray:
    if name not in outputs:
        raise InputError(f"there is no output {name!r}", expected="one of " + ", ".join(outputs))
    return outputs[name]


def _chosen(logits: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Returns paths between given places, `[B, L, 3]`."""
    if logits.ndim != 3 or places.ndim != 2 or places.shape[1] != 2 or logits.shape[-1] != len(places) + 1:
        raise InputError(
            f"scores {list(logits.shape)} for places {list(places.shape)}", expected="[B, L, N + 1] and [N, 2]"
        )
    best = best_class(logits)
    ended = best == len(places)
    path = np.concatenate([places[np.minimum(best, len(places) - 1)], np.zeros((*best.shape, 1))], axis=-1)
    _end(path, ended)
    return path


def _end(paths: np.ndarray, ended: np.ndarray) -> None:
    paths[np.logical_or.accumulate(ended, axis=1), 2] = _ENDED


def _path(rows: np.ndarray) -> np.ndarray:
    return rows[rows[:, 2] >= 0]


def _scores(said: np.ndarray, observers: np.ndarray, settings: Mapping[str, Any]) -> dict[str, float]:
    """Returns every metric of one predicted path against the paths of one or several people."""
    size = tuple(float(v) for v in settings.get("size", (1.0, 1.0)))
    grid, fine = (tuple(int(v) for v in settings.get(key, default)) for key, default in _GRIDS)
    said, paths = _path(said), [path for rows in observers if len(path := _path(rows))]
    if not paths:
        raise InputError("a label holds no fixation", expected="one fixation or more in each sample")
    mine = scores.cells(said, size, grid)  # type: ignore[arg-type]
    theirs = [scores.cells(path, size, grid) for path in paths]  # type: ignore[arg-type]
    bin_s, threshold = settings.get("time_bin"), float(settings.get("threshold", 3.5))
    binned = [mine, *theirs]
    if bin_s is not None:
        binned = [scores.over_time(c, p[:, 2], float(bin_s)) for c, p in zip(binned, [said, *paths], strict=True)]
    fixated = np.concatenate([scores.cells(path, size, fine) for path in paths])  # type: ignore[arg-type]
    values = scores.fixation_map(said, size, fine, float(settings.get("sigma", size[0] / 24)))  # type: ignore[arg-type]
    return {
        "scanmatch": float(np.mean([scores.scanmatch(binned[0], other, threshold) for other in binned[1:]])),
        "sequence_score": float(np.mean([scores.sequence_score(mine, other) for other in theirs])),
        "nss": scores.normalised_saliency(values, fixated),
        "auc": scores.area_under_curve(values, fixated),
    }


_GRIDS = (("grid", (12, 8)), ("map", (96, 64)))

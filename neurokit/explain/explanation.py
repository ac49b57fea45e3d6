"""Explains a classifier on labelled data: accuracy, confusions, features in a plane, and where it looks."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from neurokit.accepted import as_captured
from neurokit.errors import InputError, MissingRuntimeError, Unsupported, UnsupportedError
from neurokit.explain.embedding import METHODS, embed
from neurokit.explain.gradcam import grad_cam
from neurokit.explain.maps import Tapped, tapped
from neurokit.quantity import Quantity
from neurokit.tasks.choice import best_class, softmax
from neurokit.tasks.classification import check_labels
from neurokit.tasks.intervals import wilson
from neurokit.tasks.scoring import Layout, Port, feeds_of

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled

_BATCH = 64


@dataclass(frozen=True)
class Example:
    """One sample and where the network looks.

    Attributes:
        index: Its place in the data.
        picture: uint8 `[H, W]` or `[H, W, 3]`; of a sequence the mean over time.
        map: `[h, w]`, 0 to 1: Grad-CAM of the predicted class, divided by its largest value.
        over_time: `[T, h, w]`, 0 to 1: what every time step adds, divided by the largest; T = 1 without time.
        label: The right class.
        predicted: The class with the largest score.
        confidence: Its softmax.
    """

    index: int
    picture: np.ndarray
    map: np.ndarray
    over_time: np.ndarray
    label: int
    predicted: int
    confidence: float


@dataclass(frozen=True)
class Pair:
    """A class that is taken for another.

    Attributes:
        label: The right class.
        predicted: The class that was answered.
        count: How often.
        total: How many samples there are of the right class.
    """

    label: int
    predicted: int
    count: int
    total: int


@dataclass(frozen=True)
class Explanation:
    """What is known of how a classifier answers.

    Attributes:
        model: Its name.
        data: Where the samples are from.
        classes: Names of the classes.
        accuracy: Share of right answers.
        labels: The right classes, `[N]`.
        predictions: The answered classes, `[N]`.
        confusion: Counts, `[classes, classes]`: right class by answered class.
        pairs: The most confused pairs, most frequent first.
        examples: Pictures: of the most confused pairs, then right ones of every class.
        features: `[N, F]`: the mean over places (and time) of the last feature map.
        points: `[N, 2]`: the features in a plane.
        embedding: In words what the plane is.
        layer: Module path of the feature map that Grad-CAM is of, and its size.
    """

    model: str
    data: str
    classes: tuple[str, ...]
    accuracy: Quantity
    labels: np.ndarray
    predictions: np.ndarray
    confusion: np.ndarray
    pairs: tuple[Pair, ...]
    examples: tuple[Example, ...]
    features: np.ndarray
    points: np.ndarray
    embedding: str
    layer: str

    def to_json(self) -> dict[str, Any]:
        """Returns everything but pictures and features."""
        return {
            "model": self.model,
            "data": self.data,
            "classes": list(self.classes),
            "accuracy": self.accuracy.to_json(),
            "confusion": self.confusion.tolist(),
            "pairs": [
                {
                    "label": self.classes[pair.label],
                    "predicted": self.classes[pair.predicted],
                    "count": pair.count,
                    "of": pair.total,
                }
                for pair in self.pairs
            ],
            "embedding": self.embedding,
            "points": self.points.tolist(),
            "layer": self.layer,
        }


def explain(model: Any, data: Labelled, *, pictures: int = 24, embedding: str = "pca", seed: int = 0) -> Explanation:
    """Explains an image classifier on labelled data.

    Args:
        model: A captured model, a spec, or what `neurokit.load` takes.
        data: Samples `[N, *shape]` (`[N, T, *shape]` over time) and their classes `[N]`.
        pictures: Largest number of samples to draw.
        embedding: "pca" or "tsne"; see `neurokit.explain.embedding.embed`.
        seed: Of the embedding.

    Raises:
        InputError: If data or settings do not fit.
        UnsupportedError: If the model has several inputs or no feature map, or cannot be captured.
        MissingRuntimeError: If captum or scikit-learn is not installed.
    """
    check_settings(embedding, pictures)  # before a long capture
    captured = as_captured(model, lambda spec: None)
    x = _inputs(captured, data)
    network = tapped(captured)
    scores, features = _run(network, x, captured)
    check_labels(data.y, scores.shape[1])
    predictions = best_class(scores)
    confusion = np.zeros((scores.shape[1], scores.shape[1]), dtype=np.int64)
    np.add.at(confusion, (data.y, predictions), 1)
    pairs = confused(confusion)
    chosen = choose(data.y, predictions, pairs, pictures)
    points, said = embed(features, embedding, seed)
    return Explanation(
        model=captured.spec.name,
        data=data.name or "given data",
        classes=captured.spec.classes or tuple(map(str, range(scores.shape[1]))),
        accuracy=wilson(int((predictions == data.y).sum()), len(data.y), data.name or "samples"),
        labels=data.y,
        predictions=predictions,
        confusion=confusion,
        pairs=pairs,
        examples=_examples(network, captured, x, chosen, data.y, scores),
        features=features,
        points=points,
        embedding=said,
        layer=network.shown_name,
    )


def check_settings(embedding: str, pictures: int) -> None:
    """Refuses settings that are none, and a machine that lacks a library, before anything takes long.

    Raises:
        InputError: If a setting does not fit.
        MissingRuntimeError: If captum or scikit-learn is not installed.
    """
    if embedding not in METHODS:
        raise InputError(f"embedding {embedding!r}", expected=" or ".join(METHODS))
    if pictures < 0:
        raise InputError(f"{pictures} pictures", expected="0 or more")
    for library, name in (("captum", "captum"), ("sklearn", "scikit-learn")):
        if find_spec(library) is None:
            raise MissingRuntimeError(f"{name} is not installed", fix='pip install "neurokit-edge[explain]"')


def confused(confusion: np.ndarray, most: int = 10) -> tuple[Pair, ...]:
    """Returns the pairs of classes that are confused most often, of equally many the lower numbers first."""
    wrong = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]
    places = [divmod(int(place), len(wrong)) for place in order]
    totals = confusion.sum(1)
    return tuple(Pair(a, b, int(wrong[a, b]), int(totals[a])) for a, b in places if wrong[a, b])


def choose(labels: np.ndarray, predictions: np.ndarray, pairs: tuple[Pair, ...], most: int) -> list[int]:
    """Returns which samples to draw: the first of every confused pair, then the first right one of every class."""
    firsts = [np.flatnonzero((labels == pair.label) & (predictions == pair.predicted))[0] for pair in pairs]
    right = [np.flatnonzero((labels == label) & (predictions == label))[:1] for label in np.unique(labels)]
    wrong = firsts[: most // 2]
    return [int(at) for at in [*wrong, *np.concatenate(right)]][:most]


def _inputs(captured: Captured, data: Labelled) -> np.ndarray:
    """Returns the samples as the program takes them: `[T, N, ...]` or `[N, ...]`."""
    if len(captured.inputs) > 1 or len(captured.graphs) > 1:
        reason = "it has several inputs or graphs"
        raise UnsupportedError(
            "only networks of one image are explained",
            [Unsupported("", captured.spec.name, reason, "a classifier of images")],
        )
    port = captured.inputs[0]
    steps = captured.known_steps if port.time_axis is not None else None
    layout = Layout((Port(port.name, captured.spec.inputs[0].numbers, port.dtype),), steps)
    x = next(iter(feeds_of(data, layout).values()))
    return x if steps is None else np.moveaxis(x, 0, 1)


def _part(x: np.ndarray, captured: Captured, places: Any) -> torch.Tensor:
    """Returns some samples as a batch of the program."""
    picked = x[places] if captured.inputs[0].time_axis is None else x[:, places]
    return torch.from_numpy(np.ascontiguousarray(picked))


def _run(network: Tapped, x: np.ndarray, captured: Captured) -> tuple[np.ndarray, np.ndarray]:
    """Returns scores and features of all samples."""
    count = len(x) if captured.inputs[0].time_axis is None else x.shape[1]
    kept: list[torch.Tensor] = []
    handle = network.last.seen.register_forward_hook(lambda _module, _given, seen: kept.append(seen))
    channels: list[np.ndarray] = []
    scores = []
    try:
        for start in range(0, count, _BATCH):
            kept.clear()
            with torch.no_grad():
                scores.append(network.scores(_part(x, captured, slice(start, start + _BATCH))).double().numpy())
            channels.append(kept[-1].double().mean((2, 3)).numpy())
    finally:
        handle.remove()
    features = np.concatenate(channels)
    return np.concatenate(scores), features.reshape(len(features), -1, network.last_channels).mean(1)


def _examples(
    network: Tapped, captured: Captured, x: np.ndarray, chosen: list[int], labels: np.ndarray, scores: np.ndarray
) -> tuple[Example, ...]:
    if not chosen:
        return ()
    predicted = best_class(scores)
    cam = grad_cam(network, _part(x, captured, chosen), torch.from_numpy(predicted[chosen]))
    shares = softmax(scores)
    found = []
    for row, at in enumerate(chosen):
        sample = x[at] if captured.inputs[0].time_axis is None else x[:, at].mean(0)
        steps = cam.over_time[row].clip(min=0)
        found.append(
            Example(
                at,
                picture_of(sample, captured.spec.inputs[0].low, captured.spec.inputs[0].high),
                cam.total[row] / (cam.total[row].max() or 1.0),
                steps / (steps.max() or 1.0),
                int(labels[at]),
                int(predicted[at]),
                float(shares[at, predicted[at]]),
            )
        )
    return tuple(found)


def picture_of(sample: np.ndarray, low: float, high: float) -> np.ndarray:
    """Returns a sample `[C, H, W]` as 8-bit brightness: grey of one channel, colours of three, else the mean of all."""
    bright = np.clip((sample.astype(np.float64) - low) / ((high - low) or 1.0), 0, 1)
    shown = bright.transpose(1, 2, 0) if len(bright) == 3 else bright.mean(0)
    return np.rint(shown * 255).astype(np.uint8)

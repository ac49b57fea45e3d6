"""The page of an explanation: confused pairs, features in a plane, and where the network looks."""

from __future__ import annotations

import base64
import io
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit import atomic
from neurokit._version import __version__
from neurokit.page.plots import COLOURS, SHAPES, WIDTH, mark, svg
from neurokit.page.templating import template

if TYPE_CHECKING:
    from neurokit.explain import Example, Explanation

_SIDE = 192  # pixels of a picture's longer side
_HOT = np.array([230.0, 60.0, 0.0])
_HEIGHT, _EDGE = 300.0, 12.0


def save_html(explanation: Explanation, html: Path) -> None:
    """Writes the page: one file that needs nothing else.

    Raises:
        OutputError: If it cannot be written.
    """
    atomic.write_text(html, render(explanation))


def render(explanation: Explanation) -> str:
    """Returns the page's HTML."""
    used = sorted(set(explanation.labels.tolist()) | set(explanation.predictions.tolist()))
    return template("explanation.html.j2").render(
        version=__version__,
        it=explanation,
        accuracy=f"{explanation.accuracy.value:.1%}",
        bounds=f"{explanation.accuracy.low:.1%} to {explanation.accuracy.high:.1%}",
        pairs=[
            (explanation.classes[p.label], explanation.classes[p.predicted], p.count, p.total)
            for p in explanation.pairs
        ],
        cards=[_card(example, explanation.classes) for example in explanation.examples],
        steps=max((len(example.over_time) for example in explanation.examples), default=1),
        plane=scatter(explanation),
        legend=[(_key(label), explanation.classes[label]) for label in used],
        used=used,
        most=max(int(explanation.confusion.max()), 1),
    )


def _look(label: int) -> tuple[str, str]:
    """Returns the shape and colour of a class; 32 of them differ."""
    return SHAPES[label // len(COLOURS) % len(SHAPES)], COLOURS[label % len(COLOURS)]


def _key(label: int) -> str:
    shape, colour = _look(label)
    inside = mark(7, 7, shape, colour)
    return f'<svg width="14" height="14" viewBox="0 0 14 14" class="key" aria-hidden="true">{inside}</svg>'


def scatter(explanation: Explanation) -> str:
    """Returns the features in a plane; samples that were answered wrongly have a ring."""
    points = explanation.points
    low, high = points.min(0), points.max(0)
    span = np.where(high > low, high - low, 1.0)
    size = np.array([WIDTH - 2 * _EDGE, _HEIGHT - 2 * _EDGE])
    places = _EDGE + (points - low) / span * size
    body = []
    for (x, y), label, said in zip(places, explanation.labels, explanation.predictions, strict=True):
        name = escape(explanation.classes[label])
        wrong = "" if label == said else f", taken for {escape(explanation.classes[said])}"
        ring = "" if label == said else f'<circle cx="{x:.1f}" cy="{_HEIGHT - y:.1f}" r="8" class="ring"/>'
        body.append(f"<g><title>{name}{wrong}</title>{mark(x, _HEIGHT - y, *_look(int(label)))}{ring}</g>")
    return svg(_HEIGHT, "".join(body), f"Features of {len(points)} samples in a plane: {explanation.embedding}")


def overlay(picture: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Returns a picture in colours with a map over it, `[H, W, 3]` uint8, its longer side `_SIDE` pixels.

    Args:
        picture: uint8 `[H, W]` or `[H, W, 3]`.
        heat: `[h, w]`, 0 to 1.
    """
    from PIL import Image

    height, width = picture.shape[:2]
    scale = _SIDE / max(height, width)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    enlarged = Image.fromarray(picture).convert("RGB").resize(size, Image.Resampling.NEAREST if scale > 1 else None)
    spread = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BILINEAR)
    share = 0.75 * np.clip(np.asarray(spread), 0, 1)[..., None]
    return np.rint(np.asarray(enlarged) * (1 - share) + _HOT * share).astype(np.uint8)


def _png(pixels: np.ndarray) -> str:
    from PIL import Image

    with io.BytesIO() as buffer:
        Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
        return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def _card(example: Example, classes: tuple[str, ...]) -> dict[str, Any]:
    right = example.label == example.predicted
    answered = f"{classes[example.predicted]}, {example.confidence:.0%}"
    steps = [_png(overlay(example.picture, heat)) for heat in example.over_time] if len(example.over_time) > 1 else []
    return {
        "image": _png(overlay(example.picture, example.map)),
        "plain": _png(overlay(example.picture, np.zeros_like(example.map))),
        "steps": steps,
        "right": right,
        "said": answered if right else f"{answered}; right is {classes[example.label]}",
    }

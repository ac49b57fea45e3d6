"""Outlines of fingers, palms and polygons, of many figures at once, before they are posed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

Number = float | np.ndarray  # one for all figures, or one a figure `[N]`
Point = tuple[Number, Number]

_ALONG = 12  # points along a stroke
_CAP = 5  # points of the half circle at its end


@dataclass
class Pen:
    """Collects the outlines of N figures of one class, each a little different.

    Coordinates: x to the right, y up, a figure within about -1 to 1.

    Attributes:
        rng: Where all chance is from.
        count: N.
        wobble: Standard deviation of what is added to every control point.
        outlines: What was drawn, in order: `[N, K, 2]`, and whether it is shadow (True) or a hole (False).
    """

    rng: np.random.Generator
    count: int
    wobble: float = 0.025
    outlines: list[tuple[np.ndarray, bool]] = field(default_factory=list)

    def between(self, low: float, high: float) -> np.ndarray:
        """Returns uniform numbers, one a figure `[N]`."""
        return self.rng.uniform(low, high, self.count)

    def stroke(self, points: Sequence[Point], widths: Sequence[Number], shadow: bool = True) -> None:
        """Draws a smooth line of changing width with round ends.

        Args:
            points: What it goes through, at least two.
            widths: Half its width at each point.
            shadow: Whether it is shadow or takes shadow away.
        """
        control = self._placed(points)
        half = np.stack([np.broadcast_to(np.asarray(w, float), self.count) for w in widths], axis=1)
        centre, half = _spline(control), _linear(half)
        ahead = np.gradient(centre, axis=1)
        ahead /= np.maximum(np.linalg.norm(ahead, axis=2, keepdims=True), 1e-9)
        side = np.stack([-ahead[..., 1], ahead[..., 0]], axis=2) * half[..., None]
        last = _cap(centre[:, -1], side[:, -1])
        first = _cap(centre[:, 0], -side[:, 0])
        outline = np.concatenate([centre + side, last, (centre - side)[:, ::-1], first], axis=1)
        self.outlines.append((outline, shadow))

    def finger(
        self, base: Point, angle: Number, length: Number, width: Number, bend: Number = 0.0, tip: float = 0.7
    ) -> Point:
        """Draws a finger of three phalanges and returns where its tip is.

        Args:
            base: Where it begins.
            angle: Its direction there, in degrees from the x axis; the hand's looseness is added.
            length: Its length; as fingers differ, a seventh is added or taken.
            width: Half its width at the base.
            bend: What the direction changes at each joint, in degrees.
            tip: Width at the tip as a share of that at the base.
        """
        angle = np.radians(angle + self.between(-7, 7))
        bend = np.radians(bend + self.between(-6, 6))
        length = length * self.between(0.86, 1.14)
        points = [base]
        for joint, share in enumerate((0.42, 0.32, 0.26)):
            x, y = points[-1]
            turned = angle + bend * joint
            points.append((x + length * share * np.cos(turned), y + length * share * np.sin(turned)))
        shares = (1.0, 0.95, 0.5 + tip / 2, tip)
        self.stroke(points, [width * share for share in shares])
        return points[-1]

    def blob(self, centre: Point, rx: Number, ry: Number, angle: Number = 0.0, shadow: bool = True) -> None:
        """Draws an ellipse with the half axes `rx` and `ry`, turned by `angle` degrees."""
        around = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        rx, ry, turn = (np.broadcast_to(np.asarray(v, float), self.count)[:, None] for v in (rx, ry, np.radians(angle)))
        rx, ry = rx * self.between(0.92, 1.08)[:, None], ry * self.between(0.92, 1.08)[:, None]
        x, y = rx * np.cos(around), ry * np.sin(around)
        middle = self._placed([centre])
        ellipse = np.stack([x * np.cos(turn) - y * np.sin(turn), x * np.sin(turn) + y * np.cos(turn)], axis=2)
        self.outlines.append((middle + ellipse, shadow))

    def polygon(self, points: Sequence[Point], shadow: bool = True) -> None:
        """Draws a polygon with straight edges."""
        self.outlines.append((self._placed(points), shadow))

    def _placed(self, points: Sequence[Point]) -> np.ndarray:
        """Returns points as `[N, P, 2]`, each off by the wobble."""
        placed = np.empty((self.count, len(points), 2))
        for at, (x, y) in enumerate(points):
            placed[:, at, 0], placed[:, at, 1] = x, y
        return placed + self.rng.normal(0, self.wobble, placed.shape)


def _linear(values: np.ndarray) -> np.ndarray:
    """Interpolates `[N, P]` linearly to `[N, _ALONG]`."""
    at, part = _places(values.shape[1])
    return values[:, at] * (1 - part) + values[:, at + 1] * part


def _spline(points: np.ndarray) -> np.ndarray:
    """Interpolates `[N, P, 2]` by Catmull-Rom splines to `[N, _ALONG, 2]`."""
    around = np.concatenate([2 * points[:, :1] - points[:, 1:2], points, 2 * points[:, -1:] - points[:, -2:-1]], axis=1)
    at, part = _places(points.shape[1])
    part = part[:, None]
    p0, p1, p2, p3 = (around[:, at + shift] for shift in range(4))
    cubic = 2 * p0 - 5 * p1 + 4 * p2 - p3, -p0 + 3 * p1 - 3 * p2 + p3
    return 0.5 * (2 * p1 + (p2 - p0) * part + cubic[0] * part**2 + cubic[1] * part**3)


def _places(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the segment and the place within it of each point along a line through `count` points."""
    place = np.linspace(0, count - 1, _ALONG)
    at = np.minimum(place.astype(int), count - 2)
    return at, place - at


def _cap(centre: np.ndarray, side: np.ndarray) -> np.ndarray:
    """Returns a half circle `[N, _CAP, 2]` from `centre + side` around to `centre - side`, clockwise."""
    angles = -np.linspace(0, np.pi, _CAP + 2)[1:-1]
    x = side[:, :1] * np.cos(angles) - side[:, 1:] * np.sin(angles)
    y = side[:, :1] * np.sin(angles) + side[:, 1:] * np.cos(angles)
    return centre[:, None] + np.stack([x, y], axis=2)

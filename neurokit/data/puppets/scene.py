"""From outlines to pictures: pose, perspective, rasterising, lamp, penumbra, occlusion and sensor noise."""

from __future__ import annotations

import numpy as np

_OVER = 2  # supersampling of the shadow's edge
_TURNS = 36.0  # degrees to either side
_BANDS = 6  # of turns and of sizes, which train and test take by turns
_SIZES = (0.62, 0.98)


def banded(rng: np.random.Generator, count: int, low: float, high: float, odd: bool) -> np.ndarray:
    """Returns uniform numbers from every second of `_BANDS` equal bands of low to high; the odd ones or the even."""
    band = 2 * rng.integers(0, _BANDS // 2, count) + int(odd)
    return low + (high - low) / _BANDS * (band + rng.random(count))


def pose(outlines: list[np.ndarray], rng: np.random.Generator, odd: bool) -> list[np.ndarray]:
    """Mirrors, turns, scales, shears, moves and tilts figures; returns coordinates of 0 to 1, y down.

    Args:
        outlines: Each `[N, K, 2]` within about -1 to 1, y up.
        rng: Where chance is from.
        odd: Which half of the turns and sizes is used, so that two sets share none.
    """
    count = len(outlines[0])
    mirror = np.where(rng.random(count) < 0.5, -1.0, 1.0)
    turn = np.radians(banded(rng, count, -_TURNS, _TURNS, odd))
    size = banded(rng, count, *_SIZES, odd)
    aspect, shear = rng.uniform(0.86, 1.16, count), rng.uniform(-0.18, 0.18, count)
    tilt = rng.uniform(-0.22, 0.22, (count, 2))
    shift = rng.uniform(-0.2, 0.2, (count, 2))
    posed = []
    for outline in outlines:
        x, y = outline[..., 0] * mirror[:, None], outline[..., 1]
        x, y = (x + shear[:, None] * y) * (size * aspect)[:, None], y * (size / aspect)[:, None]
        cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
        x, y = x * cos - y * sin, x * sin + y * cos
        depth = np.maximum(1 + tilt[:, :1] * x + tilt[:, 1:] * y, 0.3)  # a wall that is not square to the lamp
        x, y = x / depth + shift[:, :1], y / depth + shift[:, 1:]
        posed.append(np.stack([0.5 + 0.5 * x, 0.5 - 0.5 * y], axis=2))
    return posed


def rasterise(outlines: list[np.ndarray], shadows: list[bool], size: int) -> np.ndarray:
    """Fills outlines one over the other; returns the share of shadow of each pixel `[N, size, size]`, 0 to 1."""
    from PIL import Image, ImageDraw  # listings of models import this module

    side = size * _OVER
    filled = np.empty((len(outlines[0]), size, size), np.float32)
    scaled = [(outline * side).reshape(len(outline), -1).round(1) for outline in outlines]
    for at in range(len(filled)):
        image = Image.new("L", (side, side))
        draw = ImageDraw.Draw(image)
        for points, shadow in zip(scaled, shadows, strict=True):
            draw.polygon(points[at].tolist(), fill=255 * shadow)
        filled[at] = np.asarray(image.reduce(_OVER), np.float32) / 255
    return filled


def occlude(shadow: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Adds the shadow of something that reaches in from the edge to a quarter of the pictures."""
    count, size = len(shadow), shadow.shape[1]
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size - 0.5
    angle = rng.uniform(0, 2 * np.pi, count)[:, None, None]
    reach = rng.uniform(0.3, 0.42, count)[:, None, None]
    half = rng.uniform(0.05, 0.16, count)[:, None, None]
    there = (rng.random(count) < 0.25)[:, None, None]
    along = grid[None, None, :] * np.cos(angle) + grid[None, :, None] * np.sin(angle)
    across = grid[None, :, None] * np.cos(angle) - grid[None, None, :] * np.sin(angle)
    bar = there & (along > reach) & (np.abs(across) < half)
    return np.maximum(shadow, bar.astype(np.float32))


def light(shadow: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Returns photographs of shadows: uint8 brightness `[N, H, W]`.

    The lamp's cone is bright in the middle and falls off towards an edge that may be within the picture; the shadow's
    edge is as soft as the lamp is wide; the wall has a tone and the camera its noise.
    """
    from PIL import Image, ImageFilter

    count, size = len(shadow), shadow.shape[1]
    soft = rng.uniform(0.2, 1.7, count) * size / 64
    blurred = np.empty_like(shadow)
    for at, radius in enumerate(soft.tolist()):
        image = Image.fromarray((shadow[at] * 255).astype(np.uint8))
        blurred[at] = np.asarray(image.filter(ImageFilter.GaussianBlur(radius)), np.float32) / 255
    grid = (np.arange(size, dtype=np.float32) + 0.5) / size
    centre = rng.uniform(0.3, 0.7, (count, 2, 1)).astype(np.float32)
    squared = (grid - centre[:, 0])[:, None, :] ** 2 + (grid - centre[:, 1])[:, :, None] ** 2
    radius = rng.uniform(0.55, 1.0, (count, 1, 1)).astype(np.float32)
    edge = rng.uniform(0.03, 0.12, (count, 1, 1)).astype(np.float32)
    cone = 1 / (1 + np.exp(np.clip((np.sqrt(squared) - radius) / edge, -30, 30)))
    wall = rng.uniform(150, 245, (count, 1, 1)).astype(np.float32) * (0.35 + 0.65 * cone)
    dark = rng.uniform(8, 70, (count, 1, 1)).astype(np.float32)
    noise = rng.standard_normal(shadow.shape, dtype=np.float32) * rng.uniform(1, 9, (count, 1, 1)).astype(np.float32)
    seen = wall * (1 - blurred) + np.minimum(dark, wall) * blurred + noise
    return np.clip(np.rint(seen), 0, 255).astype(np.uint8)

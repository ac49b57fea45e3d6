"""Seeded pictures of hand-shadow puppets, with the right class of each. Synthetic: no photograph is behind them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from neurokit.data.puppets.cutouts import CUTOUTS
from neurokit.data.puppets.hands import HANDS
from neurokit.data.puppets.names import CLASSES
from neurokit.data.puppets.pen import Pen
from neurokit.data.puppets.scene import light, occlude, pose, rasterise
from neurokit.errors import InputError

Split = Literal["train", "test"]
Strokes = Literal["hands", "cutouts"]

SPLITS: tuple[Split, ...] = ("train", "test")
_STROKES = {"hands": HANDS, "cutouts": CUTOUTS}


def render(
    split: Split = "train", per_class: int = 200, size: int = 64, seed: int = 0, strokes: Strokes = "hands"
) -> tuple[np.ndarray, np.ndarray]:
    """Draws synthetic shadows of all 15 puppets.

    Args:
        split: "train" or "test": streams of chance that are never the same, turns and sizes of the figure from bands
            that do not touch.
        per_class: Pictures of each class.
        size: Height and width in pixels.
        seed: Seed of all chance; the same arguments give the same pictures.
        strokes: "hands" (palms, fingers, a forearm), or "cutouts", figures cut out with straight edges that share no
            stroke with them, to see how far a network trained on hands gets on shadows that were drawn otherwise.

    Returns:
        Brightness of the wall, uint8 `[15 * per_class, size, size]`, one class after the other, and the classes,
        int64, which number `CLASSES`.

    Raises:
        InputError: If an argument is none of these.
    """
    _check(split, per_class, size, seed, strokes)
    pictures = np.empty((len(CLASSES), per_class, size, size), np.uint8)
    for label, figure in enumerate(_STROKES[strokes]):
        stream = [seed, SPLITS.index(split), list(_STROKES).index(strokes), label, per_class]
        rng = np.random.default_rng(np.random.SeedSequence(stream))
        pen = Pen(rng, per_class)
        figure(pen)
        outlines = pose([outline for outline, _ in pen.outlines], rng, odd=split == "test")
        shadow = rasterise(outlines, [dark for _, dark in pen.outlines], size)
        pictures[label] = light(occlude(shadow, rng), rng)
    labels = np.repeat(np.arange(len(CLASSES)), per_class)
    return pictures.reshape(-1, size, size), labels


def _check(split: str, per_class: int, size: int, seed: int, strokes: str) -> None:
    for name, value, known in (("split", split, SPLITS), ("strokes", strokes, tuple(_STROKES))):
        if value not in known:
            raise InputError(f"{name} is {value!r}", expected=" or ".join(known))
    numbers: Sequence[tuple[str, int, int, int]] = (
        ("per_class", per_class, 1, 100_000),
        ("size", size, 16, 1024),
        ("seed", seed, 0, 2**63 - 1),
    )
    for name, number, low, high in numbers:
        whole = isinstance(number, int | np.integer) and not isinstance(number, bool)
        if not whole or not low <= number <= high:
            raise InputError(f"{name} is {number!r}", expected=f"a whole number from {low} to {high}")

"""Solving walls: the Python side of `neurokit walls`."""

from __future__ import annotations

from collections.abc import Sequence

from neurokit.walls.clustering import cluster
from neurokit.walls.encoder import Encode
from neurokit.walls.files import Prediction, Wall


def solve(walls: Sequence[Wall], encode: Encode) -> list[Prediction]:
    """Groups the words of each wall by the exact clustering of their vectors.

    Args:
        walls: The walls; their right groups are not looked at.
        encode: Returns vectors of words (`exported_encoder`, `vectors_from`, or any other).

    Raises:
        InputError: If a vector has a number that is not finite.
    """
    found = []
    for wall in walls:
        groups = cluster(encode(wall.words)).groups
        found.append(Prediction(wall.name, tuple(tuple(wall.words[at] for at in group) for group in groups)))
    return found

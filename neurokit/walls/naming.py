"""How right predicted names of connections are: task 2 of the OCW data set, by exact match and ROUGE-1."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from neurokit.errors import InputError
from neurokit.walls.files import Prediction, Wall, check_connections

_TOKEN = re.compile(r"[a-z0-9]+")


@dataclass(frozen=True)
class NamesOfWall:
    """How right the four names of one wall are.

    Attributes:
        wall: Name of the wall.
        exact_match: For each group, whether the name is the right one, without case and outer spaces.
        rouge1: For each group, the F1 of single words, 0 to 1.
    """

    wall: str
    exact_match: tuple[bool, ...]
    rouge1: tuple[float, ...]


@dataclass(frozen=True)
class NamingScore:
    """How right the names of many walls are.

    Attributes:
        walls: Number of walls.
        exact_match: Mean over walls of their means.
        rouge1: Mean over walls of their means.
    """

    walls: int
    exact_match: float
    rouge1: float

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return asdict(self)


def rouge_1(predicted: str, right: str) -> float:
    """Returns ROUGE-1 as F1 (Lin 2004): words that both have, each as often as both have it, without stemming.

    Words are runs of letters a to z and digits, without case, as in the `rouge_score` package; two texts without any
    have 0.
    """
    counts = [Counter(_TOKEN.findall(text.lower())) for text in (predicted, right)]
    both = sum((counts[0] & counts[1]).values())
    total = sum(sum(count.values()) for count in counts)
    return 2 * both / total if total else 0.0


def name_wall(wall: Wall, connections: Sequence[str]) -> NamesOfWall:
    """Scores names of a wall's connections, one for each right group, in the groups' order.

    Raises:
        InputError: If the wall's connections are not known, or there are not four names.
    """
    if not any(name.strip() for name in wall.connections):
        raise InputError(f"wall {wall.name!r} has no connections", expected="groups with gt_connection")
    check_connections(connections, f"the prediction of wall {wall.name!r}")
    pairs = [tuple(x.lower().strip() for x in pair) for pair in zip(connections, wall.connections, strict=True)]
    return NamesOfWall(wall.name, tuple(a == b for a, b in pairs), tuple(rouge_1(a, b) for a, b in pairs))


def name_walls(walls: Sequence[Wall], predictions: Sequence[Prediction]) -> tuple[NamingScore, list[NamesOfWall]]:
    """Scores the names of walls; each wall has four, in any order of walls.

    Raises:
        InputError: If a wall has none, or a prediction no wall.
    """
    by_name = {one.name: one.connections for one in predictions}
    lacking = [wall.name for wall in walls if not by_name.get(wall.name)]
    strange = sorted(set(by_name) - {wall.name for wall in walls})
    if lacking or strange or not walls:
        what = (
            f"wall {lacking[0]!r} has no predicted connections" if lacking else f"a prediction is of wall {strange[:1]}"
        )
        raise InputError(what, expected="four predicted connections for each wall")
    rows = [name_wall(wall, by_name[wall.name]) for wall in walls]
    means = [float(np.mean([np.mean(getattr(row, name)) for row in rows])) for name in ("exact_match", "rouge1")]
    return NamingScore(len(rows), *means), rows

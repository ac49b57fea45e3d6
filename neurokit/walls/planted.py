"""Walls whose answer is known and whose difficulty is a number: groups share a stem, red herrings share two."""

from __future__ import annotations

import numpy as np

from neurokit.errors import InputError
from neurokit.walls.files import GROUPS, SIZE, Wall

_CONSONANTS, _VOWELS = "bcdfghjklmnprstvwz", "aeiou"
MOST_HERRINGS = GROUPS * SIZE


def planted_walls(count: int, herrings: int = 0, seed: int = 0) -> list[Wall]:
    """Draws walls of made-up words.

    Each group has a stem of six letters that its words begin with; the rest is drawn. A red herring ends with the stem
    of another group, so it fits two: which one is right is told by the other words alone, or not at all.

    Args:
        count: Number of walls.
        herrings: Red herrings a wall, 0 to 16.
        seed: Seed of the draws; a wall's words depend on its number and on nothing else.

    Raises:
        InputError: If a number is out of range.
    """
    if count < 1 or not 0 <= herrings <= MOST_HERRINGS:
        raise InputError(
            f"{count} walls with {herrings} red herrings", expected=f"one wall or more, 0 to {MOST_HERRINGS} herrings"
        )
    return [_wall(number, herrings, np.random.default_rng([seed, number])) for number in range(count)]


def _wall(number: int, herrings: int, draw: np.random.Generator) -> Wall:
    stems: list[str] = []
    while len(stems) < GROUPS:
        stem = _letters(draw, 6)
        if all(stem[:3] != other[:3] for other in stems):
            stems.append(stem)
    false = set(draw.permutation(GROUPS * SIZE)[:herrings].tolist())
    groups, seen = [], set()
    for at, stem in enumerate(stems):
        words: list[str] = []
        while len(words) < SIZE:
            if at * SIZE + len(words) in false:
                other = stems[(at + int(draw.integers(1, GROUPS))) % GROUPS]
                word = stem + _letters(draw, 1) + other
            else:
                word = stem + _letters(draw, 4)
            if word not in seen:
                seen.add(word)
                words.append(word)
        groups.append(tuple(words))
    shown = [word for group in groups for word in group]
    order = draw.permutation(len(shown))
    return Wall(f"planted{number}", tuple(shown[at] for at in order), tuple(groups), tuple(f"{s}___" for s in stems))


def _letters(draw: np.random.Generator, count: int) -> str:
    return "".join(str(draw.choice(list((_CONSONANTS, _VOWELS)[at % 2]))) for at in range(count))

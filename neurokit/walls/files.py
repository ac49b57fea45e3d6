"""Walls and predictions as the published JSON files hold them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from neurokit.errors import InputError
from neurokit.plain import first_fault, parse_json, text_of

GROUPS, SIZE = 4, 4
WORDS = GROUPS * SIZE
Groups = tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Wall:
    """A wall.

    Attributes:
        name: Its published number.
        words: Its 16 clues, as they are shown.
        groups: The right groups, four of four; () where they are not known.
        connections: What connects each group; () where it is not known.
        solved_by_people: For each group, whether the contestants found it; () where it is not known.
    """

    name: str
    words: tuple[str, ...]
    groups: Groups = ()
    connections: tuple[str, ...] = ()
    solved_by_people: tuple[bool, ...] = ()

    def __post_init__(self) -> None:
        check_words(self.words, f"wall {self.name!r}")
        if self.groups:
            check_groups(self.groups, f"wall {self.name!r}")
            if sorted(map(same, self.words)) != sorted(same(word) for group in self.groups for word in group):
                raise InputError(f"wall {self.name!r} has groups of other words than its own", expected="the same 16")


@dataclass(frozen=True)
class Prediction:
    """What somebody predicted for a wall.

    Attributes:
        name: Of the wall.
        groups: Four of four; words that are not on the wall may be among them; () where only names are predicted.
        connections: The name of each right group's connection, in their order; () where only groups are.
    """

    name: str
    groups: Groups = ()
    connections: tuple[str, ...] = ()


def same(word: str) -> str:
    """Returns a clue as clues are compared: without case."""
    return word.lower()


def check_words(words: Sequence[str], where: str) -> None:
    """Refuses what are not 16 distinct words.

    Raises:
        InputError: Names the wall, and the word that is there twice.
    """
    if len(words) != WORDS:
        raise InputError(f"{where} has {len(words)} words", expected=f"{WORDS} distinct words")
    if not all(isinstance(word, str) and word.strip() for word in words):
        raise InputError(f"{where} has an empty word", expected=f"{WORDS} distinct words")
    seen: set[str] = set()
    for word in words:
        if same(word) in seen:
            raise InputError(f"{where} has {word!r} twice", expected=f"{WORDS} distinct words, without case")
        seen.add(same(word))


def check_groups(groups: Sequence[Sequence[str]], where: str) -> None:
    """Refuses what are not four groups of four words.

    Raises:
        InputError: Names the wall and the sizes.
    """
    sizes = [len(group) for group in groups]
    if sizes != [SIZE] * GROUPS:
        raise InputError(f"{where} has groups of {sizes} words", expected=f"{GROUPS} groups of {SIZE}")


def check_connections(connections: Sequence[str], where: str) -> None:
    """Refuses what are not four names.

    Raises:
        InputError: Names the wall and how many there are.
    """
    if len(connections) != GROUPS:
        raise InputError(f"{where} has {len(connections)} connections", expected=f"{GROUPS}, one a group")


class _Open(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True, strict=True)


class _Human(_Open):
    grouping: int | None = None


class _Group(_Open):
    gt_words: list[str]
    gt_connection: str = ""
    human_performance: _Human | None = None


class _Wall(_Open):
    wall_id: str | int
    words: list[str]
    groups: dict[str, _Group] = Field(default_factory=dict)


class _Walls(_Open):
    dataset: list[_Wall]


class _Predicted(_Open):
    wall_id: str | int
    predicted_groups: list[list[str]] = []
    predicted_connections: list[str] = []


_PREDICTIONS = TypeAdapter(list[_Predicted])


def read_walls(path: str | Path) -> list[Wall]:
    """Reads walls from the published JSON: an object with "dataset", or its list alone.

    A wall has "wall_id", "words" and "groups", whose entries have "gt_words", "gt_connection" and
    "human_performance"; other fields are left alone.

    Raises:
        InputError: If the file is no such JSON, holds no wall, a wall twice, or one that is not 16 distinct words.
    """
    path = Path(path)
    data = _json(path)
    found = _validated(_Walls.model_validate, {"dataset": data} if isinstance(data, list) else data, path)
    if not found.dataset:
        raise InputError(f"{path} holds no wall", expected='an object with "dataset"')
    walls = []
    for one in found.dataset:
        groups = [one.groups[key] for key in sorted(one.groups, key=_number)]
        people = [group.human_performance.grouping for group in groups if group.human_performance]
        try:
            wall = Wall(
                str(one.wall_id),
                tuple(one.words),
                tuple(tuple(group.gt_words) for group in groups),
                tuple(group.gt_connection for group in groups),
                tuple(bool(said) for said in people if said is not None),
            )
        except InputError as error:
            raise InputError(f"{path}: {error.what}", expected=error.expected) from error
        walls.append(wall)
    _refuse_twice([wall.name for wall in walls], path)
    return walls


def read_predictions(path: str | Path) -> list[Prediction]:
    """Reads predictions from the published form.

    It is a list of objects with "wall_id", and "predicted_groups" (task 1), "predicted_connections" (task 2), or both.

    Raises:
        InputError: If the file is no such JSON, or a wall has neither four groups of four words nor four connections.
    """
    path = Path(path)
    found = [
        Prediction(str(one.wall_id), tuple(tuple(g) for g in one.predicted_groups), tuple(one.predicted_connections))
        for one in _validated(_PREDICTIONS.validate_python, _json(path), path)
    ]
    for one in found:
        if one.groups or not one.connections:
            check_groups(one.groups, f"{path}: wall {one.name!r}")
        if one.connections:
            check_connections(one.connections, f"{path}: wall {one.name!r}")
    _refuse_twice([one.name for one in found], path)
    return found


def predictions_json(found: Sequence[Prediction]) -> str:
    """Returns predictions in the published form."""
    rows = [{"wall_id": one.name, "predicted_groups": [list(g) for g in one.groups]} for one in found]
    return json.dumps(rows, ensure_ascii=False, indent=1) + "\n"


def _json(path: Path) -> Any:
    try:
        return parse_json(text_of(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", expected="a JSON file") from error
    except ValueError as error:
        raise InputError(f"{path} is no JSON: {str(error).splitlines()[0]}", expected="a JSON file") from error


def _validated(check: Any, data: Any, path: Path) -> Any:
    try:
        return check(data)
    except ValidationError as error:
        place, said = first_fault(error)
        raise InputError(
            f"{path}: {place + ': ' if place else ''}{said}", expected="the published form of walls"
        ) from error


def _number(key: str) -> tuple[int, str]:
    digits = key.rpartition("_")[2]
    return (int(digits), "") if digits.isascii() and digits.isdigit() and len(digits) < 9 else (0, key)


def _refuse_twice(names: Sequence[str], path: Path) -> None:
    twice = next((name for name in names if names.count(name) > 1), None) if len(set(names)) < len(names) else None
    if twice is not None:
        raise InputError(f"{path} has wall {twice!r} twice", expected="each wall once")

"""Which query heads of which layers something holds for: a TOML file that tools write and transforms read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from neurokit.atomic import write_text
from neurokit.errors import InputError
from neurokit.plain import first_fault, toml_of

FORMAT = "neurokit-heads-1"
MOST_LAYERS = 4096  # of a range that is written out


@dataclass(frozen=True, order=True)
class Scope:
    """Query heads of some layers.

    Attributes:
        layers: Numbers of layers, from 0, rising.
        heads: Numbers of query heads, from 0, rising; None for all.
    """

    layers: tuple[int, ...]
    heads: tuple[int, ...] | None = None


@dataclass(frozen=True)
class HeadList:
    """What a file of heads says.

    Attributes:
        scopes: Which heads of which layers.
        method: What chose them ("retrieval", "zerotuning", "act"), or "".
        model: Name of the model that they are of, or "".
        settings: Settings that were chosen with them, such as {"gamma": 1.5}.
        layers: Layers of the model that they are of, or None where it is not said.
        query_heads: Query heads of a layer of that model, or None.
    """

    scopes: tuple[Scope, ...]
    method: str = ""
    model: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    layers: int | None = None
    query_heads: int | None = None

    def by_layer(self, layers: int, heads: int, where: str = "the list of heads") -> dict[int, tuple[int, ...]]:
        """Returns the query heads of every layer that is named.

        Args:
            layers: Layers of the model.
            heads: Query heads of a layer.
            where: What to call the list in messages.

        Raises:
            InputError: If a layer or head does not exist, or the list is of a model of other sizes.
        """
        for said, has, noun in ((self.layers, layers, "layers"), (self.query_heads, heads, "query heads a layer")):
            if said not in (None, has):
                raise InputError(f"{where} is of a model of {said} {noun}", expected=f"{has} {noun}")
        chosen: dict[int, set[int]] = {}
        for scope in self.scopes:
            for at in scope.layers:
                if not 0 <= at < layers:
                    raise InputError(f"{where} names layer {at}", expected=f"0 to {layers - 1}")
                for head in range(heads) if scope.heads is None else scope.heads:
                    if not 0 <= head < heads:
                        raise InputError(
                            f"{where} names head {head} of layer {at}", expected=f"query heads 0 to {heads - 1}"
                        )
                    chosen.setdefault(at, set()).add(head)
        return {at: tuple(sorted(found)) for at, found in sorted(chosen.items())}


class _ScopeTable(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    layers: str | int | list[int]
    heads: str | int | list[int] | None = None


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
    format: str = FORMAT
    method: str = ""
    model: str = ""
    layers: int | None = None
    query_heads: int | None = None
    settings: dict[str, Any] = {}
    scope: list[_ScopeTable]


def read_heads(path: str | Path) -> HeadList:
    """Reads a file of heads.

    Its form is `[[scope]]` tables with `layers` (a number, a list, or text such as "1-2" and "0+3") and `heads` (the
    same; left out for all). Beside them stand `format`, `method`, `model`, the model's sizes `layers` and
    `query_heads`, and a table `[settings]`, all optional.

    Raises:
        InputError: If it cannot be read, is no TOML, or says something else.
    """
    path = Path(path)
    try:
        data = _File.model_validate(toml_of(path))
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}", expected="a file of heads") from error
    except ValidationError as error:
        place, said = first_fault(error)
        raise InputError(f"{path}: {place or 'file'}: {said}", expected='[[scope]] with layers = "1-2"') from error
    except ValueError as error:
        raise InputError(f"{path} is no TOML: {str(error).splitlines()[0]}", expected="a file of heads") from error
    if data.format != FORMAT:
        raise InputError(f"{path} is of format {data.format!r}", expected=FORMAT)
    if not data.scope:
        raise InputError(f"{path} names no heads", expected='[[scope]] with layers = "1-2", heads = [0, 3]')
    scopes = [
        Scope(parse_numbers(table.layers, f"{path}: layers"), _heads(table.heads, f"{path}: heads"))
        for table in data.scope
    ]
    return HeadList(tuple(scopes), data.method, data.model, data.settings, data.layers, data.query_heads)


def write_heads(heads: HeadList, path: str | Path, comment: str = "") -> None:
    """Writes a file of heads.

    Args:
        heads: What it says.
        path: The file; one that is there is replaced.
        comment: Lines that stand in front, without "#".
    """
    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    lines.append(f'format = "{FORMAT}"')
    said = {name: getattr(heads, name) for name in ("method", "model", "layers", "query_heads")}
    lines += [f"{key} = {_toml(value)}" for key, value in said.items() if value]
    if heads.settings:
        lines += ["", "[settings]", *(f"{key} = {_toml(value)}" for key, value in sorted(heads.settings.items()))]
    for scope in heads.scopes:
        lines += ["", "[[scope]]", f"layers = {_toml(spell_numbers(scope.layers))}"]
        if scope.heads is not None:
            lines.append(f"heads = {_toml(list(scope.heads))}")
    write_text(Path(path), "\n".join(lines) + "\n")


def scopes_of(by_layer: Mapping[int, Iterable[int]]) -> tuple[Scope, ...]:
    """Returns heads by layer as scopes; neighbouring layers with the same heads share one."""
    grouped: dict[tuple[int, ...], list[int]] = {}
    for at in sorted(by_layer):
        heads = tuple(sorted(set(by_layer[at])))
        if heads:
            grouped.setdefault(heads, []).append(at)
    return tuple(sorted(Scope(tuple(layers), heads) for heads, layers in grouped.items()))


def parse_numbers(given: str | int | Sequence[int], where: str) -> tuple[int, ...]:
    """Reads numbers: 3, [0, 3], "1-2", "0+3-5"; they are returned once each, rising.

    Raises:
        InputError: If it says none, or something else.
    """
    wrong = InputError(f"{where} is {given!r}", expected='numbers from 0: 3, [0, 3], "1-2" or "0+3-5"')
    if isinstance(given, bool):
        raise wrong
    if isinstance(given, int):
        given = [given]
    if isinstance(given, str):
        found: list[int] = []
        for part in given.split("+"):
            first, dash, last = part.strip().partition("-")
            ends = [first, last] if dash else [first, first]
            if not all(end.isascii() and end.isdigit() and len(end) <= 9 for end in ends):
                raise wrong
            low, high = int(ends[0]), int(ends[1])
            if high < low or high - low >= MOST_LAYERS:
                raise wrong
            found += range(low, high + 1)
        given = found
    if not given or any(isinstance(number, bool) or not isinstance(number, int) or number < 0 for number in given):
        raise wrong
    return tuple(sorted(set(given)))


def spell_numbers(numbers: Sequence[int]) -> str:
    """Returns rising numbers as text: "0+3-5"."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return "+".join(str(low) if low == high else f"{low}-{high}" for low, high in runs)


def _heads(given: str | int | list[int] | None, where: str) -> tuple[int, ...] | None:
    return None if given is None or given == "all" else parse_numbers(given, where)


def _toml(value: Any) -> str:
    # Strings, numbers, booleans and lists of them are written alike in JSON and TOML.
    return json.dumps(value, ensure_ascii=False)

"""What a transform is: from one model specification to another, with settings, checks and notes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar

from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.registry import Registry
from neurokit.spec import AppliedTransform, ModelSpec


@dataclass(frozen=True)
class Option:
    """One setting of a transform.

    Attributes:
        default: Value where none is given; its type is that of the setting (an int is taken for a float).
        meaning: One line: what it is, with unit and range.
    """

    default: Any
    meaning: str


@dataclass(frozen=True)
class TransformInfo:
    """What a listing says of a transform.

    Attributes:
        name: Name on the command line.
        summary: One line.
        source: Paper or project that the method is from.
        options: Settings by name.
    """

    name: str
    summary: str
    source: str = ""
    options: Mapping[str, Option] = field(default_factory=dict)


@dataclass(frozen=True)
class Transformed:
    """What a transform returns.

    Attributes:
        spec: The new specification.
        notes: What was approximated or found out, one line each.
    """

    spec: ModelSpec
    notes: tuple[str, ...] = ()


class Transform(Protocol):
    """A change of a model that is made before capture. `check` lists every obstacle before `apply` does any work."""

    info: TransformInfo

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns every reason why `spec` cannot be transformed."""
        ...

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the new specification."""
        ...


_T = TypeVar("_T", bound=Transform)

# A transform by name, by `NAME:KEY=VALUE,...` as on the command line, or by name and settings.
Step = str | tuple[str, Mapping[str, Any]]

TRANSFORMS: Registry[Transform] = Registry(
    "transform", "neurokit.transforms", "neurokit.transforms", command="neurokit list transforms"
)


def register_transform(cls: type[_T]) -> type[_T]:
    """Registers a transform class under `cls.info.name`; it is instantiated without arguments."""
    TRANSFORMS.add(cls.info.name, cls())
    return cls


def transform(spec: ModelSpec, steps: Sequence[Step]) -> ModelSpec:
    """Applies transforms in the given order; what was applied is recorded in the specification.

    Args:
        spec: The model.
        steps: Names, `NAME:KEY=VALUE,...`, or pairs of a name and settings.

    Raises:
        UnknownNameError: If there is no such transform.
        InputError: If a setting is unknown or of another type.
        UnsupportedError: If the model cannot be transformed so; lists every reason.
    """
    wanted = [resolve(step) for step in steps]  # a wrong name or setting is told before any work
    for chosen, settings in wanted:
        reasons = chosen.check(spec, settings)
        if reasons:
            raise UnsupportedError(f"transform {chosen.info.name!r} cannot take model {spec.name!r}", reasons)
        done = chosen.apply(spec, settings)
        applied = AppliedTransform(chosen.info.name, dict(settings), done.notes)
        spec = replace(done.spec, transforms=(*spec.transforms, applied))
    return spec


def resolve(step: Step) -> tuple[Transform, dict[str, Any]]:
    """Returns a transform and its settings, those that were not given included.

    Raises:
        UnknownNameError: If there is no such transform.
        InputError: If a setting is unknown or of another type.
    """
    name, given = parse(step) if isinstance(step, str) else (step[0], dict(step[1]))
    chosen = TRANSFORMS.get(name)
    options = chosen.info.options
    settings = {key: option.default for key, option in options.items()}
    for key, value in given.items():
        if key not in options:
            raise InputError(f"transform {name!r} has no setting {key!r}", expected=", ".join(options) or "no settings")
        settings[key] = typed(name, key, value, options[key])
    return chosen, settings


def parse(text: str) -> tuple[str, dict[str, Any]]:
    """Reads `NAME` or `NAME:KEY=VALUE,KEY=VALUE`; a value is JSON where it is valid JSON, and text otherwise.

    A value may be a list of numbers and ranges, "layers=1-2,heads=0,3": an entry that is one goes on with the last.

    Raises:
        InputError: If an entry has no "=", or a key comes twice.
    """
    name, colon, rest = text.partition(":")
    settings: dict[str, Any] = {}
    for entry in _entries(rest) if colon else ():
        key, equals, value = entry.partition("=")
        key = key.strip().replace("-", "_")
        if not equals or not key or key in settings:
            raise InputError(f"transform {text!r}", expected="NAME:KEY=VALUE,..., each key once")
        settings[key] = json_or_text(value)
    return name.strip(), settings


def _entries(text: str) -> list[str]:
    """Splits settings at commas, those inside of a list of numbers left out."""
    entries: list[str] = []
    for entry in text.split(","):
        if entries and re.fullmatch(r"\s*\d+(-\d+)?\s*", entry) and re.search(r"=\s*[\d,\s-]*\d\s*$", entries[-1]):
            entries[-1] += f",{entry}"
        else:
            entries.append(entry)
    return entries


def json_or_text(value: str) -> Any:
    """Returns a setting's value: JSON where it is valid JSON, and text otherwise."""
    try:
        return json.loads(value)
    except (ValueError, RecursionError):  # brackets too deep to be anybody's setting are text as well
        return value


def typed(name: str, key: str, value: Any, option: Option) -> Any:
    """Returns a setting in the type of its default.

    Raises:
        InputError: If it is of another type.
    """
    kind = type(option.default)
    if option.default is None or (type(value) is kind):
        return value
    if kind is float and type(value) is int:
        return float(value)
    if kind is str and type(value) is int:  # a text that happens to be a number
        return str(value)
    raise InputError(f"transform {name!r}: {key} is {value!r}", expected=f"{kind.__name__}: {option.meaning}")

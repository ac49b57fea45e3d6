"""What all reports share: a JSON form that is marked with the report's kind and the schema version."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar, Self

from pydantic import TypeAdapter, ValidationError

from neurokit.errors import InputError
from neurokit.plain import first_fault

SCHEMA_VERSION = 1


class Report:
    """Gives a report dataclass its JSON form, marked with the report's kind and the schema version."""

    KIND: ClassVar[str]

    def to_json(self) -> dict[str, Any]:
        """Returns the report as a JSON object; a number that is not finite becomes "inf", "-inf" or "nan"."""
        head = {"report": self.KIND, "schema_version": SCHEMA_VERSION}
        return {**head, **_plain(asdict(self)), **_plain(self._derived())}  # type: ignore[call-overload]

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """Reads what `to_json` wrote.

        Raises:
            InputError: If `data` is another kind of report, of another schema version, or incomplete.
        """
        if data.get("report") != cls.KIND:
            raise InputError(f"this is a {data.get('report')!r} report", expected=f"a {cls.KIND!r} report")
        if data.get("schema_version") != SCHEMA_VERSION:
            raise InputError(
                f"the {cls.KIND} report has schema {data.get('schema_version')!r}",
                expected=f"schema {SCHEMA_VERSION}",
                fix="make the report again with this version of neurokit",
            )
        fields = {name: data[name] for name in cls.__dataclass_fields__ if name in data}  # type: ignore[attr-defined]
        try:
            return TypeAdapter(cls).validate_python(fields)
        except ValidationError as error:
            place, said = first_fault(error)
            raise InputError(f"the {cls.KIND} report is invalid at {place or 'the top'}: {said}") from error

    def _derived(self) -> dict[str, Any]:
        """Returns what readers of the JSON want although it follows from the fields."""
        return {}


def _plain(value: Any) -> Any:
    """Returns `value` with tuples as lists and with numbers that JSON cannot hold as text."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)
    return value

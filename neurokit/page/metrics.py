"""Metrics of tasks on the page: their columns, how they are shown, and which way is better."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError
from neurokit.quantity import Quantity

if TYPE_CHECKING:
    from neurokit.page.row import Row


@dataclass(frozen=True)
class Metric:
    """The headline metric of a task.

    Attributes:
        name: Its name, which is also the key of its figure.
        share: Whether it is a share of one, shown in percent.
        less_is_better: Whether a smaller value is better.
    """

    name: str
    share: bool = True
    less_is_better: bool = False

    @property
    def title(self) -> tuple[str, str]:
        """Title and unit of an axis."""
        return self.name, "%" if self.share else ""

    def text(self, quantity: Quantity) -> str:
        """Returns a value with its interval, where it has one."""
        scale, unit, digits = (100.0, "%", ".1f") if self.share else (1.0, "", ".4g")
        value, low, high = (f"{each * scale:{digits}}" for each in (quantity.value, quantity.low, quantity.high))
        return f"{value}{unit}" + (f" [{low}, {high}]" if quantity.low < quantity.high or self == ACCURACY else "")


ACCURACY = Metric("accuracy")


def metrics_of(rows: Sequence[Row]) -> dict[str, Metric]:
    """Returns every metric of some rows by its key, accuracy first."""
    found = {ACCURACY.name: ACCURACY} if any(ACCURACY.name in row.figures for row in rows) else {}
    for row in rows:
        if row.metric is not None:
            found.setdefault(row.metric.name, row.metric)
    return found


def of_scores(said: Mapping[str, Any] | None) -> tuple[Metric, Quantity] | None:
    """Reads the headline metric of what a benchmark scored.

    Raises:
        InputError: If it cannot be read.
    """
    if not said:
        return None
    try:
        metric = Metric(str(said["headline"]), bool(said["share"]), bool(said["less_is_better"]))
        return metric, _sourced(said["metrics"][metric.name], str(said["data"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise InputError(f"scores of a task cannot be read: {error!r}", expected="what neurokit bench wrote") from error


def of_artifact(said: Any) -> tuple[Metric, Quantity] | None:
    """Reads the headline metric that export measured of an artifact; None if it measured none."""
    if not isinstance(said, Mapping) or "metrics" not in said:
        return None
    return of_scores({"share": True, "less_is_better": False, **said, "metrics": said["metrics"]["after"]})


def _sourced(plain: Mapping[str, Any], data: str) -> Quantity:
    found = Quantity(**plain)
    source = f"{found.source}, {data}" if data and data not in found.source else found.source
    return Quantity(found.value, found.low, found.high, found.unit, found.kind, source)

"""Budgets: what a deployed form may cost, `p99<10ms,size<5MB,loss<1`."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.reports.deploy import DeployRow, Metric

_SCALES = {
    **{"": 1.0, "%": 1.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9},
    **{"B": 1.0, "kB": 1e3, "MB": 1e6, "GB": 1e9, "KiB": 2.0**10, "MiB": 2.0**20, "GiB": 2.0**30},
    **{"J": 1.0, "mJ": 1e-3, "uJ": 1e-6, "µJ": 1e-6, "nJ": 1e-9},
}
# What a term is of: the unit of its figure. The metric of the task is a term too, by its own name or as `metric`.
TERMS = {"p50": "s", "p99": "s", "latency": "s", "size": "B", "memory": "B", "energy": "J", "loss": ""}
_TERM = re.compile(r"\s*([A-Za-z_][\w]*)\s*(<=|>=|<|>)\s*([0-9.]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ%]*)\s*")
_EXAMPLE = '--budget "p99<10ms,size<5MB,loss<1"'


@dataclass(frozen=True)
class Term:
    """One limit.

    Attributes:
        figure: Name of the figure, "loss", or "metric".
        upper: Whether the figure must stay below.
        limit: The limit, in SI units; of a share in percent.
        text: As the user wrote it.
    """

    figure: str
    upper: bool
    limit: float
    text: str

    def value(self, row: DeployRow, metric: Metric | None, best: float | None) -> float | None:
        """Returns a row's figure, or None where it has none."""
        if self.figure in ("loss", "metric"):
            found = row.figures.get(metric.name) if metric is not None else None
            if found is None or metric is None:
                return None
            if self.figure == "loss":
                return None if best is None else metric.loss(found.value, best)
            return found.value * 100 if metric.share else found.value
        quantity = row.figures.get(self.figure)
        return None if quantity is None else quantity.value

    def holds(self, row: DeployRow, metric: Metric | None, best: float | None) -> bool:
        """Returns whether a row keeps the limit; a figure that nobody measured keeps none."""
        value = self.value(row, metric, best)
        if value is None:
            return False
        within = 1e-9 * max(abs(self.limit), 1e-12)  # what a decimal number is off its binary one
        strict = "=" not in self.text
        if self.upper:
            return value < self.limit if strict else value <= self.limit + within
        return value > self.limit if strict else value >= self.limit - within


def parse_budget(text: str) -> tuple[Term, ...]:
    """Reads a budget.

    Raises:
        InputError: If a term is unknown, has no number, another unit, or comes twice.
    """
    terms = []
    for part in text.split(","):
        if not part.strip():
            raise InputError(f"--budget is {text!r}", expected="terms with commas between", fix=_EXAMPLE)
        terms.append(_term(part, text))
    names = [(term.figure, term.upper) for term in terms]
    twice = next((term.text for term, name in zip(terms, names, strict=True) if names.count(name) > 1), None)
    if twice:
        raise InputError(f"--budget has {twice!r} and another limit of the same figure", expected="each once")
    return tuple(terms)


def _term(part: str, text: str) -> Term:
    match = _TERM.fullmatch(part)
    if match is None:
        raise InputError(
            f"--budget has the term {part.strip()!r}", expected="NAME<NUMBER with a unit", fix=f"for example {_EXAMPLE}"
        )
    name, sign, number, unit = match.groups()
    wanted = TERMS.get(name, "")
    known = unit in _SCALES and (unit == "%" or unit.endswith(wanted or "\0") if unit else True)
    try:
        limit = float(number)
    except ValueError:
        known, limit = False, 0.0
    if not known or (wanted and not unit) or (not wanted and unit not in ("", "%")) or (wanted and unit == "%"):
        expected = {"s": "a time such as 10ms", "B": "a size such as 5MB", "J": "an energy such as 3mJ"}
        raise InputError(
            f"--budget has the term {part.strip()!r}",
            expected=expected.get(wanted, "a plain number or percent") + "; terms are " + ", ".join(TERMS),
            fix=f"for example {_EXAMPLE}",
        )
    figure = {"latency": "p50"}.get(name, name) if name in TERMS else "metric"
    if figure == "metric":
        return Term(name, sign.startswith("<"), limit, part.strip())
    return Term(figure, sign.startswith("<"), limit * _SCALES[unit], part.strip())


def resolve(terms: Sequence[Term], metric: Metric | None) -> tuple[Term, ...]:
    """Returns the terms with the task's metric found by its name, once the task is known.

    Raises:
        InputError: If a term is neither a figure nor the metric.
    """
    found = []
    for term in terms:
        if term.figure in TERMS:
            if term.figure == "loss" and metric is None:
                raise InputError(
                    "--budget limits the loss, and the data have no labels",
                    expected="labelled data: class folders, a list with labels, or an .npz file with x and y",
                )
            found.append(term)
        elif metric is not None and term.figure in (metric.name, "metric"):
            share = metric.share and term.limit <= 1 and "%" not in term.text  # 0.9 is 90 %
            found.append(Term("metric", term.upper, term.limit * (100 if share else 1), term.text))
        else:
            name = f", {metric.name}" if metric is not None else ""
            raise InputError(
                f"--budget has the unknown term {term.text!r}",
                expected="of " + ", ".join(TERMS) + name,
                fix=f"for example {_EXAMPLE}",
            )
    return tuple(found)


def nearest(term: Term, rows: Sequence[DeployRow], metric: Metric | None, best: float | None) -> str:
    """Returns how near any row comes to a limit, in words."""
    values = [(value, row) for row in rows if (value := term.value(row, metric, best)) is not None]
    if not values:
        more = " (99th percentiles take 1000 samples: measure longer with --seconds)" if term.figure == "p99" else ""
        return f"{term.text}: measured for no row{more}"
    value, row = (min if term.upper else max)(values, key=lambda entry: entry[0])
    unit = {"p50": "s", "p99": "s", "size": "B", "memory": "B", "energy": "J"}.get(term.figure)
    shown = Quantity.exact(value, unit, "measured", "").text() if unit else f"{value:.4g}"
    return f"{term.text}: the nearest is {row.name} with {shown}"

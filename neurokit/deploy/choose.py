"""Which row to use: within the budget, as right as the best, then the fastest; and the sentences that say so."""

from __future__ import annotations

from collections.abc import Sequence

from neurokit.deploy.budget import Term, nearest
from neurokit.quantity import Quantity
from neurokit.reports.deploy import DeployRow, Metric

TOLERATED = 1.0  # points of the metric that speed is worth where the budget does not say
RULE = (
    "Of the verified forms on the first device that keep the budget, those within {loss:g} point of the best score "
    "are as right; of these the fastest (by the median, ties within its interval) is recommended, then the smallest."
)


def best_score(rows: Sequence[DeployRow], metric: Metric | None, source: Quantity | None) -> float | None:
    """Returns the score that losses are counted from: the model's own, else the best of the rows."""
    if metric is None:
        return None
    if source is not None:
        return source.value
    found = [row.figures[metric.name].value for row in rows if metric.name in row.figures]
    return (min if metric.less_is_better else max)(found) if found else None


def candidates(rows: Sequence[DeployRow], device: str) -> list[int]:
    """Returns the measured rows of a device; INVALID ones count where there are no others."""
    own = [at for at, row in enumerate(rows) if row.device == device and not row.simulated]
    return [at for at in own if rows[at].status == "ok"] or [at for at in own if rows[at].status == "invalid"]


def choose(
    rows: Sequence[DeployRow], device: str, terms: Sequence[Term], metric: Metric | None, best: float | None
) -> int | None:
    """Returns the index of the row to use on a device, or None where no row keeps the budget."""
    kept = [at for at in candidates(rows, device) if all(term.holds(rows[at], metric, best) for term in terms)]
    if not kept:
        return None
    if metric is not None and not any(term.figure in ("loss", "metric") for term in terms):
        scored = [at for at in kept if metric.name in rows[at].figures]
        values = [rows[at].figures[metric.name].value for at in scored]
        if values:
            top = (min if metric.less_is_better else max)(values)
            kept = [at for at in scored if metric.loss(rows[at].figures[metric.name].value, top) <= TOLERATED]
    fastest = min((rows[at].figures["p50"] for at in kept if "p50" in rows[at].figures), key=lambda q: q.value)
    level = [at for at in kept if rows[at].figures["p50"].low <= fastest.high]
    return min(level, key=lambda at: _order(rows[at], metric))


def _order(row: DeployRow, metric: Metric | None) -> tuple[float, float, float]:
    """Returns what decides between rows that are as fast: size, then score, then the median."""
    size = row.figures["size"].value if "size" in row.figures else float("inf")
    score = row.figures[metric.name].value if metric is not None and metric.name in row.figures else 0.0
    signed = score if metric is not None and metric.less_is_better else -score
    return size, signed, row.figures["p50"].value


def answer(
    rows: Sequence[DeployRow],
    devices: Sequence[str],
    terms: Sequence[Term],
    metric: Metric | None,
    best: float | None,
) -> tuple[int | None, tuple[str, ...]]:
    """Returns the row to use on the first device, and what to say: the choice, what it costs to choose otherwise."""
    chosen = [choose(rows, device, terms, metric, best) for device in devices]
    said: list[str] = []
    for device, at in zip(devices, chosen, strict=True):
        if at is not None:
            said += [_headline(rows[at], metric), *_otherwise(rows, at, metric)]
            if rows[at].status == "invalid":
                said.append(f"its latency is INVALID and carries no claim: {rows[at].reason}")
            continue
        able = [rows[i] for i in candidates(rows, device)]
        if not able:
            said.append(f"nothing could be measured on {device}")
            continue
        unmet = [t for t in terms if not any(t.holds(row, metric, best) for row in able)]
        if unmet:
            said += [f"no form on {device} keeps {nearest(term, able, metric, best)}" for term in unmet]
        else:
            every = ", ".join(term.text for term in terms)
            said.append(f"no form on {device} keeps all of {every} at once; each is kept by some")
    said += _chips(rows)
    return chosen[0] if chosen else None, tuple(said)


def worth_training(
    rows: Sequence[DeployRow], metric: Metric | None, best: float | None, trained: Sequence[str]
) -> list[str]:
    """Returns what to say of forms that rounding costs more than is tolerated, and that can be trained with it.

    Args:
        rows: All rows.
        metric: The metric, or None without labels.
        best: The score that losses are counted from.
        trained: Forms that `--fine-tune` takes.
    """
    said = {}
    for row in rows:
        if metric is None or best is None or row.form not in trained or metric.name not in row.figures:
            continue
        lost = metric.loss(row.figures[metric.name].value, best)
        if lost > TOLERATED:
            exact = " --numerics exact" if row.numerics == "exact" else ""
            unit = "points" if metric.share else metric.name
            options = f"--target {row.target}{exact} --fine-tune TRAINING_DATA"
            said[row.form] = f"{row.form} loses {lost:.2g} {unit} to rounding: export with {options} trains for it"
    return list(said.values())


def _headline(row: DeployRow, metric: Metric | None) -> str:
    score = row.figures.get(metric.name) if metric is not None else None
    parts = [_score(score, metric)] if score is not None and metric is not None else []
    parts += [f"{row.figures['p50'].value * 1e3:.3g} ms on {row.device}"] if "p50" in row.figures else []
    parts += [Quantity.exact(row.figures["size"].value, "B", "measured", "").text()] if "size" in row.figures else []
    return f"{row.form}: {', '.join(parts)}"


def _score(score: Quantity, metric: Metric) -> str:
    return f"{score.value * 100:.1f} %" if metric.share else f"{metric.name} {score.value:.4g}"


def _otherwise(rows: Sequence[DeployRow], at: int, metric: Metric | None) -> list[str]:
    """Returns how the row of the best score at the same place differs, where it is another."""
    row = rows[at]
    others = [rows[i] for i in candidates(rows, row.device) if i != at]
    if metric is None or metric.name not in row.figures:
        return []
    scored = [other for other in others if metric.name in other.figures and "p50" in other.figures]
    if not scored:
        return []
    own = row.figures[metric.name].value
    gains = [-metric.loss(each.figures[metric.name].value, own) for each in scored]
    at_best = max(range(len(scored)), key=lambda n: (gains[n], -scored[n].figures["p50"].value))
    other, points = scored[at_best], gains[at_best]
    unit = "points " if metric.share else ""
    better = f"{points:.2g} {unit}better" if points > 0 else f"{-points:.2g} {unit}worse" if points < 0 else "as right"
    return [f"{other.form} is {better} and {_times(other.figures['p50'].value / row.figures['p50'].value)}"]


def _times(ratio: float) -> str:
    if ratio >= 1.05:
        return f"{ratio:.2g} times slower"
    return f"{1 / ratio:.2g} times faster" if ratio <= 0.95 else "as fast"


def _chips(rows: Sequence[DeployRow]) -> list[str]:
    said = []
    for row in rows:
        if not row.simulated or "energy" not in row.figures:
            continue
        least = "at least " if row.status == "lower-bound" else ""
        time = f" and {row.figures['p50'].text()}" if "p50" in row.figures else ""
        supposed = "" if row.status != "invalid" else f" (if it fitted: {row.reason})"
        energy = row.figures["energy"].text()
        said.append(f"as a spiking network on {row.device} it would take {least}{energy}{time}{supposed}")
    return said

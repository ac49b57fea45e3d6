"""The measured rows that decide, and times between them; `benchmarks/attention_rows.py` writes them from a record."""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import resources
from typing import Any, Literal

Kind = Literal["blocks", "one query", "decode", "estimate"]
FILE = "measured.json"


@dataclass(frozen=True)
class Row:
    """One measurement; bfloat16, 32 heads on 8, width 128, causal.

    Attributes:
        kind: "blocks" of 128 x 128, "one query" a block, "decode" (one new token), or "estimate" (SALE's selection).
        length: Keys T.
        density: Share of the causal pairs, or of the keys of a step, that is attended to.
        ms: Milliseconds by path: "sdpa" (dense attention), "kernel" (the fastest launch parameters), "flex".
    """

    kind: Kind
    length: int
    density: float
    ms: Mapping[str, float]


def distilled(record: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what the dispatcher needs of a record: its GPU, and rows."""
    rows = [row for found in record["rows"] if (row := _row(found)) is not None]
    return {"gpu": record["gpu"], "torch": record["torch"], "rows": [asdict(row) for row in rows]}


def _row(found: Mapping[str, Any]) -> Row | None:
    part, length, ms = found["part"], int(found.get("length", 0)), {"sdpa": found.get("sdpa_ms")}
    if part == "sparse":
        times = {**ms, "kernel": found["ours_ms"], "flex": found["flex_ms"]}
        return Row("blocks", length, found["density"], _numbers(times))
    if part == "decode":
        ours = [value for name, value in found.items() if name.startswith("ours_ms") and isinstance(value, float)]
        return Row("decode", length, found["keys"] / length, _numbers({**ms, "kernel": min(ours)}))
    if part in ("one query a block", "estimate"):
        ours = [value for value in found["ours_ms"].values() if isinstance(value, float)]
        times = _numbers({**ms, "kernel": min(ours)})
        if part == "estimate":
            return Row("estimate", length, 1.0, times)
        # 16 blocks at most a query, of which a causal row holds T / 2 keys in the mean.
        return Row("one query", length, min(1.0, 32 * found["block"] / length), times)
    return None


def _numbers(times: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in times.items() if isinstance(value, int | float)}


@functools.cache
def rows() -> tuple[str, tuple[Row, ...]]:
    """Returns the GPU of the shipped rows, and the rows."""
    data = json.loads(resources.files(__package__).joinpath(FILE).read_text(encoding="utf-8"))
    return data["gpu"], tuple(Row(**row) for row in data["rows"])


def measured_lengths(kind: Kind) -> list[int]:
    """Returns the lengths that were measured, rising."""
    return sorted({row.length for row in rows()[1] if row.kind == kind})


def time_of(kind: Kind, path: str, length: int, density: float) -> float | None:
    """Returns the milliseconds of a path, from the rows around a shape.

    Between densities of one length, and above the largest, it is linear; below the smallest it is that one's, which it
    is at most. Between lengths it is linear in logarithms; outside of them it grows as between the two nearest.

    Args:
        kind: What is run.
        path: "sdpa", "kernel" or "flex".
        length: Keys.
        density: Share that is attended to.

    Returns:
        None where the path was not measured.
    """
    points = [(n, t) for n in measured_lengths(kind) if (t := _at_length(kind, path, n, density)) is not None]
    if len(points) < 2:
        return None
    above = next((at for at in range(1, len(points) - 1) if points[at][0] >= length), len(points) - 1)
    (n0, t0), (n1, t1) = points[above - 1], points[above]
    slope = math.log(t1 / t0) / math.log(n1 / n0)
    return t0 * (length / n0) ** slope


def _at_length(kind: Kind, path: str, length: int, density: float) -> float | None:
    found = sorted(
        (row.density, row.ms[path]) for row in rows()[1] if row.kind == kind and row.length == length and path in row.ms
    )
    if not found or path == "sdpa":
        return found[0][1] if found else None
    if density <= found[0][0]:
        return found[0][1]
    if len(found) == 1:
        return found[0][1] * density / found[0][0]
    (d0, t0), (d1, t1) = found[0], found[-1]
    return t0 + (t1 - t0) * (density - d0) / (d1 - d0)

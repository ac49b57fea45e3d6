"""The choice of a path for a shape, and the number of tokens from which selecting pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from neurokit.errors import InputError
from neurokit.kernels.attention_path.measured import Kind, measured_lengths, rows, time_of

Path = Literal["kernel", "flex", "dense"]


@dataclass(frozen=True)
class Choice:
    """What is fastest for a shape.

    Attributes:
        path: "kernel", "flex" (FlexAttention with the same index), or "dense": selecting does not pay.
        ms: Estimated milliseconds of the path, selection included, by the shipped rows.
        dense_ms: Those of dense attention.
        pays_from: Keys from which selecting pays at this density, or None if it does at no length that was measured.
        why: One line.
    """

    path: Path
    ms: float
    dense_ms: float
    pays_from: int | None
    why: str


def path_for(
    kind: Kind,
    length: int,
    density: float | None = None,
    *,
    keys: int | None = None,
    selection: Literal["given", "sale"] | Callable[[int], float] = "given",
) -> Choice:
    """Returns the fastest path for a shape, from the measured rows.

    Args:
        kind: "blocks" (blocks of queries share a list), "one query" (a list a query), or "decode" (one new token).
        length: Keys T.
        density: Share of the (causal) keys that is attended to, above 0 to 1.
        keys: In place of a density: keys a query, the same at every length.
        selection: What selecting costs: "given" for nothing, "sale" for the measured estimate of its codes, or a
            function from a length to milliseconds.

    Raises:
        InputError: If a number is out of range, or not exactly one of density and keys is given.
    """
    if length < 1 or (density is None) == (keys is None) or not (density or keys or 0) > 0:  # type: ignore[operator]
        raise InputError(
            f"{length} keys, density {density}, {keys} keys a query", expected="a length, and one of the others"
        )
    if density is not None and density > 1:
        raise InputError(f"density is {density}", expected="above 0, 1 at most")
    share = (lambda n: density) if density is not None else (lambda n: min(1.0, _share(kind, keys, n)))
    path, ms, dense = _fastest(kind, length, share(length), selection)
    shortest, longest = measured_lengths(kind)[0], measured_lengths(kind)[-1]
    lengths = [n for n in _lengths(shortest, longest) if _fastest(kind, n, share(n), selection)[0] != "dense"]
    pays = lengths[0] if lengths else None
    gpu = rows()[0]
    if path != "dense" and length < shortest:
        path, ms = "dense", dense
    if path == "dense":
        from_ = f"it pays from {pays:,} keys on" if pays else f"it pays at no length up to {longest:,}"
        eaten = "selecting eats the gain" if selection != "given" else "attending to fewer is no faster"
        known = f"nothing shorter than {shortest:,} keys was measured" if length < shortest else eaten
        return Choice(path, dense, dense, pays, f"{known}; {from_} ({gpu})")
    return Choice(path, ms, dense, pays, f"{dense / ms:.2f} times as fast as dense attention ({gpu})")


def _share(kind: Kind, keys: int | None, length: int) -> float:
    # A causal row holds half of the keys in the mean.
    return float(keys or 0) / length * (1 if kind == "decode" else 2)


def _lengths(shortest: int, longest: int) -> list[int]:
    found, n = [], shortest
    while n <= longest:
        found += [n, n + n // 2]
        n *= 2
    return [n for n in found if n <= longest]


def _fastest(
    kind: Kind, length: int, density: float, selection: Literal["given", "sale"] | Callable[[int], float]
) -> tuple[Path, float, float]:
    """Returns the fastest path, its milliseconds with selection, and those of dense attention."""
    dense = time_of(kind, "sdpa", length, 1.0)
    assert dense is not None
    if callable(selection):
        extra = float(selection(length))
    else:
        extra = 0.0 if selection == "given" else (time_of("estimate", "kernel", length, 1.0) or 0.0)
    best: tuple[Path, float] = ("dense", dense)
    names: tuple[Path, ...] = ("kernel", "flex")
    for name in names:
        ms = time_of(kind, name, length, density)
        if ms is not None and ms + extra < best[1]:
            best = (name, ms + extra)
    return (*best, dense)

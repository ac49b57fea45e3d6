"""Where a fault is registered under its name."""

from __future__ import annotations

from collections.abc import Callable

from tests.mutation.graph import Graph

FAULTS: dict[str, Callable[[Graph], None]] = {}
POWERS = (1e-1, 1e-2, 1e-3, 1e-4)


def fault(name: str) -> Callable[[Callable[[Graph], None]], Callable[[Graph], None]]:
    """Registers a fault."""

    def register(plant: Callable[[Graph], None]) -> Callable[[Graph], None]:
        FAULTS[name] = plant
        return plant

    return register


def each(name: str, sizes: tuple[float, ...], plant: Callable[[Graph, float], None]) -> None:
    for size in sizes:
        FAULTS[f"{name}, {size:g}"] = lambda g, size=size: plant(g, size)


def swap(n: int) -> list[int]:
    return [1, 0, *range(2, n)]

"""Where cores lie: positions of tiles on a mesh of chips, in order, along a Hilbert curve, or annealed."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.chips.limits import Topology

Positions = NDArray[np.int64]

STRATEGIES = ("in-order", "hilbert", "annealed")

# A swap costs time proportional to the number of tiles; beyond this many tiles stay in order.
MOST_TILES_ANNEALED = 512


def tile_positions(topology: Topology, chips: int, strategy: str) -> Positions:
    """Returns the (x, y) of every tile of `chips` chips, in the order in which tiles are filled, `[tiles, 2]`.

    Chips stand in a near-square grid and are filled along its rows, to and fro. Within a chip tiles are filled in
    their numbering ("in-order"), or along a Hilbert curve, which keeps tiles that follow each other close together
    (O. Jin et al., Mapping Very Large Scale Spiking Neuron Network to Neuromorphic Hardware, ASPLOS 2023).
    """
    plain = strategy == "in-order" or topology.positions
    inside = _numbered(topology) if plain else hilbert(topology.width, topology.height)
    # To and fro, so that the last tile of one chip is next to the first of the following one.
    columns = math.isqrt(max(chips - 1, 0)) + 1
    offsets = []
    for chip in range(chips):
        row, column = divmod(chip, columns)
        offsets.append((column if row % 2 == 0 else columns - 1 - column, row))
    size = np.array([topology.width, topology.height])
    return np.concatenate([inside + np.array(offset) * size for offset in offsets])


def _numbered(topology: Topology) -> Positions:
    if topology.positions:
        return np.array(topology.positions, np.int64)
    tiles = np.arange(topology.width * topology.height)
    if topology.order == "column":
        return np.stack([tiles // topology.height, tiles % topology.height], axis=1)
    return np.stack([tiles % topology.width, tiles // topology.width], axis=1)


def hilbert(width: int, height: int) -> Positions:
    """Returns a rectangle's points as the Hilbert curve on the smallest square around it meets them, `[n, 2]`."""
    side = 1 << (max(width, height) - 1).bit_length()
    points = []
    for distance in range(side * side):
        x = y = 0
        rest, scale = distance, 1
        while scale < side:
            right, up = 1 & (rest // 2), 1 & (rest ^ (rest // 2))
            if not up:
                if right:
                    x, y = scale - 1 - x, scale - 1 - y
                x, y = y, x
            x, y = x + scale * right, y + scale * up
            rest, scale = rest // 4, scale * 2
        if x < width and y < height:
            points.append((x, y))
    return np.array(points, np.int64)


def anneal(positions: Positions, flow: NDArray[np.float64], seed: int = 0, sweeps: int = 100) -> Positions:
    """Returns positions with less hop-weighted traffic, by simulated annealing over swaps of two tiles.

    The method of Kirkpatrick, Gelatt and Vecchi, Optimization by Simulated Annealing, Science 220, 1983, with the
    sum over pairs of packets times mesh distance as its energy. The best arrangement met is returned, so the result
    is never worse than the start.

    Args:
        positions: Start, `[tiles, 2]`.
        flow: Packets from tile to tile, `[tiles, tiles]`.
        seed: Seed of the moves.
        sweeps: Moves for each tile.
    """
    tiles = len(positions)
    both = flow + flow.T  # a hop costs the same in both directions, so pairs are enough
    np.fill_diagonal(both, 0.0)
    if tiles < 3 or tiles > MOST_TILES_ANNEALED or not both.any():
        return positions
    rng = np.random.default_rng(seed)
    apart = np.abs(positions[:, None] - positions[None]).sum(axis=2)
    now = np.arange(tiles)  # at which of the positions each tile is
    cost = best_cost = hop_cost(positions, both)
    best = now.copy()
    moves = sweeps * tiles
    # At the start a swap that adds a third of a tile's mean cost is taken one time in e; at the end a thousandth of it.
    heat = 0.3 * cost / tiles
    cooling = 1e-3 ** (1.0 / moves)
    for a, b, luck in zip(
        rng.integers(tiles, size=moves), rng.integers(tiles, size=moves), rng.random(moves), strict=True
    ):
        change = _swap_gain(apart, now, both, int(a), int(b))
        if change < 0 or luck < math.exp(-change / max(heat, 1e-300)):
            now[[a, b]] = now[[b, a]]
            cost += change
            if cost < best_cost:
                best_cost, best = cost, now.copy()
        heat *= cooling
    return positions[best]


def hop_cost(positions: Positions, flow: NDArray[np.float64]) -> float:
    """Returns packets times hops, summed over pairs of tiles."""
    distance = np.abs(positions[:, None] - positions[None]).sum(axis=2)
    return float((distance * flow).sum() / 2)


def _swap_gain(apart: NDArray[np.int64], now: NDArray[np.int64], both: NDArray[np.float64], a: int, b: int) -> float:
    """Returns what a swap of two tiles adds to the cost.

    Args:
        apart: Hops between positions, `[tiles, tiles]`.
        now: Position of every tile.
        both: Packets between tiles in both directions, `[tiles, tiles]`.
        a: One tile.
        b: The other.
    """
    if a == b:
        return 0.0
    gain = (both[a] - both[b]) * (apart[now[b]] - apart[now[a]])[now]
    gain[[a, b]] = 0.0  # the distance between the two does not change
    return float(gain.sum())

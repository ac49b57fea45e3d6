"""How alike two scanpaths are, and how well one predicts where people look; numpy alone."""

from __future__ import annotations

import numpy as np

from neurokit.errors import InputError


def cells(path: np.ndarray, size: tuple[float, float], grid: tuple[int, int]) -> np.ndarray:
    """Returns column and row of the cell of every fixation, `[L, 2]`; fixations off the display count to its edge.

    Args:
        path: Positions in the first two columns, `[L, 2 or 3]`.
        size: Width and height of the display, in the unit of the positions.
        grid: Columns and rows.
    """
    places = np.floor(path[:, :2] / np.asarray(size) * np.asarray(grid)).astype(np.int64)
    return np.clip(places, 0, np.asarray(grid) - 1)


def aligned(scores: np.ndarray) -> float:
    """Returns the score of the best global alignment of two sequences, where a gap costs nothing.

    Needleman and Wunsch, "A general method applicable to the search for similarities in the amino acid sequence of
    two proteins", J. Mol. Biol. 48:443, 1970.

    Args:
        scores: What it is worth to put element i of one beside element j of the other, `[M, N]`.
    """
    best = np.zeros(scores.shape[1] + 1)
    for row in scores:
        # Along a row the best is a running maximum, as gaps are free.
        best = np.maximum.accumulate(np.maximum(best, np.append(0.0, best[:-1] + row)))
    return float(best[-1])


def sequence_score(a: np.ndarray, b: np.ndarray) -> float:
    """Returns the sequence score of two sequences of cells, 0 to 1.

    The best alignment of the two strings, 1 for each equal pair, over the length of the longer (Yang et al.,
    "Predicting goal-directed human attention using inverse reinforcement learning", CVPR 2020); clusters of fixations
    there are cells of a grid here.
    """
    if not len(a) or not len(b):
        return 0.0
    return aligned((a[:, None] == b[None]).all(-1).astype(np.float64)) / max(len(a), len(b))


def scanmatch(a: np.ndarray, b: np.ndarray, threshold: float = 3.5) -> float:
    """Returns ScanMatch's score of two sequences of cells; 1 for equal ones, 0 for nothing in common.

    Two cells are worth the threshold less their distance; the best alignment is divided by what a perfect one of the
    longer would be worth (Cristino, Mathôt, Theeuwes and Gilchrist, "ScanMatch: A novel method for comparing fixation
    sequences", Behavior Research Methods 42:692, 2010; its defaults are 12 x 8 cells, threshold 3.5, gaps for nothing).

    Args:
        a: Column and row of each fixation, or of each time bin, `[M, 2]`.
        b: The same of the other, `[N, 2]`.
        threshold: Distance in cells up to which two are alike.
    """
    if not len(a) or not len(b):
        return 0.0
    distance = np.sqrt(((a[:, None] - b[None]) ** 2).sum(-1))
    return aligned(threshold - distance) / (threshold * max(len(a), len(b)))


def over_time(places: np.ndarray, durations_s: np.ndarray, bin_s: float) -> np.ndarray:
    """Returns cells repeated for as many time bins as each fixation lasted (rounded), as ScanMatch does."""
    return np.repeat(places, np.round(durations_s / bin_s).astype(np.int64), axis=0)


def fixation_map(path: np.ndarray, size: tuple[float, float], grid: tuple[int, int], sigma: float) -> np.ndarray:
    """Returns a map `[rows, columns]` of Gaussians of equal height around the fixations of a path.

    Args:
        path: `[L, 2 or 3]`.
        size: Width and height of the display.
        grid: Columns and rows of the map.
        sigma: Standard deviation, in the unit of the positions.
    """
    columns, rows = ((np.arange(n) + 0.5) * extent / n for n, extent in zip(grid, size, strict=True))
    x = np.exp(-0.5 * ((columns[None] - path[:, :1]) / sigma) ** 2)
    y = np.exp(-0.5 * ((rows[None] - path[:, 1:2]) / sigma) ** 2)
    return np.asarray(y.T @ x)


def normalised_saliency(values: np.ndarray, fixated: np.ndarray) -> float:
    """Returns the normalised scanpath saliency: the map's z-score, mean over the fixations; 0 is chance.

    Peters, Iyer, Itti and Koch, "Components of bottom-up gaze allocation in natural images", Vision Research 45:2397,
    2005.

    Args:
        values: A map `[rows, columns]`.
        fixated: Column and row of every fixation, `[L, 2]`.
    """
    spread = float(values.std())
    if spread == 0.0:
        return 0.0
    return float(((values[fixated[:, 1], fixated[:, 0]] - values.mean()) / spread).mean())


def area_under_curve(values: np.ndarray, fixated: np.ndarray) -> float:
    """Returns the area under the curve of telling fixated cells of a map from all others; 0.5 is chance.

    Judd, Ehinger, Durand and Torralba, "Learning to predict where humans look", ICCV 2009. The area is exact: the
    share of pairs of a fixated and another cell that the map orders rightly, equal ones half.

    Raises:
        InputError: If every cell is fixated.
    """
    there = np.zeros(values.shape, dtype=bool)
    there[fixated[:, 1], fixated[:, 0]] = True
    if there.all():
        raise InputError("every cell of the map is fixated", expected="a finer map (setting map)")
    others, mine = np.sort(values[~there]), values[there]
    below, above = np.searchsorted(others, mine, "left"), np.searchsorted(others, mine, "right")
    return float(((below + above) / 2).mean() / len(others))

"""Exact decoding of a skip-chain conditional random field over a dialogue, in numpy (EmotionIC, Liu et al., 2023)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

PADDING = -1


@dataclass(frozen=True)
class Field:
    """Scores of a dialogue's emotions that are no utterance's own.

    Attributes:
        start: Of the first emotion, `[C]`.
        end: Of the last, `[C]`.
        same: From a speaker's last emotion to the next one, `[C, C]`.
        other: From the utterance before, where the speaker changes, `[C, C]`.
    """

    start: np.ndarray
    end: np.ndarray
    same: np.ndarray
    other: np.ndarray


def best_path(emissions: np.ndarray, speakers: np.ndarray, field: Field) -> np.ndarray:
    """Returns the emotions `[L]` with the largest score; of equal ones the lowest numbers at the end.

    Every edge ends in the last utterance of this run of one speaker, or in the last of the run before the one before
    (A B A), so pairs (last emotion of the run before, this emotion) are a state: L C^3 sums give the exact maximum.

    Args:
        emissions: Scores of the emotions, `[L, C]`.
        speakers: Who speaks, `[L]`, without padding.
        field: The transitions.
    """
    count = emissions.shape[1]
    scores = np.broadcast_to(field.start + emissions[0], (count, count))  # [run before, this]
    chosen: list[np.ndarray] = []
    for moves in _moves(speakers, field, count):
        sums = scores[:, :, None] + moves  # [run before, before, this]
        if _is_change(speakers, len(chosen) + 1):
            chosen.append(sums.argmax(0))  # which run before; the emotion before becomes the next "run before"
            scores = sums.max(0)
        else:
            chosen.append(sums.argmax(1))
            scores = sums.max(1)
        scores = scores + emissions[len(chosen)]
    return _back(scores + field.end, chosen, speakers)


def log_partition(emissions: np.ndarray, speakers: np.ndarray, field: Field) -> float:
    """Returns the logarithm of the sum over all emotions of the exponential of their score, arguments as above."""
    count = emissions.shape[1]
    scores = np.full((count, count), -np.inf)
    scores[0] = field.start + emissions[0]  # there is no run before: one row stands for it
    for at, moves in enumerate(_moves(speakers, field, count), start=1):
        sums = scores[:, :, None] + moves
        scores = np.logaddexp.reduce(sums, axis=0 if _is_change(speakers, at) else 1) + emissions[at]
    return float(np.logaddexp.reduce((scores + field.end).ravel()))


def score_of(tags: np.ndarray, emissions: np.ndarray, speakers: np.ndarray, field: Field) -> float:
    """Returns the score of given emotions `[L]`."""
    total = field.start[tags[0]] + field.end[tags[-1]] + emissions[np.arange(len(tags)), tags].sum()
    run_before = -1
    for at in range(1, len(tags)):
        if not _is_change(speakers, at):
            total += field.same[tags[at - 1], tags[at]]
            continue
        total += field.other[tags[at - 1], tags[at]]
        if run_before >= 0 and speakers[run_before] == speakers[at]:
            total += field.same[tags[run_before], tags[at]]
        run_before = at - 1
    return float(total)


def _is_change(speakers: np.ndarray, at: int) -> bool:
    return bool(speakers[at] != speakers[at - 1])


def _moves(speakers: np.ndarray, field: Field, count: int) -> list[np.ndarray]:
    """Returns what is added from each utterance to the next, `[run before, before, this]`."""
    moves, run_before = [], -1
    for at in range(1, len(speakers)):
        if not _is_change(speakers, at):
            moves.append(np.broadcast_to(field.same, (count, count, count)))
            continue
        returns = run_before >= 0 and speakers[run_before] == speakers[at]
        moves.append(field.other[None] + (field.same[:, None] if returns else np.zeros((count, 1, count))))
        run_before = at - 1
    return moves


def _back(scores: np.ndarray, chosen: list[np.ndarray], speakers: np.ndarray) -> np.ndarray:
    """Returns the path that ends in the largest score, read backwards."""
    run_before, this = (int(i) for i in np.unravel_index(int(scores.argmax()), scores.shape))
    path = [this]
    for at in range(len(chosen), 0, -1):
        taken = int(chosen[at - 1][run_before, this])
        # At a change the state holds the emotion before as its "run before"; else what was chosen is the one before.
        run_before, this = (taken, run_before) if _is_change(speakers, at) else (run_before, taken)
        path.append(this)
    return np.array(path[::-1], dtype=np.int64)

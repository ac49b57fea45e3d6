"""The host's loop of a scanpath model over objects: encode once, then one fixation after the other; numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from neurokit.tasks.choice import best_class


def searched(runner: Any, search: Mapping[str, Any], feeds: Mapping[str, np.ndarray]) -> np.ndarray:
    """Returns the scores of every step of a greedy search, `[1, L, N + 1]`: the objects, and last the end.

    The first fixation may not be the end, as published; the search ends with the first end, or after `longest` steps.

    Args:
        runner: An open artifact of two graphs, in its step form.
        search: The task's settings of the search: names of the graphs (encoder, step), of the input that takes a
            fixation (token) and of the output (scores), and the tokens begin and end.
        feeds: Inputs of the encoder by name, of one sample.
    """
    runner.reset(1)
    runner.run(search["encoder"], feeds)
    token, rows = int(search["begin"]), []
    for at in range(int(search["longest"])):
        given = {search["token"]: np.array([[token]], dtype=np.int64)}
        scores = np.asarray(runner.run(search["step"], given)[search["scores"]])[0, -1]
        scores = scores[: int(search["end"]) + 1].copy()  # behind the end stands padding
        if at == 0:
            scores[-1] = scores.min() - 1
        rows.append(scores)
        token = int(best_class(scores))
        if token == search["end"]:
            break
    return np.stack(rows)[None]

"""A batch of synthetic puppets of all classes in no order, for examples and statistics."""

from __future__ import annotations

import numpy as np
import torch

from neurokit.data.puppets.names import CLASSES
from neurokit.data.puppets.render import render


def pictures(batch: int, size: int, seed: int) -> torch.Tensor:
    """Returns synthetic puppets of all classes in no order, uint8 `[batch, 1, size, size]`."""
    drawn, _ = render("test", -(-batch // len(CLASSES)), size, seed)
    order = np.random.default_rng(seed).permutation(len(drawn))[:batch]
    return torch.from_numpy(drawn[order]).unsqueeze(1)

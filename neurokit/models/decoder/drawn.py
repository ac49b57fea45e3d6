"""Weights drawn from each tensor's name: the same numbers on every machine, without a file."""

from __future__ import annotations

import math
import zlib
from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch import nn

# Untrained weights that tell tokens apart: a wide embedding and a wide head.
GAINS = {"embed_tokens.weight": 8.0, "lm_head.weight": 4.0}


def draw(name: str, shape: tuple[int, ...], gains: Mapping[str, float] = GAINS) -> np.ndarray:
    """Returns the float64 values of one tensor.

    With z standard normal from `numpy.random.RandomState(crc32(name))`: 1 + 0.1 z for a vector called weight, 0.1 z
    for another one, z sqrt(gain^2 / fan-in) for a matrix.
    """
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if len(shape) == 1:
        return 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
    gain = next((value for key, value in gains.items() if name.endswith(key)), 1.0)
    return z * math.sqrt(1 / math.prod(shape[1:])) * gain


def fill(module: nn.Module, public: Callable[[str], str] = str, gains: Mapping[str, float] = GAINS) -> nn.Module:
    """Fills every parameter of a module by its name, and returns it.

    Args:
        module: Its positions of linear attention (`theta`) are left as they are.
        public: Returns the name that a checkpoint has for a parameter; default is the parameter's own.
        gains: Factors of matrices, by what their public names end with.
    """
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            if not name.endswith("lrpe.theta"):
                parameter.copy_(torch.from_numpy(draw(public(name), tuple(parameter.shape), gains)))
    return module

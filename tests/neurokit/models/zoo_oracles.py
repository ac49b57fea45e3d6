"""Figures that the public code of the edge zoo's models gives in float64 for weights filled by a rule."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

DATA = Path(__file__).parents[2] / "data" / "zoo"
# Tables that are computed, not learnt, which the rule leaves as they are.
CONSTANT = ("attn_mask", "pos_embed.weights", "_float_tensor", "pos_embedding")


def oracle(name: str) -> dict[str, Any]:
    """The figures of a public model."""
    return json.loads((DATA / f"{name}.json").read_text())


def fill(module: nn.Module) -> nn.Module:
    """Fills a module by the oracles' rule: a value from its name and shape alone."""
    state = module.state_dict()
    for name, value in state.items():
        if not value.is_floating_point() or name.endswith(CONSTANT):
            continue
        z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
        if name.endswith("running_var"):
            z = 1 + 0.1 * np.abs(z)
        elif name.endswith("running_mean"):
            z = 0.1 * z
        elif value.dim() == 1:
            z = 1 + 0.1 * z if name.endswith("weight") else 0.1 * z
        else:
            z = z * np.sqrt(1 / np.prod(value.shape[1:]))
        state[name] = torch.from_numpy(z)
    module.load_state_dict(state)
    return module.double().eval()


def state_of(module: nn.Module) -> dict[str, list[int]]:
    return {
        name: list(value.shape)
        for name, value in module.state_dict().items()
        if value.is_floating_point() and not name.endswith(CONSTANT)
    }


def named(state: dict[str, list[int]]) -> dict[str, list[int]]:
    """What of an oracle's state is filled: numbers of batches and indices are not."""
    left = ("num_batches_tracked", "_index", *CONSTANT)
    return {name: size for name, size in state.items() if not name.endswith(left)}


def assert_equal(y: Tensor, expected: dict[str, Any], within: float = 1e-11) -> None:
    """Holds an output against the figures of a public one."""
    flat = y.numpy().ravel()
    assert list(y.squeeze().shape) == [size for size in expected["shape"] if size != 1]
    samples = flat[np.random.RandomState(0).choice(flat.size, len(expected["samples"]), replace=False)]
    np.testing.assert_allclose(samples, expected["samples"], rtol=1e-9, atol=within)
    assert flat.sum() == pytest.approx(expected["sum"], rel=1e-9, abs=1e-7)


def count(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())

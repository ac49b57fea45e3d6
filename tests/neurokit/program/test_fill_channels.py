"""Convolutions of three channels in 16 bits get a fourth one of zeros, and give conv2d's numbers."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from neurokit.program.nodes import aten
from neurokit.program.passes.fill_channels import FILL_CHANNELS
from tests.neurokit.program.test_subsample import convolution, drawn


def channels(module):
    (node,) = [one for one in module.graph.nodes if one.target is aten.conv2d.default]
    return node.args[0].meta["val"].shape[-3], node.args[1].meta["val"].shape[1]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(("shape", "bias"), [((2, 3, 7, 9), True), ((3, 7, 9), False)])
def test_a_fourth_channel_of_zeros_changes_no_number(shape, bias, dtype):
    """Whole numbers have one sum in every order."""
    weight, b, x = drawn(5, 3, 3, 3).to(dtype), drawn(5).to(dtype) if bias else None, drawn(*shape).to(dtype)
    module = convolution(weight, b, [2, 2], [1, 1], shape=shape)
    FILL_CHANNELS(module)
    assert channels(module) == (4, 4)
    assert torch.equal(module(x), functional.conv2d(x, weight, b, 2, 1))


@pytest.mark.parametrize(
    ("inner", "groups", "dtype"), [(3, 3, torch.float16), (3, 1, torch.float32), (4, 1, torch.float16)]
)
def test_other_convolutions_stay(inner, groups, dtype):
    weight = drawn(6, inner // groups, 3, 3).to(dtype)
    module = convolution(weight, None, [1, 1], [1, 1], [1, 1], groups, shape=(2, inner, 7, 9))
    before = module.code
    FILL_CHANNELS(module)
    assert module.code == before

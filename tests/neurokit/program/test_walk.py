"""Programs as modules."""

import warnings

import torch
from torch import nn

from neurokit.capture import capture
from neurokit.program.walk import copied


def test_a_copy_computes_the_same_and_says_nothing():
    x = torch.rand(2, 3)
    module = capture(nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval(), x).program.module()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = copied(module)
    with torch.no_grad():
        (found,), (wanted,) = made(x), module(x)
    assert torch.equal(found, wanted)
    assert all(a is not b for a, b in zip(made.parameters(), module.parameters(), strict=True))

"""Programs as modules."""

import warnings

import torch
from torch import nn

from neurokit.capture import capture
from neurokit.program.walk import Kept, copied, once


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


def test_what_is_made_of_constants_is_made_once_as_long_as_there_is_room():
    holder, made = nn.Module(), []
    holder.kept = Kept()
    holder.kept.room = 10

    def make(size):
        made.append(size)
        return torch.ones(size)

    assert torch.equal(once(holder, "a", lambda: make(6)), once(holder, "a", lambda: make(6)))
    for _ in range(2):
        assert once(holder, "b", lambda: make(6)).shape == (6,)
    assert made == [6, 6, 6]  # there is no room for the second
    assert once(nn.Module(), "a", lambda: make(1)).shape == (1,)  # nothing is kept there

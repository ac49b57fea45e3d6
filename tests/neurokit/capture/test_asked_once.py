"""What torch asks once within a trace gives the same program, and it asks as before behind it."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import nn
from torch._export import utils
from torch._subclasses.fake_tensor import FakeTensorMode

from neurokit.capture.asked_once import asked_once


class Parts(nn.Module):
    """Operations that C++ composes of others, and one that is not."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(4, 4)

    def forward(self, x):
        attended = torch.nn.functional.scaled_dot_product_attention(self.mix(x), x, x)
        return attended.square().std(-1) + torch.selu(x).sum(-1)


def decomposed(within):
    torch.manual_seed(0)
    with within(), torch.no_grad():
        program = torch.export.export(Parts().eval(), (torch.ones(1, 2, 3, 4),), strict=False)
        return program.run_decompositions()


def counted(monkeypatch):
    """Counts how often torch looks up its composite operations and asks for GPUs."""
    counts = {"operations": 0, "gpus": 0}
    look_up, ask = utils._materialize_cpp_cia_ops, torch.cuda.is_available

    def looked_up():
        counts["operations"] += 1
        look_up()

    def asked():
        counts["gpus"] += 1
        return ask()

    monkeypatch.setattr(utils, "_materialize_cpp_cia_ops", looked_up)
    monkeypatch.setattr(torch.cuda, "is_available", asked)
    return counts


def test_the_program_is_that_of_a_decomposition_without():
    whole, quick = decomposed(nullcontext), decomposed(asked_once)
    assert whole.graph_module.code == quick.graph_module.code
    x = torch.rand(1, 2, 3, 4)
    assert torch.equal(whole.module()(x), quick.module()(x))


def test_it_is_asked_once_and_as_before_behind_it(monkeypatch):
    before = utils._materialize_cpp_cia_ops, FakeTensorMode.__dict__["avoid_device_init"]
    with monkeypatch.context() as patch:
        counts = counted(patch)
        decomposed(nullcontext)
        often = dict(counts)
        counts.update(operations=0, gpus=0)
        decomposed(asked_once)
        assert counts["operations"] == 1 < often["operations"]
        assert counts["gpus"] < often["gpus"]
    assert before == (utils._materialize_cpp_cia_ops, FakeTensorMode.__dict__["avoid_device_init"])


def test_it_is_as_before_behind_an_error():
    before = utils._materialize_cpp_cia_ops, FakeTensorMode.__dict__["avoid_device_init"]
    with pytest.raises(KeyError), asked_once():
        raise KeyError
    assert before == (utils._materialize_cpp_cia_ops, FakeTensorMode.__dict__["avoid_device_init"])


def test_a_torch_without_such_places_is_left_alone(monkeypatch):
    monkeypatch.delattr(utils, "_materialize_cpp_cia_ops")
    with asked_once():
        assert not hasattr(utils, "_materialize_cpp_cia_ops")

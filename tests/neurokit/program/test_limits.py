"""Limits one behind the other are one, what stands twice is computed once, and pools of one element are nothing."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurokit.program.passes.limits import ONE_LIMIT, SAME_ONCE, limits_of
from neurokit.program.passes.whole_pools import WHOLE_POOLS

NUMBERS = st.one_of(st.none(), st.floats(-4, 4, width=32))
LIMIT = st.one_of(
    st.sampled_from(["relu", "relu6", "hardtanh"]),
    st.tuples(NUMBERS, NUMBERS).filter(lambda pair: pair != (None, None)),
)


def traced(module, x):
    program = torch.export.export(module.eval(), (x,))
    return program.graph_module


def limited(x, limit):
    if isinstance(limit, str):
        return getattr(nn.functional, limit)(x)
    return torch.clamp(x, *limit)


class Limits(nn.Module):
    def __init__(self, limits):
        super().__init__()
        self.limits = limits

    def forward(self, x):
        for limit in self.limits:
            x = limited(x, limit)
        return x


@settings(deadline=None, max_examples=40)
@given(st.lists(LIMIT, min_size=2, max_size=4))
def test_limits_in_a_row_are_one_with_the_same_values(limits):
    x = torch.cat([torch.linspace(-5, 5, 101), torch.tensor([float("inf"), -float("inf")])])
    graph = traced(Limits(limits), x)
    ONE_LIMIT(graph)
    assert len([node for node in graph.graph.nodes if limits_of(node)]) == 1
    torch.testing.assert_close(graph(x)[0], Limits(limits)(x), rtol=0.0, atol=0.0)


def test_a_value_between_that_something_else_reads_stays():
    class Two(nn.Module):
        def forward(self, x):
            y = torch.relu(x)
            return y.clamp(-1.0, 1.0), y * 3.0

    x = torch.linspace(-5, 5, 11)
    graph = traced(Two(), x)
    ONE_LIMIT(graph)
    for found, wanted in zip(graph(x), Two()(x), strict=True):
        assert torch.equal(found, wanted)
    assert len([node for node in graph.graph.nodes if limits_of(node)]) == 2


def test_what_stands_twice_is_computed_once():
    class Twice(nn.Module):
        def forward(self, x):
            return (x * 2.0).clamp(0.0, 1.0) + (x * 2.0).clamp(0.0, 1.0) + (x * 2.0).clamp(0.0, 2.0)

    x = torch.randn(7)
    graph = traced(Twice(), x)
    SAME_ONCE(graph)
    names = [str(node.target) for node in graph.graph.nodes if node.op == "call_function"]
    assert names.count("aten.mul.Tensor") == 1
    assert names.count("aten.clamp.default") == 2
    assert torch.equal(graph(x)[0], Twice()(x))


@pytest.mark.parametrize(("size", "left"), [((5, 4), 0), ((1, 1), 1), ((5, 2), 1)])
def test_an_average_over_single_elements_is_left_out(size, left):
    module = nn.Sequential(nn.ReLU(), nn.AdaptiveAvgPool2d(size), nn.Flatten())
    x = torch.randn(2, 3, 5, 4)
    graph = traced(module, x)
    WHOLE_POOLS(graph)
    assert len([node for node in graph.graph.nodes if "adaptive" in str(node.target)]) == left
    assert torch.equal(graph(x)[0], module(x))

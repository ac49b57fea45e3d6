"""Every registered pattern through the kernels: what it selects, attended to by the kernel, is the definition."""

import pytest
import torch

from neurokit.attention import PATTERNS, BlockIndex, Call, attend, pattern
from neurokit.attention.patterns.routing import Routing
from neurokit.errors import InputError
from neurokit.kernels.attention_path import pattern_attention, sparse_attention

NEW, GROUPS, HEADS, WIDTH = 48, 2, 4, 16
#: An instance whose blocks a kernel takes, and queries: sets of tokens have a kernel for one query.
CASES = {
    "dynamic_mask": (pattern("dynamic_mask", count=9), 1),
    "hip": (pattern("hip", count=16, block_q=16, block_k=16, window=16), NEW),
    "recycled": (pattern("recycled", count=9, pool=3), 1),
    "routing": (Routing(torch.randn(1, 3, WIDTH, generator=torch.Generator().manual_seed(1)), 8, "nearest"), 1),
    "sale": (pattern("sale", thresholds=(9.0,), block_q=16, block_k=16, window=16, segment=16), NEW),
    "ssa": (pattern("ssa", block=16, count=2), NEW),
}


def drawn(chosen, new):
    generator = torch.Generator().manual_seed(3)
    q, k, v = (torch.randn(1, h, NEW, WIDTH, generator=generator) for h in (HEADS, GROUPS, GROUPS))
    bias = torch.randn(1, GROUPS, NEW, generator=generator) if chosen.traits.needs_bias else None
    return Call(q[:, :, NEW - new :], k, v, bias)


def test_every_pattern_is_here():
    assert set(CASES) == set(PATTERNS.names())


@pytest.mark.needs_kernel
@pytest.mark.parametrize("name", CASES)
def test_the_kernel_over_a_selection_is_the_pattern(name):
    chosen, new = CASES[name]
    call = drawn(chosen, new)
    selection = chosen.select(call)
    if not isinstance(selection, BlockIndex):
        assert new == 1
    out = sparse_attention(call.q, call.k, call.v, selection, key_bias=call.key_bias, path="kernel")
    given = [x.double() for x in (call.q, call.k, call.v)]
    bias = None if call.key_bias is None else call.key_bias.double()
    exact = attend(*given, selection.to_dense(), bias)[0]
    assert (out - exact).abs().max() < 2e-5
    dense = attend(*given, call.seen()[None, None], bias)[0]
    assert (dense - exact).abs().max() > 1e-3  # something was left out


@pytest.mark.needs_kernel
@pytest.mark.parametrize("name", ["ssa", "sale", "recycled"])
def test_padding_and_queries_elsewhere_are_the_definitions(name):
    chosen, new = CASES[name]
    q, k, v = (torch.cat([x, x.flip(2)]) for x in (drawn(chosen, NEW).q, drawn(chosen, NEW).k, drawn(chosen, NEW).v))
    last = NEW - 4  # a cache of fixed size, whose last entries are not filled
    place = torch.arange(last - new, last)[None] if new == 1 else torch.arange(last)[None]
    q = q[:, :, place[0]]
    call = Call(q, k, v, at=place, first=torch.tensor([0, 7]))
    out = pattern_attention(chosen, call, path="kernel")
    double = Call(q.double(), k.double(), v.double(), at=place, first=call.first)
    assert (out - chosen.attend(double)).abs().max() < 2e-5
    if new > 1:
        assert (out[1, :, :7] == 0).all()


def test_a_mean_of_several_softmaxes_has_no_kernel():
    with pytest.raises(InputError, match="several softmaxes"):
        pattern_attention(Routing(torch.zeros(1, 2, WIDTH), 4, "balanced"), drawn(CASES["ssa"][0], NEW))

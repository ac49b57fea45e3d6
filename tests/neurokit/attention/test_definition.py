"""The definition of attention against torch's own in float64, and its merge."""

import pytest
import torch
import torch.nn.functional as F

from neurokit.attention import attend, merge
from neurokit.errors import InputError


def drawn(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("heads", [1, 2, 6])
def test_it_is_attention_under_a_mask_with_a_bias(heads):
    q, k, v = drawn(2, 6, 5, 8), drawn(2, 2, 9, 8, seed=1), drawn(2, 2, 9, 4, seed=2)
    bias = drawn(2, 2, 9, seed=3)
    mask = torch.rand(2, heads, 5, 9, generator=torch.Generator().manual_seed(4)) < 0.6
    mask[..., 0] = True
    o, lse = attend(q, k, v, mask, bias, scale=0.3)
    wide = mask.repeat_interleave(6 // heads, 1)
    scores = bias.repeat_interleave(3, 1)[:, :, None].expand(-1, -1, 5, -1).masked_fill(~wide, float("-inf"))
    theirs = F.scaled_dot_product_attention(q, k, v, attn_mask=scores, scale=0.3, enable_gqa=True)
    assert (o - theirs).abs().max() < 1e-14
    exact = (0.3 * q @ k.repeat_interleave(3, 1).transpose(-1, -2) + scores).logsumexp(-1)
    assert (lse - exact).abs().max() < 1e-14


def test_a_row_that_sees_nothing_is_zero_with_a_gradient_of_zero():
    q, k, v = drawn(1, 1, 2, 4).requires_grad_(), drawn(1, 1, 3, 4, seed=1), drawn(1, 1, 3, 4, seed=2)
    mask = torch.tensor([[True, False, True], [False] * 3])[None, None]
    o, lse = attend(q, k, v, mask)
    assert (o[0, 0, 1] == 0).all()
    assert lse[0, 0, 1] == float("-inf")
    (slope,) = torch.autograd.grad(o.sum(), q)
    assert torch.isfinite(slope).all()
    assert (slope[0, 0, 1] == 0).all()
    nothing, _ = attend(q, k[:, :, :0], v[:, :, :0])
    assert (nothing == 0).all()


def test_disjoint_sets_merge_to_their_union_an_empty_one_included():
    q, k, v = drawn(1, 2, 3, 4), drawn(1, 2, 6, 4, seed=1), drawn(1, 2, 6, 4, seed=2)
    mask = torch.rand(1, 2, 3, 6, generator=torch.Generator().manual_seed(3)) < 0.5
    mask[0, 0, 0] = False
    o, lse = merge([attend(q, k, v, mask), attend(q, k, v, ~mask)])
    whole, total = attend(q, k, v)
    assert (o - whole).abs().max() < 1e-14
    assert (lse - total).abs().max() < 1e-14
    assert (merge([attend(q, k, v, mask)] * 1)[0][0, 0, 0] == 0).all()


def test_what_does_not_fit_is_refused():
    q = torch.zeros(1, 3, 2, 4)
    with pytest.raises(InputError, match="multiple"):
        attend(q, torch.zeros(1, 2, 5, 4), torch.zeros(1, 2, 5, 4))
    with pytest.raises(InputError, match="do not fit"):
        attend(q, torch.zeros(1, 3, 5, 2), torch.zeros(1, 3, 5, 4))
    with pytest.raises(InputError, match="heads"):
        attend(q, torch.zeros(1, 3, 5, 4), torch.zeros(1, 3, 5, 4), torch.ones(1, 2, 2, 5, dtype=torch.bool))

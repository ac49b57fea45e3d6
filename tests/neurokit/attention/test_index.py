"""BlockIndex and TokenSet against dense masks, by laws over random sets."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.attention import BlockIndex, TokenSet
from neurokit.errors import InputError


@st.composite
def tables(draw):
    block_q, block_k = draw(st.sampled_from([1, 2, 4])), draw(st.sampled_from([1, 3, 4]))
    kv_len = draw(st.integers(1, 13))
    q_len = draw(st.integers(1, kv_len))
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 2)), -(-q_len // block_q), -(-kv_len // block_k))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    return torch.rand(shape, generator=generator) < draw(st.floats(0, 1)), q_len, kv_len, block_q, block_k


def dense_by_loops(table, q_len, kv_len, block_q, block_k, causal):
    out = torch.zeros(*table.shape[:2], q_len, kv_len, dtype=torch.bool)
    for i in range(q_len):
        for j in range(kv_len):
            if not causal or j <= i + kv_len - q_len:
                out[:, :, i, j] = table[:, :, i // block_q, j // block_k]
    return out


@settings(max_examples=60, deadline=None)
@given(tables(), st.booleans())
def test_a_table_of_blocks_is_its_dense_mask_in_every_form(drawn, causal):
    table, *sizes = drawn
    index = BlockIndex.from_blocks(table, *sizes, causal=causal)
    index.validate()
    dense = dense_by_loops(table, *sizes, causal)
    assert torch.equal(index.to_dense(), dense)
    assert torch.equal(BlockIndex.from_dense(dense, *sizes[2:], causal=causal).to_dense(), dense)
    pointers, columns = index.to_csr()
    again = BlockIndex.from_csr(pointers, columns, tuple(table.shape[:2]), *sizes, causal=causal)
    assert torch.equal(again.to_dense(), dense)
    every = dense_by_loops(torch.ones_like(table), *sizes, causal)
    assert index.density() == pytest.approx(float(dense.sum() / every.sum()))


@settings(max_examples=40, deadline=None)
@given(tables(), st.booleans())
def test_full_blocks_need_no_mask_and_the_transpose_lists_the_same_pairs(drawn, causal):
    table, q_len, kv_len, block_q, block_k = drawn
    index = BlockIndex.from_blocks(table, q_len, kv_len, block_q, block_k, causal)
    dense = index.to_dense()
    pairs = set()
    for b, h, i in torch.cartesian_prod(*(torch.arange(n) for n in index.num.shape)).reshape(-1, 3).tolist():
        for j in index.full_idx[b, h, i, : index.full_num[b, h, i]].tolist():
            tile = dense[b, h, i * block_q : (i + 1) * block_q, j * block_k : (j + 1) * block_k]
            assert tile.all()
            assert tile.shape[1] == block_k
            pairs.add((b, h, i, j, True))
        pairs |= {(b, h, i, j, False) for j in index.idx[b, h, i, : index.num[b, h, i]].tolist()}
    num, idx, full_num, full_idx = index.transpose()
    other = set()
    for counts, lists, full in ((num, idx, False), (full_num, full_idx, True)):
        for b, h, j in torch.cartesian_prod(*(torch.arange(n) for n in counts.shape)).reshape(-1, 3).tolist():
            other |= {(b, h, i, j, full) for i in lists[b, h, j, : counts[b, h, j]].tolist()}
    assert pairs == other


def test_flex_attention_reads_the_same_set():
    from torch.nn.attention.flex_attention import create_mask

    table = torch.rand(1, 2, 4, 5, generator=torch.Generator().manual_seed(1)) < 0.5
    index = BlockIndex.from_blocks(table, 16, 20, 4, 4)
    mask = index.to_flex()
    inside = create_mask(mask.mask_mod, 1, 2, 16, 20, device="cpu")
    blocks = mask.to_dense().bool().repeat_interleave(4, 2).repeat_interleave(4, 3)
    assert torch.equal(blocks & inside, index.to_dense())
    assert torch.equal(BlockIndex.from_flex(mask).to_dense(), index.to_dense())


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10**6), st.integers(1, 9), st.booleans())
def test_a_token_set_is_its_dense_mask(seed, kv_len, shared):
    generator = torch.Generator().manual_seed(seed)
    q_len = int(torch.randint(1, kv_len + 1, (), generator=generator))
    chosen = torch.rand(2, 2, 1 if shared else q_len, kv_len, generator=generator) < 0.5
    tokens = TokenSet.from_dense(chosen, q_len, causal=False)
    tokens.validate()
    assert torch.equal(tokens.to_dense(), chosen.expand(-1, -1, q_len, -1))


def test_what_is_no_set_of_blocks_is_refused():
    mask = torch.ones(1, 1, 4, 4, dtype=torch.bool)
    mask[0, 0, 3, 1] = False
    with pytest.raises(InputError, match="no set of blocks"):
        BlockIndex.from_dense(mask, 2, 2, causal=False)
    with pytest.raises(InputError, match="rows"):
        TokenSet.from_dense(mask, 3)
    with pytest.raises(InputError, match="at most 1"):
        TokenSet.from_dense(mask, 4, slots=1)
    with pytest.raises(InputError, match="a table of blocks"):
        BlockIndex.from_blocks(mask, 4, 4, 2, 2)
    with pytest.raises(InputError, match="row pointers"):
        BlockIndex.from_csr(torch.tensor([0, 1]), torch.tensor([0]), (1, 1), 4, 4, 2, 2)
    with pytest.raises(InputError, match="key block 2"):
        BlockIndex.from_csr(torch.tensor([0, 1, 1]), torch.tensor([2]), (1, 1), 4, 4, 2, 2)
    good = BlockIndex.from_blocks(torch.ones(1, 1, 2, 2, dtype=torch.bool), 4, 4, 2, 2)
    good.idx[0, 0, 1, 0] = 7
    with pytest.raises(InputError, match="out of range"):
        good.validate()

"""SALE: codes of the released quantiser exactly, masks by the rule as read, thresholds."""

from itertools import pairwise

import numpy as np
import pytest
import torch

from neurokit.attention import Call, attend, pattern
from neurokit.attention.patterns.sale import SALE, calibrate
from neurokit.errors import InputError

from . import oracle

ORACLE = oracle.load("sale")
TAUS = tuple(ORACLE["config"]["thresholds_per_head"])


@pytest.fixture(scope="module")
def call():
    x = {name: oracle.draw("sale", name, shape, np.float64) for name, shape in ORACLE["shapes"].items()}
    u = x["u"] / np.linalg.norm(x["u"], axis=1, keepdims=True)
    at = np.arange(1152) // 64
    k = 7 * u[at] + 0.7 * x["k"][0, 0] + 0.5 * x["k_offset"]
    rows = []
    for head, gain in enumerate((12.0, 11.0)):
        q = gain * u[at]
        for s in range(4, 18) if head == 0 else ():
            q[at == s] += 0.75 * 12.0 * u[(5 * s + 3) % (s - 3)]
        rows.append(q + 0.7 * x["q"][0, head] + 0.3 * x["q_offset"])
    tensors = (np.stack(rows)[None], k[None, None], x["v"])
    return Call(*(torch.from_numpy(y.astype(np.float32)) for y in tensors))


def test_codes_and_scales_are_the_released_ones(call):
    codes, released = SALE(TAUS).codes(call), ORACLE["outputs"]["quantiser_RELEASED"]
    assert oracle.worst(released["sq_[1,2,N]"], codes.q_scale) < 1e-6
    assert oracle.worst(released["sk_[1,1,N]"], codes.k_scale) < 1e-6
    for key, ours in (("q_int4_[1,2,N,D]", codes.q), ("k_int4_[1,1,N,D]", codes.k)):
        stored = released[key]
        picked = ours.flatten()[torch.tensor(stored["sample_flat_index"])]
        assert picked.tolist() == stored["sample_value"]
        assert int(ours.sum()) == stored["stats"]["sum"]


@pytest.mark.parametrize("exact", [False, True])
def test_blocks_are_kept_by_the_rule_as_read(call, exact):
    sale, double = SALE(TAUS), Call(*(x.double() for x in (call.q, call.k, call.v)))
    out = ORACLE["outputs"]["selection_exact_scores_OWN_READING" if exact else "selection_int4_OWN_READING"]
    centred = double.k - double.k.mean(2, keepdim=True)
    if exact:
        sale = type("Exact", (SALE,), {"estimate": lambda self, codes: double.q @ centred.transpose(-1, -2)})(TAUS)
    codes = sale.codes(call)
    ratio = sale.relative(double, codes)[0]
    local, scored = sale.geometry(double)
    assert ORACLE["checks"]["candidates_per_q_block"] == scored.sum(-1).tolist()
    stored = torch.from_numpy(oracle.rows(out["kept_block_mask_hex_[head][q block] (bit = k block)"], 36))
    table = local | (scored & (ratio > torch.tensor(TAUS)[:, None, None]))
    near = scored & ((ratio / torch.tensor(TAUS)[:, None, None]).log().abs() < 0.05)
    assert torch.equal(table | near, stored | near)
    assert int(near.sum()) < 20
    if not exact:
        assert torch.equal(sale.blocks(call)[0] | near, stored | near)


def test_the_sparse_output_is_the_one_read_and_its_error_that_of_the_oracle(call):
    double = Call(*(x.double() for x in (call.q, call.k, call.v)))
    out = ORACLE["outputs"]["selection_int4_OWN_READING"]
    stored = torch.from_numpy(oracle.rows(out["kept_block_mask_hex_[head][q block] (bit = k block)"], 36))[None]
    mask = SALE(TAUS)._pairs(stored, double) & double.seen()
    sparse, _ = attend(double.q, double.k, double.v, mask)
    assert oracle.worst(ORACLE["outputs"]["sparse_o_int4_mask_OWN_READING_[2,N,D]"], sparse[0]) < 1e-7


def test_the_kept_set_shrinks_with_the_threshold(call):
    part = Call(call.q[:, :, :512], call.k[:, :, :512], call.v[:, :, :512])
    kept = [SALE((tau,)).blocks(part) for tau in (0.0, 1e-4, 1e-3, 1e-2, 0.1)]
    for more, less in pairwise(kept):
        assert not (less & ~more).any()
    assert torch.equal(SALE((0.0,)).visible(part)[0, 0], part.seen())
    tuned = calibrate(SALE((0.0,)), [part], error=2.0)
    dense, _ = attend(part.q, part.k, part.v, part.seen()[None, None])
    off = (tuned.attend(part) - dense).abs().sum((2, 3))
    assert (off <= 2.0 * 512).all()
    assert any(tau > 0 for tau in tuned.thresholds)


def test_a_prompt_in_chunks_is_refused_or_uses_the_first_means():
    x = torch.randn(1, 2, 64, 8, generator=torch.Generator().manual_seed(0))
    whole = Call(x, x[:, :1], x[:, :1])
    sizes = {"block_q": 16, "block_k": 8, "window": 8, "segment": 8}
    with pytest.raises(InputError, match="48 of 64 tokens"):
        pattern("sale", **sizes).select(whole.part(16, 64))
    first = pattern("sale", **sizes, mean="first")
    means = first.means(whole.part(0, 16))
    chunk = whole.part(32, 64)
    assert first.select(chunk, means).q_len == 32
    assert pattern("sale").obstacles("gathered")
    assert not pattern("sale").obstacles("masked")

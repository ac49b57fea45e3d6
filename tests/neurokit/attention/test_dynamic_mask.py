"""Dynamic mask attention against both released codes, and its laws."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.attention import Call, attend, pattern
from neurokit.attention.patterns.dynamic_mask import smoothed, value_bias
from neurokit.errors import InputError
from neurokit.models.decoder.rotary import rotate

from . import oracle

CASES = oracle.load("dma")["cases"]


def given_of(case):
    drawn = oracle.draw_all("dma", case)
    return {name.split("_", 1)[-1]: torch.from_numpy(x).double() for name, x in drawn.items()}


def sets(stored, length):
    return torch.from_numpy(oracle.rows(stored, length))


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("fsa") and "shared" not in n])
def test_sets_and_outputs_are_those_of_flash_dmattn(name):
    case, x = CASES[name], given_of(CASES[name])
    c = case["config"]
    if "bias" in x:
        bias = x["bias"]
    else:
        weight = x["dt_w"] / (c["Hk"] * c["D"]) ** 0.5
        bias = value_bias(x["v"], weight, x["A"], "linear")
        assert oracle.worst(case["outputs"]["bias_[B,Hk,1,N]"], bias[:, :, None]) < 1e-6
    call = Call(x["q"], x["k"], x["v"], bias, causal=c["is_causal"])
    mask = pattern("dynamic_mask", count=c["window_size"])
    stored = sets(case["outputs"]["selected_mask_rows_hex_[B][Hk][q]"], c["N"])
    assert torch.equal(mask.visible(call), stored)
    assert oracle.worst(case["outputs"]["o_BHND"], mask.attend(call)) < 1e-6
    if c["is_causal"]:
        assert (mask.visible(call).sum(-1) == (torch.arange(c["N"]) + 1).clamp(max=c["window_size"])).all()


def test_the_shared_set_and_its_smoothing_without_the_future():
    case, x = CASES["fsa_shared_selection_query_dim_1"], given_of(CASES["fsa_gqa_causal_doge_bias"])
    c, out = CASES["fsa_gqa_causal_doge_bias"]["config"], case["outputs"]
    bias = value_bias(x["v"], x["dt_w"] / (c["Hk"] * c["D"]) ** 0.5, x["A"], "linear")
    call = Call(x["q"], x["k"], x["v"], bias)
    shared = pattern("dynamic_mask", count=32, shared=True)
    keys = sets(out["selected_keys_hex_[B][Hk]"], 128)
    assert torch.equal(shared.visible(call), keys[:, :, None] & call.seen())
    assert oracle.worst(out["OWN_READING_o_BHND_float64"], shared.attend(call)) < 1e-6
    wide = pattern("dynamic_mask", count=64, shared=True, smooth=8).visible(call)
    assert torch.equal(wide[:, :, -1], sets(out["block_smooth_w64_bs8_shared_hex_[B][Hk]"], 128))
    # Blocks that lie wholly before a query are as released; the block of the query itself never looks ahead.
    ours = pattern("dynamic_mask", count=64, smooth=8).visible(call)
    released = sets(out["block_smooth_w64_bs8_causal_rows_hex_[B][Hk][q]"], 128)
    before = (torch.arange(128) // 8 < torch.arange(128)[:, None] // 8) & call.seen()
    assert torch.equal(ours & before, released & before)
    assert not (ours & ~call.seen()).any()
    assert int((released & ~call.seen()).sum()) == case["checks"]["future_keys_switched_on_by_block_smooth"]


@pytest.mark.parametrize("name", [n for n in CASES if n.startswith("doge")])
def test_a_layer_is_that_of_transformers(name):
    case, x = CASES[name], given_of(CASES[name])
    c, out = case["config"], case["outputs"]
    weight = {key: value / value.shape[1] ** 0.5 for key, value in x.items() if value.dim() == 2}
    hidden = x["hidden"]

    def heads(y):
        return y.unflatten(-1, (-1, c["head_dim"])).transpose(1, 2)

    def norm(y, key):
        return F.rms_norm(y, (c["head_dim"],), 1 + 0.1 * x[key], c["rms_norm_eps"])

    q = norm(heads(hidden @ weight["q_proj.weight"].T), "q_norm.weight")
    k = norm(heads(hidden @ weight["k_proj.weight"].T), "k_norm.weight")
    v = heads(hidden @ weight["v_proj.weight"].T)
    if "rope" in name.removeprefix("doge_") and "norope" not in name:
        angle = torch.arange(hidden.shape[1])[:, None] * 10000 ** (-torch.arange(0, c["head_dim"], 2) / c["head_dim"])
        q, k = (rotate(y, angle.cos()[None, None], angle.sin()[None, None]) for y in (q, k))
    bias = value_bias(v, weight["dt_proj.weight"], x["A"])
    assert oracle.worst(out["dt_states_exp_form_[B,Hk,N]"], bias) < 1e-6
    call, mask = Call(q, k, v, bias), pattern("dynamic_mask", count=c["keep_window_size"])
    assert torch.equal(mask.visible(call), sets(out["selected_mask_rows_hex_[B][Hk][q]"], hidden.shape[1]))
    mixed = mask.attend(call).transpose(1, 2).flatten(2) @ weight["o_proj.weight"].T
    assert oracle.worst(out["attn_output_after_o_proj_[B,N,hid]"], mixed) < 1e-5


def test_gradients_reach_the_weights_through_the_bias_and_equal_biases_take_the_lower_position():
    generator = torch.Generator().manual_seed(1)
    q, k, v = (torch.randn(1, 2, 12, 4, generator=generator, dtype=torch.float64) for _ in range(3))
    weight = torch.randn(2, 8, generator=generator, dtype=torch.float64, requires_grad=True)
    amplitude = torch.tensor([0.5, -0.5], dtype=torch.float64, requires_grad=True)
    out = pattern("dynamic_mask", count=4).attend(Call(q, k, v, value_bias(v, weight, amplitude)))
    slopes = torch.autograd.grad((out**2).sum(), (weight, amplitude))
    assert all(bool((slope != 0).any()) for slope in slopes)
    tied = Call(q, k, v, torch.zeros(1, 2, 12, dtype=torch.float64))
    expected = torch.arange(12) < torch.minimum(torch.arange(12) + 1, torch.tensor(4))[:, None]
    assert torch.equal(pattern("dynamic_mask", count=4).visible(tied)[0, 0], expected)
    # A = 0 and a budget of all is plain attention: every bias is one and the same number.
    plain = pattern("dynamic_mask", count=12).attend(Call(q, k, v, value_bias(v, weight, amplitude * 0)))
    assert (plain - attend(q, k, v, tied.seen()[None, None])[0]).abs().max() < 1e-12


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(1, 20), st.integers(1, 6))
def test_smoothing_never_enables_a_future_key(seed, length, block):
    chosen = torch.rand(length, length, generator=torch.Generator().manual_seed(seed)) < 0.5
    seen = torch.ones(length, length, dtype=torch.bool).tril()
    out = smoothed(chosen, seen, block)
    for t in range(length):
        for first in range(0, length, block):
            voters = [j for j in range(first, min(first + block, length)) if j <= t]
            kept = bool(2 * sum(bool(chosen[t, j]) for j in voters) > len(voters))
            assert [bool(out[t, j]) for j in range(first, min(first + block, length))] == [
                kept and j <= t for j in range(first, min(first + block, length))
            ]


def test_a_call_without_a_bias_is_refused():
    x = torch.zeros(1, 1, 2, 2)
    with pytest.raises(InputError, match="bias"):
        pattern("dynamic_mask").visible(Call(x, x, x))

"""SSA against its released code: sets exactly where that code is exact, and the rows where it is not."""

import numpy as np
import pytest
import torch

from neurokit.attention import Call, attend, pattern
from neurokit.attention.patterns.ssa import alignment_loss

from . import oracle

ORACLE = oracle.load("ssa")
EXACT = ["small_counts4_T128", "counts4_T256_D32", "counts8_T320", "ragged_T100"]


def call_of(case):
    given = oracle.draw_all("ssa", case, np.float64)
    given = {name.split("_")[-1]: torch.from_numpy(x.astype(np.float32)).double() for name, x in given.items()}
    return Call(*(given[name].transpose(1, 2) for name in "qkv")), given["gate"].sigmoid()


def sets(case, key):
    blocks = -(-case["config"]["T"] // case["config"]["block_size"])
    return torch.from_numpy(oracle.rows(case[key] if key in case else case["outputs"][key], blocks)).transpose(1, 2)


@pytest.mark.parametrize("name", EXACT)
def test_sets_and_outputs_are_the_released_ones(name):
    case = ORACLE["cases"][name]
    call, gate = call_of(case)
    ssa = pattern("ssa", block=case["config"]["block_size"], count=case["config"]["block_counts"])
    assert torch.equal(ssa.blocks(call), sets(case, "selected_block_sets_hex_[B][t][kv head]"))
    out = ssa.attend(call).transpose(1, 2) * gate[..., None]
    assert oracle.worst(case["outputs"]["gated_sparse_o_BTHD"], out) < 1e-6


def test_the_released_configuration_differs_in_the_rows_of_its_merge_and_nowhere_else():
    case = ORACLE["cases"]["released_config_block16_counts16_T512"]
    call, _ = call_of(case)
    ours = pattern("ssa").blocks(call)
    assert torch.equal(ours, sets(case, "exact_top_k_sets_hex_OWN_READING_[B][t][kv head]"))
    released = sets(case, "selected_block_sets_hex_[B][t][kv head]")
    assert int((ours != released).any(-1).sum()) == case["checks"]["rows_whose_set_differs_from_exact_top_k"] == 454


@pytest.mark.parametrize("name", ["module_T128_counts4", "module_T64_counts4_covers_everything"])
def test_a_layer_and_its_alignment_loss_are_the_released_ones(name):
    case = ORACLE["cases"][name]
    x = {key.split("_", 1)[1]: torch.from_numpy(value).double() for key, value in oracle.draw_all("ssa", case).items()}
    weight = {key: value / value.shape[1] ** 0.5 for key, value in x.items() if key.endswith("weight")}

    def heads(part):
        return (x["hidden"] @ weight[f"{part}_proj.weight"].T).unflatten(-1, (-1, 16)).transpose(1, 2)

    call = Call(heads("q"), heads("k"), heads("v"))
    gate = (x["hidden"] @ weight["g_proj.weight"].T).unflatten(-1, (32, 3))[..., 1].sigmoid().transpose(1, 2)[..., None]
    dense, _ = attend(call.q, call.k, call.v, call.seen()[None, None])
    sparse = pattern("ssa", block=16, count=4).attend(call)
    out = case["outputs"]
    for mixed, key in ((dense, "full"), (sparse, "sparse")):
        projected = (mixed * gate).transpose(1, 2).flatten(2) @ weight["o_proj.weight"].T
        assert oracle.worst(out[f"output_after_o_proj_{key}_stream"], projected) < 1e-5
    full, chosen = ((y * gate).requires_grad_() for y in (dense, sparse))
    loss = alignment_loss(full, chosen)
    assert abs(float(loss) - out["alignment_loss_do_mha_True"]) < 1e-6
    # Each term moves one side alone: the slope on each side is that of one SmoothL1 with the other held fixed.
    slopes = torch.autograd.grad(loss, (full, chosen))
    expected = (full - chosen).detach().clamp(-1, 1) / full.numel()
    assert torch.allclose(slopes[0], expected, atol=1e-15)
    assert torch.allclose(slopes[1], -expected, atol=1e-15)

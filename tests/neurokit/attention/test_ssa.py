"""SSA against its released code: sets exactly where that code is exact, and the rows where it is not."""

import numpy as np
import pytest
import torch

from neurokit.attention import Call, pattern

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

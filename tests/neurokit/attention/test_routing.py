"""Routing attention against its released module in every mode, one step of training, and the leak it has."""

import pytest
import torch
import torch.nn.functional as F

from neurokit.attention import Call
from neurokit.attention.patterns.routing import Routing, updated_means
from neurokit.errors import InputError

from . import oracle

CASES = oracle.load("routing")["cases"]


def given_of(case):
    drawn = oracle.draw_all("routing", case)
    x = {name[2:] if name[1:2] == "_" else name: y for name, y in drawn.items()}
    x = {name: torch.from_numpy(y).double() for name, y in x.items()}
    x["means"] = F.normalize(x["means"], dim=-1)
    return x


@pytest.mark.parametrize("name", CASES)
def test_sets_and_outputs_are_the_released_ones(name):
    case, x = CASES[name], given_of(CASES[name])
    c, out = case["config"], case["outputs"]
    routing = Routing(x["means"], c["window_size"], "balanced")
    k = F.normalize(x["q"], dim=-1) if c["shared_qk"] else x["k"]
    call = Call(x["q"], k, x["v"], causal=c["causal"])
    keys = c["context_window_size"] or c["window_size"]
    queries = routing.members(call.q)
    assert torch.equal(queries, torch.from_numpy(oracle.rows(out["query_sets_hex_[B][H][cluster]"], c["N"])))
    if "key_sets_hex_[B][H][cluster]" in out:
        stored = torch.from_numpy(oracle.rows(out["key_sets_hex_[B][H][cluster]"], c["kv_len"]))
        assert torch.equal(routing.members(call.k, keys), stored)
    memory = (x["mem_key"], x["mem_value"]) if c["num_mem_kv_effective"] else None
    valid = None
    if c["query_mask"]:
        valid = torch.ones(2, c["N"], dtype=torch.bool)
        valid[1, 3 * c["N"] // 4 :] = False
    ours = routing.mix(call, shared=c["shared_qk"], key_window=keys, memory=memory, valid=valid)
    # The released module divides by the number of clusters + 1e-5.
    count = queries.sum(2)[..., None]
    ours = ours * count / (count + 1e-5)
    if valid is None:
        assert oracle.worst(out["o_BHND"], ours) < 1e-5
        return
    stored = out["o_BHND"]
    at = torch.tensor(stored["sample_flat_index"])
    kept = valid[:, None, :, None].expand_as(ours).flatten()[at]
    assert (ours.flatten()[at] - torch.tensor(stored["sample_value"], dtype=torch.float64))[kept].abs().max() < 1e-5


@pytest.mark.parametrize("name", ["noncausal", "causal_shared_qk"])
def test_means_after_one_step_of_training(name):
    case, x = CASES[name], given_of(CASES[name])
    tokens = x["q"] if case["config"]["shared_qk"] else torch.cat([x["q"], x["k"]], 2)
    ours = updated_means(x["means"], tokens)
    assert oracle.worst(case["outputs"]["train_mode_means_after_one_ema_update"], ours) < 1e-6


def test_separated_clusters_are_recovered_and_attention_is_block_diagonal():
    generator = torch.Generator().manual_seed(3)
    centres = torch.eye(4, 16, dtype=torch.float64) * 6
    labels = torch.arange(64) % 4
    x = (centres[labels] + 0.3 * torch.randn(64, 16, generator=generator, dtype=torch.float64))[None, None]
    means = F.normalize(x[:, 0, :4].clone() + 0.5, dim=-1)
    for _ in range(5):
        means = updated_means(means, x, decay=0.0)
    inside = Routing(means, 64, "nearest").members(x)[0, 0]
    purity = sum(int(torch.bincount(labels[row], minlength=4).max()) for row in inside) / 64
    assert purity >= 0.95
    assert torch.equal(Routing(means, 64).visible(Call(x, x, x))[0, 0], (labels[:, None] == labels).tril())


def test_the_published_assignment_sees_the_future_and_the_nearest_does_not():
    generator = torch.Generator().manual_seed(0)
    means = F.normalize(torch.randn(1, 2, 4, generator=generator, dtype=torch.float64), dim=-1)
    x = torch.randn(1, 1, 12, 4, generator=generator, dtype=torch.float64)
    changed = x.clone()
    changed[:, :, 8:] = means[0, 0] * 5  # later tokens crowd a cluster
    for assign, leaks in (("balanced", True), ("nearest", False)):
        routing = Routing(means, 4, assign)
        before, after = (routing.attend(Call(y, y, x))[:, :, :8] for y in (x, changed))
        assert (not torch.equal(before, after)) == leaks


def test_bad_settings_are_one_line():
    with pytest.raises(InputError, match="window=0"):
        Routing(torch.zeros(1, 2, 4), 0)
    with pytest.raises(InputError, match="balanced or nearest"):
        Routing(torch.zeros(1, 2, 4), 1, "other")

"""Recycled attention against the schedules read in the paper; what it keeps and what a window loses."""

import pytest
import torch

from neurokit.attention import Call, attend, pattern
from neurokit.errors import InputError

from . import oracle

CASES = oracle.load("recycled")["cases"]


def decode(case):
    c = case["config"]
    shapes = {name.split("_")[-1]: (name, shape) for name, shape in case["shapes"].items()}
    q, k, v = (torch.from_numpy(oracle.draw("recycled", *shapes[x], float))[None] for x in "qkv")
    recycled = pattern(
        "recycled",
        count=c["K"],
        every=c["full_every"] or 0,
        check_every=c["check_every"] or 0,
        threshold=c["threshold"] or 0.0,
        pool=c["pool_kernel"],
    )
    n = c["prompt"]
    prompt = Call(q[:, :, n - 1 : n], k[:, :, :n], v[:, :, :n], scale=c["scale"])
    state = recycled.start(prompt)
    steps = []
    for t in range(n, n + c["steps"]):
        call = Call(q[:, :, t : t + 1], k[:, :, : t + 1], v[:, :, : t + 1], scale=c["scale"])
        mode = recycled.mode(call, state)
        out, state, used = recycled.step(call, state)
        steps.append((mode, used, out, call))
    return recycled, prompt, steps


@pytest.mark.parametrize("name", CASES)
def test_modes_sets_and_outputs_are_those_of_the_rules(name):
    case = CASES[name]
    recycled, prompt, steps = decode(case)
    order = recycled.start(prompt).order[0].tolist()
    assert order == case["initial_order_(first out first)_[kv head]"]
    assert [mode for mode, *_ in steps] == case["modes"]
    for (_, used, _, call), stored in zip(steps, case["attended_sets_hex_[step][kv head]"], strict=True):
        ours = torch.zeros(*used.shape[:2], call.length, dtype=torch.bool).scatter(2, used, True)[0]
        assert torch.equal(ours, torch.from_numpy(oracle.rows(stored, call.length)))
    outputs = torch.stack([out[0, :, 0] for _, _, out, _ in steps])
    # The stored figures have 9 digits.
    assert oracle.worst(case["outputs_[steps,H,D]"], outputs) < 5e-9


def test_a_full_step_each_time_is_dense_and_a_partial_step_reads_its_set_only():
    _, _, steps = decode(CASES["S1_is_dense"])
    for _, _, out, call in steps:
        assert torch.equal(out, attend(call.q, call.k, call.v, None, None, call.scale)[0])
    for mode, used, _, call in decode(CASES["fixed_S4"])[2]:
        assert used.shape[2] == (call.length if mode == "full" else CASES["fixed_S4"]["config"]["K"] + 1)


@pytest.mark.parametrize("depth", range(0, 90, 10))
def test_a_needle_comes_back_within_a_refresh_where_a_window_loses_it(depth):
    """The last query asks for the needle's key: the small cache has it after the next full step, a window has not."""
    generator = torch.Generator().manual_seed(depth)
    k = torch.randn(1, 1, 110, 16, generator=generator, dtype=torch.float64) * 0.1
    v = torch.zeros(1, 1, 110, 2, dtype=torch.float64)
    needle = torch.ones(16, dtype=torch.float64)
    k[0, 0, depth], v[0, 0, depth] = needle, torch.tensor([1.0, 1.0])
    recycled = pattern("recycled", count=12, every=4, pool=1)
    state = recycled.start(Call(-needle.view(1, 1, 1, 16), k[:, :, :100], v[:, :, :100]))
    outs = []
    for t in range(100, 108):
        call = Call(4 * needle.view(1, 1, 1, 16), k[:, :, : t + 1], v[:, :, : t + 1])
        out, state, _ = recycled.step(call, state)
        outs.append(float(out[0, 0, 0, 0]))
        assert t < 103 or outs[-1] > 0.9
    window = attend(call.q, k[:, :, 108 - 13 : 108], v[:, :, 108 - 13 : 108])[0]
    assert float(window[0, 0, 0, 0]) == 0.0


def test_bad_steps_are_one_line():
    x = torch.zeros(1, 1, 2, 4)
    recycled = pattern("recycled", count=1)
    with pytest.raises(InputError, match="one token a step"):
        recycled.step(Call(x, x, x), recycled.start(Call(x, x, x)))
    with pytest.raises(InputError, match="pool=4"):
        pattern("recycled", pool=4)

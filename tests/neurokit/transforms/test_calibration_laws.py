"""What every calibration of attention keeps, on drawn texts; the definition is the oracle of the deployed forms."""

import functools
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.attention.calibration import View, added, calibrated, change_of, masses_of, merged, plain_view, weigh
from neurokit.attention.rescale import rescaled
from neurokit.transforms.act import ACT
from neurokit.transforms.gift import GIFT
from neurokit.transforms.var import VAR
from neurokit.transforms.zerotuning import ZeroTuning

HEADS, GROUPS, WIDTH = 4, 2, 8
NEUTRAL = [ACT(((1, None),), 1.0), ZeroTuning(((1, None),), 1.0), GIFT(((1, None),), (2, 7), 0.0, (0,))]
number = functools.partial(st.floats, allow_nan=False, width=32)


@st.composite
def methods(draw):
    heads = st.sets(st.integers(0, HEADS - 1), min_size=1).map(tuple)
    scope = ((1, draw(st.one_of(st.none(), heads))),)
    kind = draw(st.sampled_from(["zerotuning", "act", "var", "gift"]))
    if kind == "zerotuning":
        first = draw(st.integers(0, 5))
        return ZeroTuning(scope, draw(number(0.015625, 64.0)), (first, first + draw(st.integers(1, 4))))
    if kind == "act":
        return ACT(scope, draw(number(0.0, 1.0)), draw(number(0.0625, 0.5)))
    image = (2, 7)
    if kind == "var":
        return VAR(scope, image, (0, 3), 1.5, draw(number(0.25, 1.0)), draw(number(0.0, 0.5)), draw(number(0.0, 1.0)))
    return GIFT(scope, image, draw(number(0.0, 5.0)), (0,))


def drawn(seed, new=12, kind=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    q = torch.randn(1, HEADS, new, WIDTH, generator=generator) * 2
    k, v = (torch.randn(1, GROUPS, new, WIDTH, generator=generator) * 2 for _ in range(2))
    return q.to(kind), k.to(kind), v.to(kind), torch.randn(1, new, 16, generator=generator).to(kind)


def scores_of(q, k):
    return (q @ k.repeat_interleave(HEADS // GROUPS, 1).transpose(-1, -2)) * WIDTH**-0.5


def memories(length, kind=torch.float32):
    def empty(heads):
        return torch.zeros(1, heads, length, dtype=kind)

    own = {"act_sink": empty(HEADS), "var_sink": empty(1)}
    return {"memory": own, "shared": {"gift_saliency": empty(1), "gift_query": empty(1)}}


def call(method, new=12, seed=0, kind=torch.float32):
    """A prompt: weights, the view in which memories are set, q, k and v."""
    q, k, v, stream = drawn(seed, new, kind)
    ids = torch.arange(new)[None]
    seen = plain_view(HEADS, new, new, stream=stream, ids=ids, **memories(new, kind))
    weights = scores_of(q, k).masked_fill(~seen.visible, float("-inf")).softmax(-1)
    if isinstance(method, GIFT):
        method.remember(seen, weights, 0)
    return weights, seen, (q, k, v)


@settings(max_examples=60, deadline=None)
@given(methods(), st.integers(0, 1000))
def test_rows_stay_distributions_and_the_forms_agree(method, seed):
    weights, seen, (q, k, _) = call(method, seed=seed)
    change = change_of(method, seen, weights if method.needs_weights else None, 1)
    found = weigh(weights, change)
    assert (found.sum(-1) - 1).abs().max() < 1e-6
    assert (found >= 0).all()
    assert not found[(~seen.visible).expand_as(found)].any()
    assert int(change.sets.long().sum(-2).max()) <= 1  # sets do not overlap
    scores = scores_of(q, k)
    mask = torch.where(seen.visible, 0.0, float("-inf"))
    deployed = (scores + (mask + added(change))).softmax(-1)
    assert (deployed - found).abs().max() < 1e-6
    heads = method.heads_in(1)
    others = [] if heads is None else [head for head in range(HEADS) if head not in heads]
    assert torch.equal(found[:, others], weights[:, others])
    assert torch.equal(deployed[:, others], (scores + mask).softmax(-1)[:, others])


@settings(max_examples=40, deadline=None)
@given(methods(), st.integers(0, 1000))
def test_attention_a_set_merged_by_log_sum_exp_is_the_definition(method, seed):
    weights, seen, (q, k, v) = call(method, seed=seed, kind=torch.float64)
    change = change_of(method, seen, weights if method.needs_weights else None, 1)
    wanted = weigh(weights, change) @ v.repeat_interleave(HEADS // GROUPS, 1)
    assert (merged(q, k, v, method, seen, 1) - wanted).abs().max() < 1e-6


@settings(max_examples=40, deadline=None)
@given(methods(), st.integers(0, 1000), st.lists(st.integers(1, 4), min_size=1, max_size=6))
def test_one_pass_is_chunks_and_steps(method, seed, parts):
    """What is added to the scores of a text is the same however it is cut; behind the prompt where it must be whole."""
    total = 14
    _, _, (q, k, _) = call(method, total, seed, torch.float64)
    stream = drawn(seed, total, torch.float64)[3]
    prompt = 9 if method.whole_prompt else 0
    cuts = sorted({prompt, *(prompt + sum(parts[: at + 1]) for at in range(len(parts))), total})
    cuts = [at for at in cuts if 0 < at <= total]

    def run(ends):
        rows, start, kept = [], 0, None
        for end in ends:
            memory = memories(end, torch.float64)
            if kept is not None:
                for group in ("memory", "shared"):
                    for name, value in memory[group].items():
                        value[..., :start] = getattr(kept, group)[name]
            ids = torch.arange(start, end)[None]
            seen = plain_view(HEADS, end - start, end, stream=stream[:, start:end], ids=ids, **memory)
            part = scores_of(q[:, :, start:end], k[:, :, :end])
            if isinstance(method, GIFT):
                method.remember(seen, part.masked_fill(~seen.visible, float("-inf")).softmax(-1), 0)
            mask = calibrated(lambda part=part: part, (method,), seen, 1, part)
            made = (part + mask).softmax(-1)
            rows.append(torch.nn.functional.pad(made, (0, total - end)))
            start, kept = end, seen
        return torch.cat(rows, 2)

    one = run([prompt, total] if prompt else [total])
    assert (run(cuts) - one).abs().max() < 1e-9


@pytest.mark.parametrize(
    "method", [ACT(((1, None),), 1.0), ZeroTuning(((1, None),), 1.0), GIFT(((1, None),), (2, 7), 0.0, (0,))]
)
def test_neutral_factors_change_nothing(method):
    weights, seen, _ = call(method)
    change = change_of(method, seen, weights, 1)
    assert (weigh(weights, change) - weights).abs().max() < 1e-6


def test_methods_are_applied_in_order_and_each_sees_the_one_before():
    first, second = ZeroTuning(((1, None),), 8.0), ACT(((1, None),), 0.2, 0.1)
    weights, seen, (q, k, _) = call(second)
    one = weigh(weights, change_of(first, seen, None, 1))
    wanted = weigh(one, change_of(second, replace(seen, memory=dict(seen.memory)), one, 1))
    mask = calibrated(lambda: scores_of(q, k), (first, second), seen, 1, q)
    assert ((scores_of(q, k) + mask).softmax(-1) - wanted).abs().max() < 1e-6


def test_a_mass_is_a_log_sum_exp():
    weights, seen, (q, k, _) = call(ACT(((1, None),)), kind=torch.float64)
    sets = torch.zeros(1, 1, 1, 12, dtype=torch.bool)
    sets[..., [2, 5]] = True
    scores = scores_of(q, k).masked_fill(~seen.visible, float("-inf"))
    wanted = (scores[..., [2, 5]].logsumexp(-1) - scores.logsumexp(-1)).exp()
    assert isinstance(seen, View)
    assert (masses_of(weights, sets)[..., 0] - wanted).abs().max() < 1e-12


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 1000), st.sets(st.integers(0, 11), min_size=1, max_size=3), number(0.0, 1.0))
def test_few_keys_are_rescaled_in_attention_that_is_there(seed, keys, beta):
    made = ACT(((1, None),), beta, 0.1)
    weights, seen, (q, k, v) = call(made, seed=seed, kind=torch.float64)
    at = sorted(keys)
    seen.memory["act_sink"][:, :, at] = 1
    seen = replace(seen, begins=torch.tensor([False]))
    k, v = (x.repeat_interleave(HEADS // GROUPS, 1) for x in (k, v))
    wanted = weigh(weights, change_of(made, seen, weights, 1)) @ v
    lse = scores_of(q, k[:, ::2]).masked_fill(~seen.visible, float("-inf")).logsumexp(-1)

    def factor(mass):
        return torch.where(mass < 1 - 1e-12, beta * (1 - mass) / (1 - beta * mass).clamp_min(1e-15), 1.0)

    found = rescaled(weights @ v, lse, q, k[:, :, at], v[:, :, at], seen.visible[..., at], factor)
    # A row of which nothing is left within rounding stays as it is; around that, digits are lost.
    mass = weights[..., at].sum(-1, keepdim=True)
    left = 1 + (factor(mass) - 1) * mass
    kept = (left > 1e-6) & (mass < 1 - 1e-12)
    assert torch.where(kept, (found - wanted).abs(), 0.0).max() < 1e-6

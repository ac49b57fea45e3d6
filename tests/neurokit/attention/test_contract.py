"""What registering a pattern promises: the laws that every way to attend to less must keep."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neurokit.attention import PATTERNS, BlockIndex, Call, attend
from neurokit.errors import InputError

SAMPLES = [(f"{name}-{at}", sample) for name, cls in PATTERNS.items() for at, sample in enumerate(cls.samples())]


def cases(holds=lambda sample: True):
    """Patterns of which a law holds, by what they say of themselves."""
    chosen = [(label, sample) for label, sample in SAMPLES if holds(sample)]
    return pytest.mark.parametrize("pattern", [s for _, s in chosen], ids=[i for i, _ in chosen])


CASES = cases()
DRAWN = settings(max_examples=5, deadline=None, derandomize=True)


def calls(seed, pattern, new, length, repeated=True):
    """A call in float64 whose tokens repeat; its queries are the last `new` of `length`.

    Values are multiples of 1/8, so that products are exact and equal keys have equal scores in every order of sums.
    """
    generator = torch.Generator().manual_seed(seed)
    words = torch.randint(0, max(length // 2, 1), (length,), generator=generator) if repeated else torch.arange(length)

    def tokens(heads, width):
        drawn = torch.randn(1, heads, length, width, generator=generator, dtype=torch.float64)
        return (drawn * 8).round()[:, :, words] / 8

    bias = tokens(2, 1)[..., 0] if pattern.traits.needs_bias else None
    return Call(tokens(4, 8)[:, :, length - new :], tokens(2, 8), tokens(2, 6), bias)


def wide(mask, heads):
    return mask.repeat_interleave(heads // mask.shape[1], 1)


@CASES
@DRAWN
@given(seed=st.integers(0, 10**6), length=st.integers(1, 40))
def test_a_budget_of_all_is_dense_attention(pattern, seed, length):
    call = calls(seed, pattern, length, length)
    dense, _ = attend(call.q, call.k, call.v, call.seen()[None, None], call.key_bias)
    assert (pattern.whole(length).attend(call) - dense).abs().max() < 1e-12


@CASES
@DRAWN
@given(seed=st.integers(0, 10**6), length=st.integers(2, 40))
def test_the_set_is_valid_causal_and_the_mask(pattern, seed, length):
    call = calls(seed, pattern, length, length)
    selection = pattern.select(call)
    selection.validate()
    visible = pattern.visible(call)
    assert torch.equal(selection.to_dense().expand_as(visible), visible)
    assert not (visible & ~call.seen()).any()
    assert isinstance(selection, BlockIndex) == (pattern.traits.unit == "blocks")


@cases(lambda sample: sample.traits.causal_safe or sample.step_safe)
@DRAWN
@given(seed=st.integers(0, 10**6), cut=st.integers(1, 39))
def test_later_tokens_change_nothing_before_them(pattern, seed, cut):
    call = calls(seed, pattern, 40, 40)
    other = calls(seed + 1, pattern, 40, 40)

    def mixed(a, b):
        return None if a is None else torch.cat([a[:, :, :cut], b[:, :, cut:]], 2)

    changed = Call(
        mixed(call.q, other.q), mixed(call.k, other.k), mixed(call.v, other.v), mixed(call.key_bias, other.key_bias)
    )
    assert torch.equal(pattern.visible(call)[:, :, :cut, :cut], pattern.visible(changed)[:, :, :cut, :cut])
    assert torch.equal(pattern.attend(call)[:, :, :cut], pattern.attend(changed)[:, :, :cut])


@cases(lambda sample: sample.step_safe)  # other sets belong to a whole call
@DRAWN
@given(seed=st.integers(0, 10**6), cuts=st.lists(st.integers(1, 23), max_size=3, unique=True))
def test_one_pass_is_chunks_and_steps_with_repeated_tokens(pattern, seed, cuts):
    call = calls(seed, pattern, 24, 24)
    visible, out = pattern.visible(call), pattern.attend(call)
    for edges in ([0, *sorted(cuts), 24], list(range(25))):
        for first, last in pairwise(edges):
            part = call.part(first, last)
            assert torch.equal(pattern.visible(part), visible[:, :, first:last, :last])
            assert (pattern.attend(part) - out[:, :, first:last]).abs().max() < 1e-12


@CASES
@DRAWN
@given(seed=st.integers(0, 10**6))
def test_grouped_heads_are_repeated_ones_and_the_error_is_bounded(pattern, seed):
    call = calls(seed, pattern, 32, 32)
    mask = wide(pattern.visible(call), 4)
    k, v = (x.repeat_interleave(2, 1) for x in (call.k, call.v))
    bias = None if call.key_bias is None else call.key_bias.repeat_interleave(2, 1)
    sparse, _ = attend(call.q, k, v, mask, bias)
    assert (attend(call.q, call.k, call.v, mask, call.key_bias)[0] - sparse).abs().max() < 1e-12
    # |full - sparse| <= dropped mass x (largest dropped value + |sparse|), norms over the width of a head.
    full, lse = attend(call.q, k, v, call.seen()[None, None], bias)
    scores = call.q @ k.transpose(-1, -2) * call.factor + (0 if bias is None else bias[:, :, None])
    dropped = call.seen() & ~mask
    mass = ((scores - lse[..., None]).exp() * dropped).sum(-1)
    largest = (v.norm(dim=-1)[:, :, None] * dropped).amax(-1)
    assert ((full - sparse).norm(dim=-1) <= mass * (largest + sparse.norm(dim=-1)) + 1e-12).all()


@CASES
def test_settings_are_documented_and_checked(pattern):
    card = pattern.card
    assert set(card.settings) == set(vars(pattern))
    for text in (card.summary, card.equation, card.source, card.licence, card.sound, card.released, card.cost):
        assert text
    number = next(
        name for name, value in vars(pattern).items() if isinstance(value, int) and not isinstance(value, bool)
    )
    with pytest.raises(InputError):
        replace(pattern, **{number: -1})

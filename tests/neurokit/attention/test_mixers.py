"""What registering a mixer promises: its forms are one function, its state has one size."""

import pytest
import torch

from neurokit.attention import MIXERS

SAMPLES = [(f"{name}-{at}", sample) for name, cls in MIXERS.items() for at, sample in enumerate(cls.samples())]
CASES = pytest.mark.parametrize("mixer", [s for _, s in SAMPLES], ids=[i for i, _ in SAMPLES])


def drawn(new, width=5):
    generator = torch.Generator().manual_seed(new)
    return [torch.randn(2, 4, new, n, generator=generator, dtype=torch.float64) for n in (width, width, 3)]


@CASES
@pytest.mark.parametrize("new", [1, 63, 64, 65, 300])
def test_recurrence_blocks_and_matrix_are_one_function(mixer, new):
    q, k, v = drawn(new)
    exact = mixer.quadratic(q, k, v)
    stepped, state = mixer.recurrent(q, k, v, mixer.start(q, v))
    blocked, other = mixer.block(q, k, v, mixer.start(q, v))
    top = exact.abs().max()
    assert (stepped - exact).abs().max() < 1e-12 * top
    assert (blocked - exact).abs().max() < 1e-12 * top
    assert (state - other).abs().max() <= 1e-12 * state.abs().max()


@CASES
def test_chunks_are_one_pass_and_the_state_never_grows(mixer):
    q, k, v = drawn(70)
    exact, last = mixer.block(q, k, v, mixer.start(q, v))
    state, out = mixer.start(q, v), []
    for first, end in ((0, 1), (1, 20), (20, 20), (20, 69), (69, 70)):
        part, state = mixer.block(*(x[:, :, first:end] for x in (q, k, v)), state)
        out.append(part)
        assert state.shape == last.shape
    assert (torch.cat(out, 2) - exact).abs().max() < 1e-12 * exact.abs().max()
    assert (state - last).abs().max() < 1e-12 * last.abs().max()


@CASES
def test_later_tokens_change_nothing_before_them(mixer):
    q, k, v = drawn(30)
    before = mixer.quadratic(q, k, v)[:, :, :20]
    for x in (q, k, v):
        x[:, :, 20:] += 1
    assert torch.equal(mixer.quadratic(q, k, v)[:, :, :20], before)


@CASES
def test_its_card_is_whole(mixer):
    card = mixer.card
    assert set(card.settings) == set(vars(mixer))
    for text in (card.summary, card.equation, card.source, card.licence, card.sound, card.released, card.cost):
        assert text

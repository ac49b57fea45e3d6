"""Linear attention by its recurrence in float64."""

import numpy as np
import pytest
import torch

from neurokit.attention.linear import linear_attention
from neurokit.errors import InputError


@pytest.mark.parametrize("tokens", [1, 63, 64, 65, 300])
def test_blocks_recurrence_and_the_whole_square_are_one(tokens):
    generator = torch.Generator().manual_seed(tokens)
    q, k, v = (torch.randn(2, 3, tokens, width, generator=generator) for width in (6, 6, 4))
    decay, state = torch.tensor([-0.25, -1e-5, 0.0]), torch.randn(2, 3, 6, 4, generator=generator)
    found, after = linear_attention(q, k, v, decay, state)

    rate, s = np.exp(decay.double().numpy())[:, None, None], state.double().numpy()
    qn, kn, vn = (x.double().numpy() for x in (q, k, v))
    rows = []
    for t in range(tokens):
        s = rate * s + kn[:, :, t, :, None] * vn[:, :, t, None]
        rows.append((qn[:, :, t, None] @ s)[:, :, 0])
    wanted = np.stack(rows, 2)
    assert np.abs(found.numpy() - wanted).max() < 1e-5 * np.abs(wanted).max()
    assert np.abs(after.numpy() - s).max() < 1e-5 * np.abs(s).max()

    apart = np.arange(tokens)[:, None] - np.arange(tokens)
    square = (qn @ kn.swapaxes(-1, -2) * np.where(apart >= 0, rate ** np.maximum(apart, 0), 0)) @ vn
    square += qn * rate ** (np.arange(tokens)[:, None] + 1) @ state.double().numpy()
    assert np.abs(square - wanted).max() < 1e-12 * np.abs(wanted).max()


def test_nothing_changes_in_a_call_of_no_tokens():
    empty, state = torch.zeros(1, 2, 0, 3), torch.randn(1, 2, 3, 3)
    out, after = linear_attention(empty, empty, empty, torch.zeros(2), state)
    assert out.shape == (1, 2, 0, 3)
    assert torch.equal(after, state)


def test_it_is_a_lawful_operation():
    x, state = torch.randn(1, 2, 5, 3), torch.randn(1, 2, 3, 3)
    torch.library.opcheck(linear_attention, (x, x, x, torch.tensor([-0.5, 0.0]), state))


def test_the_fast_path_is_the_definition_without_a_gpu(caplog):
    from neurokit.attention import fast_linear
    from neurokit.attention.mixers.lightning import Lightning

    fast_linear._said.cache_clear()
    q, k, v = (torch.randn(1, 2, 9, 4, dtype=torch.bfloat16) for _ in range(3))
    state = torch.zeros(1, 2, 4, 4, dtype=torch.bfloat16)
    with caplog.at_level("INFO", "neurokit.attention"):
        found = fast_linear.lightning_attention(q, k, v, (-0.5, 0.0), state, 0.5)
    for ours, wanted in zip(found, Lightning((-0.5, 0.0), 0.5).block(q, k, v, state), strict=True):
        assert torch.equal(ours, wanted)
    assert "the definition, because of bfloat16 on cpu" in caplog.text
    with pytest.raises(InputError, match="finite log decay"):
        fast_linear.lightning_attention(q, k, v, (0.5, 0.0), state)

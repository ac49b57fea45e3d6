"""Linear attention by its recurrence in float64."""

import sys
import types

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


@pytest.mark.parametrize("heads_first", [True, False])
def test_the_library_is_given_both_layouts_of_memory_without_a_copy(monkeypatch, heads_first):
    """flash-linear-attention's interface by a recurrence: decays are g_gamma `[H]` or g `[B, T, H]`."""
    from neurokit.attention import fast_linear

    q, k, v, state = torch.randn(2, 3, 9, 4), torch.randn(2, 3, 9, 4), torch.randn(2, 3, 9, 5), torch.randn(2, 3, 4, 5)
    owned = [x if heads_first else x.transpose(1, 2).contiguous().transpose(1, 2) for x in (q, k, v)]
    places = {x.data_ptr() for x in owned}

    def chunk(q, k, v, g=None, g_gamma=None, scale=None, initial_state=None, output_final_state=False):
        assert {x.data_ptr() for x in (q, k, v)} == places
        assert output_final_state
        g = g_gamma.expand(*q.shape[:3]) if g is None else g
        s, rows = initial_state, []
        for t in range(q.shape[1]):
            s = g[:, t, :, None, None].exp() * s + k[:, t, :, :, None] * v[:, t, :, None]
            rows.append(scale * (q[:, t, :, None] @ s)[:, :, 0])
        return torch.stack(rows, 1), s

    for name in ("fla", "fla.ops"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, "fla.ops.simple_gla", types.SimpleNamespace(chunk_simple_gla=chunk))
    monkeypatch.setattr(fast_linear, "_obstacle", lambda q: "")
    decay = (-0.5, -0.01, 0.0)
    found = fast_linear.lightning_attention(*owned, decay, state, 0.5)
    rate = torch.tensor(decay, dtype=torch.float64).exp()[:, None, None]
    s, rows = state.double(), []
    for t in range(9):
        s = rate * s + k[:, :, t, :, None].double() * v[:, :, t, None].double()
        rows.append(0.5 * (q[:, :, t, None].double() @ s)[:, :, 0])
    assert torch.allclose(found[0].double(), torch.stack(rows, 2), atol=1e-5)
    assert torch.allclose(found[1].double(), s, atol=1e-5)

"""Few keys multiplied in a fused kernel's output, against the whole matrix of weights in float64."""

import pytest
import torch

from neurokit.attention.rescale import Ratio, fused_attention
from neurokit.errors import InputError
from neurokit.kernels import config, rescale_keys
from neurokit.kernels.attention_path import calibrated, calibrated_attention


def by_definition(q, k, v, keys, factor):
    size = q.shape[2]
    scores = q.double() @ k.double().transpose(-1, -2) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(torch.ones(size, size, dtype=torch.bool).triu(1), -torch.inf).softmax(-1)
    mass = weights[..., keys].sum(-1, keepdim=True)
    weights[..., keys] *= factor if isinstance(factor, float) else factor(mass)
    return weights / weights.sum(-1, keepdim=True) @ v.double()


def act(mass):
    return 0.4 * (1 - mass) / (1 - 0.4 * mass).clamp_min(1e-6)


ACT = Ratio(0.4, -0.4, 1.0, -0.4)


def test_acts_ratio_is_its_factor():
    mass = torch.linspace(0, 1, 101, dtype=torch.float64)
    assert torch.allclose(ACT(mass), act(mass), atol=1e-15)


@pytest.mark.parametrize(
    ("keys", "factor"),
    [((0,), 4.0), ((0,), 1.0), ((3, 17, 40, 41), act), ((3, 17, 40, 41), ACT)],
    ids=["4", "1", "act", "ratio"],
)
def test_the_corrected_output_is_that_of_the_changed_weights(keys, factor):
    q, k, v = torch.randn(3, 2, 3, 50, 16, generator=torch.Generator().manual_seed(0)).unbind()
    wanted = by_definition(q, k, v, list(keys), factor)
    out = calibrated_attention(q, k, v, torch.tensor(keys), factor)
    assert torch.allclose(out.double(), wanted, atol=2e-6)
    before = fused_attention(q, k, v)[0]
    assert torch.equal(out[:, :, : keys[0]], before[:, :, : keys[0]])  # rows that see none of the keys
    assert (factor == 1.0) == torch.allclose(out, before)


def test_the_log_sum_exps_are_natural():
    q, k, v = torch.randn(3, 1, 2, 9, 8, generator=torch.Generator().manual_seed(1)).unbind()
    scores = q.double() @ k.double().transpose(-1, -2) * 0.5
    hidden = torch.ones(9, 9, dtype=torch.bool).triu(1)
    assert torch.allclose(
        fused_attention(q, k, v, 0.5)[1].double(), scores.masked_fill(hidden, -torch.inf).logsumexp(-1)
    )


def test_long_texts_with_several_keys_take_the_compiled_pass(monkeypatch):
    """On a CPU that pass is plain torch: it gives what the kernel's definition gives."""
    monkeypatch.setattr(calibrated, "COMPILED_FROM", 50)
    assert [calibrated.by_kernel(*case) for case in ((1, 99), (4, 49), (4, 50), (65, 1))] == [True, True, False, False]
    q, k, v = torch.randn(3, 1, 2, 50, 16, generator=torch.Generator().manual_seed(2)).unbind()
    keys = torch.tensor([3, 17, 40, 41])
    wanted = by_definition(q, k, v, keys.tolist(), act)
    assert torch.allclose(calibrated_attention(q, k, v, keys, ACT).double(), wanted, atol=2e-6)
    traced = torch.compile(lambda *given: calibrated._correct(ACT, *given), backend="eager", fullgraph=True)
    out, lse = fused_attention(q, k, v)
    assert torch.allclose(traced(out, lse, q, k, v, keys, 0.25).double(), wanted, atol=2e-6)


@pytest.mark.needs_kernel
@pytest.mark.parametrize("blocks", [2, 8])
def test_a_program_may_take_several_blocks_of_queries(blocks, device, reference):
    """70 queries by blocks of 16: programs that end inside of the text, and one that ends far behind it."""
    from neurokit.kernels.rescale_keys.examples import arguments

    given = (*arguments(1, 4, 2, 70, 90, 16, device, torch.float32), torch.tensor([2, 30, 85], device=device), ACT)
    with config.override("rescale_keys", {"rows": 16, "blocks": blocks}):
        assert torch.allclose(rescale_keys(*given), reference(rescale_keys, *given), atol=2e-6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"keys": torch.zeros(2)}, "keys are torch.float32"),
        ({"keys": torch.arange(65)}, r"\[65\]"),
        ({"lse": torch.zeros(1, 2, 8)}, "do not fit"),
        ({"k": torch.zeros(1, 2, 9, 16, dtype=torch.float16)}, "do not fit"),
        ({"k": torch.zeros(1, 3, 9, 16), "v": torch.zeros(1, 3, 9, 16)}, "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused(change, said):
    x = torch.zeros(1, 2, 9, 16)
    given = {"out": x, "lse": torch.zeros(1, 2, 9), "q": x, "k": x, "v": x, "keys": torch.tensor([0]), **change}
    with pytest.raises(InputError, match=said):
        rescale_keys(**given, ratio=ACT)

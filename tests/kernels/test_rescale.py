"""Few keys multiplied in a fused kernel's output, against the whole matrix of weights in float64."""

import functools

import pytest
import torch

from neurokit.attention.rescale import Ratio, fused_attention
from neurokit.errors import InputError
from neurokit.kernels import rescale_keys
from neurokit.kernels.attention_path import calibrated, calibrated_attention
from neurokit.kernels.rescale_keys import reference


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


def test_what_the_kernel_does_not_take_is_the_compiled_pass():
    """More keys than it has columns for, or a factor that is a function: on a CPU that pass is plain torch."""
    q, k, v = torch.randn(3, 1, 2, 80, 16, generator=torch.Generator().manual_seed(2)).unbind()
    for keys, factor in (([3, 17, 40, 41], act), (list(range(2, 68)), 4.0)):
        assert not calibrated.by_kernel(factor, len(keys))
        wanted, at = by_definition(q, k, v, keys, factor), torch.tensor(keys)
        assert torch.allclose(calibrated_attention(q, k, v, at, factor).double(), wanted, atol=2e-6)
    traced = torch.compile(functools.partial(calibrated._correct, 4.0), backend="eager", fullgraph=True)
    out, lse = fused_attention(q, k, v)
    assert torch.allclose(traced(out, lse, q, k, v, at, 0.25).double(), wanted, atol=2e-6)
    assert calibrated.by_kernel(4.0, 1)
    assert calibrated.by_kernel(ACT, 64)


def test_the_judge_allows_what_a_row_of_sinks_alone_loses_and_no_more():
    """Where the mass m of ACT's sinks comes near to 1, roundings of the output are divided by 1 - m."""
    from neurokit.kernels.rescale_keys.entry import judge
    from neurokit.kernels.rescale_keys.examples import examples

    cases = {case.label: case for case in examples(torch.device("cpu"), torch.float32)}
    case = cases["rows of sinks alone"]
    right = reference.forward(*case.args[:6], 16**-0.5, case.args[6])
    assert right.isfinite().all()
    assert judge(case, [right], [right]) == ""
    wrong = right.clone()
    wrong[0, 0, 4] += 1e-3  # a row with little on the sinks
    assert "off by" in judge(case, [wrong], [right])


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

"""Kernels with a floating-point sum: a decision that differs from float64 must be a near miss of the threshold."""

from __future__ import annotations

import pytest
import torch

from neurokit.kernels import pack, spike_conv_lif, spike_gemv_lif, spike_linear_lif
from neurokit.kernels.contract import normal, spikes
from neurokit.kernels.spike_conv_lif import reference as conv_reference
from neurokit.kernels.spike_conv_lif.examples import weight as conv_weight
from neurokit.kernels.spike_linear_lif import reference as linear_reference
from neurokit.kernels.spike_linear_lif.examples import weight as linear_weight

THRESHOLD = 1.0


def judge(fired, current, bound):
    """Replays the neuron in float64 with the kernel's own spikes, so that one flip does not hide the next.

    Returns the number of decisions that differ; none of them may lie further from the threshold than `bound`.
    """
    v = torch.zeros_like(current[0])
    flips = 0
    for spike, x in zip(fired.bool(), current, strict=True):
        h = v + (x - v) / 2.0
        wrong = (h >= THRESHOLD) != spike
        flips += int(wrong.sum())
        assert float(((h - THRESHOLD).abs() * wrong).max()) <= bound
        v = torch.where(spike, 0.0, h)
    return flips


def sum_bound(inner, weight, scale):
    """2 K 2^-24 times the largest sum of magnitudes, and the roundings of the epilogue."""
    magnitude = float((weight.double().abs().flatten(1).sum(1) * scale.double()).max())
    return 2.0 * inner * 2.0**-24 * magnitude + 8.0 * 2.0**-24 * (magnitude + 1.0)


@pytest.mark.needs_kernel
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_linear_decisions(dtype, device):
    s, w = spikes(4, 130, 96, device=device), linear_weight(80, 96, device, dtype)
    scale, bias = normal(80, device=device).abs() + 0.5, normal(80, device=device) * 0.3
    exact = linear_reference.current(s, w, scale, bias, None, torch.float64)
    bound = sum_bound(96, w, scale)
    for given in (s, pack(s), s.to(dtype)):
        fired, _, current = spike_linear_lif(
            given, w, scale=scale, bias=bias, form="int8", path="fused", want_current=True
        )
        assert 0.03 < fired.float().mean() < 0.97
        judge(fired, exact, bound)
        # Spikes alone are a weak test: the current itself must be the float64 one, rounded once to 16 bits
        # (the interpreter truncates to bfloat16 where a GPU rounds: hence a whole unit).
        unit = 2.0**-10 if dtype == torch.float16 else 2.0**-7
        assert float(((current.double() - exact).abs() - unit * exact.abs()).max()) <= bound


@pytest.mark.needs_kernel
def test_margin_test_finds_a_wrong_threshold(device):
    s, w = spikes(4, 130, 96, device=device), linear_weight(80, 96, device, torch.float16)
    scale = torch.ones(80, device=device)
    exact = linear_reference.current(s, w, scale, None, None, torch.float64)
    fired, _, _ = spike_linear_lif(s, w, scale=scale, form="int8", path="fused", threshold=1.002)
    with pytest.raises(AssertionError):
        judge(fired, exact, sum_bound(96, w, scale))


@pytest.mark.needs_kernel
def test_convolution_decisions(device):
    s, w = spikes(3, 1, 9, 7, 24, device=device), conv_weight(40, 3, 24, device, torch.float16)
    bias, one = normal(40, device=device) * 0.3, torch.ones(40, device=device)
    exact = conv_reference.current(s, w, None, bias, None, 1, 1, torch.float64)
    fired, _ = spike_conv_lif(s, w, bias=bias, padding=1, form="int8", path="fused")
    assert 0.03 < fired.float().mean() < 0.97
    judge(fired, exact, sum_bound(9 * 24, w, one))


@pytest.mark.needs_kernel
def test_gemv_decisions(device):
    s, w = spikes(4, 1, 300, rate=0.1, device=device), linear_weight(70, 300, device, torch.float16)
    exact = linear_reference.current(s, w, None, None, None, torch.float64)
    judge(spike_gemv_lif(s, w.t().contiguous(), path="gather"), exact, sum_bound(300, w, torch.ones(70, device=device)))


def test_gemv_by_the_dense_product(device):
    """The vendor's product is rounded to 16 bits: decisions may differ that much further from the threshold."""
    s, w = spikes(4, 1, 300, rate=0.1, device=device), linear_weight(70, 300, device, torch.float16)
    exact = linear_reference.current(s, w, None, None, None, torch.float64)
    fired = spike_gemv_lif(s, w.t().contiguous(), path="dense")
    assert 0.03 < fired.float().mean() < 0.97
    judge(fired, exact, sum_bound(300, w, torch.ones(70, device=device)) + 8 * 2.0**-11 * float(exact.abs().max()))
    assert torch.equal(fired, spike_gemv_lif(pack(s), w.t().contiguous(), path="dense"))


@pytest.mark.needs_kernel
def test_integer_weights_are_exact(device):
    """int8 weights: the sum is a whole number, so every kernel gives the integer reference's bits."""
    s, w = spikes(4, 70, 200, device=device), linear_weight(40, 200, device, torch.int8)
    scale = torch.full((40,), 2.0**-6, device=device)
    whole = torch.einsum("tmk,nk->tmn", s.double(), w.double()) * 2.0**-6
    v = torch.zeros_like(whole[0])
    expected = []
    for x in whole:
        h = v + (x - v) / 2.0
        expected.append(h >= 1.0)
        v = torch.where(expected[-1], 0.0, h)
    expected = torch.stack(expected)
    assert 0.03 < expected.double().mean() < 0.97
    for given in (s, pack(s)):
        fired, _, current = spike_linear_lif(given, w, scale=scale, form="int8", path="fused", want_current=True)
        assert torch.equal(fired.bool(), expected)
        assert torch.equal(current.double(), whole.to(torch.float16).double())
    assert torch.equal(spike_gemv_lif(s, w.t().contiguous(), scale=scale, path="gather").bool(), expected)

"""Judging kernels with a floating-point sum: near misses pass, everything else fails, however rare."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from neurokit.kernels import checks, pack, spike_conv_lif, spike_gemv_lif, spike_linear_lif
from neurokit.kernels.common.differentiable import neuron
from neurokit.kernels.contract import KERNELS, Example, GradientCase, normal, spikes, tensors
from neurokit.kernels.spike_linear_lif.examples import weight as linear_weight

JUDGED = [name for name in KERNELS.names() if KERNELS.get(name).judge and name.endswith("_lif")]  # with a neuron


def replace_some(share, flip, seed=0):
    """Returns a kernel's own function with a share of one output's values replaced."""

    def plant(function, output):
        def call(*args, **kwargs):
            result = tensors(function(*args, **kwargs))
            wrong = result[output].contiguous().clone()
            flat = wrong.view(-1)
            if flat.numel():
                count = max(1, int(share * flat.numel()))
                where = torch.randperm(flat.numel(), generator=torch.Generator().manual_seed(seed))[:count]
                flat[where] = flip(flat[where])
            result[output] = wrong
            return result

        return call

    return plant


def flipped(values):
    if values.dtype == torch.bool:
        return ~values
    return values ^ 1 if values.dtype == torch.int32 else 1 - values


@pytest.mark.parametrize("name", KERNELS.names())
def test_half_a_percent_of_wrong_values_is_found(name, device, monkeypatch):
    """On the definition itself, so that it runs everywhere: what is judged is the judge."""
    monkeypatch.setenv("NEUROKIT_KERNELS", "reference")
    kernel = KERNELS.get(name)
    flip = flipped if name != "depthwise" else (lambda values: values + 1)
    planted = replace_some(0.005, flip)(kernel.function, 0)
    count, faults = checks.parity(kernel, device, torch.float16, planted)
    examples = kernel.examples(device, torch.float16)
    hit = sum(tensors(kernel.function(*e.args, **e.kwargs))[0].numel() > 0 for e in examples)
    assert len(faults) == hit > 0
    assert checks.parity(kernel, device, torch.float16) == (count, [])


def test_a_membrane_and_a_current_off_by_a_thousandth_are_found(device, monkeypatch):
    monkeypatch.setenv("NEUROKIT_KERNELS", "reference")
    kernel = KERNELS.get("spike_linear_lif")
    s, w = spikes(2, 9, 40, device=device), linear_weight(33, 40, device, torch.float16)
    example = Example("planted", (s, w), {"want_v": True, "want_current": True, "path": "fused"})
    result = tensors(spike_linear_lif(*example.args, **example.kwargs))
    assert kernel.judge(example, result, result) == ""
    assert "membranes" in kernel.judge(example, [result[0], result[1] + 1e-3, result[2]], result)
    assert "currents" in kernel.judge(example, [*result[:2], result[2] * 1.002], result)


@pytest.mark.parametrize("name", JUDGED)
@pytest.mark.parametrize("change", [{"threshold": 1.002}, {"tau": 2.01}, {"v_reset": 0.01}, {"v_reset": None}])
def test_a_wrong_neuron_is_found(name, change, device, monkeypatch):
    monkeypatch.setenv("NEUROKIT_KERNELS", "reference")
    kernel = KERNELS.get(name)
    bigger = {
        "spike_linear_lif": (spikes(4, 130, 96, device=device), linear_weight(80, 96, device, torch.float16)),
        "spike_gemv_lif": (
            spikes(16, 2, 300, rate=0.1, device=device),
            linear_weight(400, 300, device, torch.float16).t().contiguous(),
        ),
        "spike_conv_lif": (
            spikes(4, 2, 16, 16, 24, device=device),
            (normal(40, 3, 3, 24, device=device) / 5).half(),
        ),
    }[name]
    call = {"path": "gather" if name == "spike_gemv_lif" else "fused"}
    wrong = tensors(kernel.function(*bigger, **{**call, **change}))
    right = tensors(kernel.function(*bigger, **call))
    assert kernel.judge(Example("right", bigger, call), right, right) == ""
    assert kernel.judge(Example("wrong", bigger, call), wrong, right) != ""


def test_a_wrong_gradient_is_found(device):
    def ours(x):
        return neuron(x, torch.zeros_like(x[0]), 0.5, surrogate="atan", alpha=2.0)

    def oracle(x):
        return neuron(x, torch.zeros_like(x[0]), 0.5, surrogate="atan", alpha=2.001)

    case = GradientCase("planted", (normal(4, 50, device=device) + 0.3,), ours, oracle)
    assert any("gradient of input 0" in fault for fault in checks.gradient_faults(case))
    assert checks.gradient_faults(dataclasses.replace(case, oracle=ours)) == []


@pytest.mark.needs_kernel
def test_gemv_by_the_dense_product_agrees_with_its_packed_form(device):
    s, w = spikes(4, 1, 300, rate=0.1, device=device), linear_weight(70, 300, device, torch.float16)
    fired = spike_gemv_lif(s, w.t().contiguous(), path="dense")
    assert 0.03 < fired.float().mean() < 0.97
    assert torch.equal(fired, spike_gemv_lif(pack(s), w.t().contiguous(), path="dense"))


@pytest.mark.needs_kernel
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_larger_products_are_judged_too(dtype, device):
    s, w = spikes(4, 130, 96, device=device), linear_weight(80, 96, device, dtype)
    row = {"scale": normal(80, device=device).abs() + 0.5, "bias": normal(80, device=device) * 0.3}
    for given in (s, pack(s), s.to(dtype)):
        call = {**row, "form": "int8", "path": "fused", "want_current": True}
        result = tensors(spike_linear_lif(given, w, **call))
        assert 0.03 < result[0].float().mean() < 0.97
        assert KERNELS.get("spike_linear_lif").judge(Example("", (given, w), call), result, result) == ""
    image = spikes(3, 1, 9, 7, 24, device=device)
    taps = (normal(40, 3, 3, 24, device=device) * 3 / (3 * 24**0.5)).to(dtype)
    call = {"bias": normal(40, device=device) * 0.3, "padding": 1, "form": "int8", "path": "fused"}
    result = tensors(spike_conv_lif(image, taps, **call))
    assert 0.03 < result[0].float().mean() < 0.97
    assert KERNELS.get("spike_conv_lif").judge(Example("", (image, taps), call), result, result) == ""


@pytest.mark.needs_kernel
def test_integer_weights_are_exact(device):
    """int8 weights: the sum is a whole number, so every kernel gives the integer reference's bits."""
    s, w = spikes(4, 70, 72, device=device), linear_weight(40, 72, device, torch.int8)
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
    some = s[:, :6].contiguous()  # of one row a program
    assert torch.equal(spike_gemv_lif(some, w.t().contiguous(), scale=scale, path="gather").bool(), expected[:, :6])

"""Gradients against float64 automatic differentiation of an independently written neuron."""

from __future__ import annotations

import math

import pytest
import torch

from neurokit.kernels import lif, sdsa_lif
from neurokit.kernels.contract import normal, spikes


class Step(torch.autograd.Function):
    """The step function with a surrogate derivative."""

    @staticmethod
    def forward(ctx, z, surrogate, alpha):
        ctx.save_for_backward(z)
        ctx.surrogate, ctx.alpha = surrogate, alpha
        return (z >= 0).to(z.dtype)

    @staticmethod
    def backward(ctx, grad):
        (z,), a = ctx.saved_tensors, ctx.alpha
        if ctx.surrogate == "sigmoid":
            slope = a * torch.sigmoid(a * z) * torch.sigmoid(-a * z)
        elif ctx.surrogate == "atan":
            slope = a / 2 / (1 + (math.pi / 2 * a * z) ** 2)
        else:
            slope = torch.relu(a - a * a * z.abs())
        return grad * slope, None, None


def neuron(x, v, rate, threshold, v_reset, decay_input, surrogate, alpha, detach):
    """The neuron in any precision, differentiable."""
    rest = 0.0 if v_reset is None else v_reset
    out = []
    for now in x:
        h = v + now
        if rate is not None:
            h = v + (now - (v - rest)) * rate if decay_input else v - (v - rest) * rate + now
        s = Step.apply(h - threshold, surrogate, alpha)
        out.append(s)
        held = s.detach() if detach else s
        v = h - held * threshold if v_reset is None else held * v_reset + (1 - held) * h
    return torch.stack(out), v


def relative(a, b):
    return float((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-30))


CASES = [
    ("sigmoid", 4.0, False, 2.0, 0.0, True),
    ("atan", 2.0, True, 2.0, 0.0, True),
    ("triangle", 1.0, False, 4.0, None, True),
    ("atan", 2.0, False, 4.0, 0.25, False),
    ("sigmoid", 4.0, True, None, None, True),
    ("sigmoid", 4.0, False, "plif", 0.0, True),
    ("atan", 2.0, False, "plif", None, False),
]


@pytest.mark.needs_kernel
@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("steps", [1, 4, 16])
def test_lif_gradients(case, steps, device):
    surrogate, alpha, detach, tau, v_reset, decay_input = case
    make = lambda *shape: (normal(*shape, device=device) + 0.3).requires_grad_()  # noqa: E731
    x, v0, res = make(steps, 5, 24), make(5, 24), make(steps, 5, 24)
    scale, bias = make(24), make(24)
    decay = torch.tensor(0.3, device=device, requires_grad=True) if tau == "plif" else None
    out, v, y = lif(
        x,
        v0,
        scale=scale,
        bias=bias,
        residual=res,
        tau=None if tau == "plif" else tau,
        decay=decay,
        v_reset=v_reset,
        decay_input=decay_input,
        surrogate=surrogate,
        alpha=alpha,
        detach_reset=detach,
        want_current=True,
    )
    g, gv, gy = normal(steps, 5, 24, device=device), normal(5, 24, device=device), normal(steps, 5, 24, device=device)
    inputs = [t for t in (x, v0, res, scale, bias, decay) if t is not None]
    ours = torch.autograd.grad((out * g).sum() + (v * gv).sum() + (y * gy).sum(), inputs)

    doubles = [t.detach().double().requires_grad_() for t in inputs]
    x64, v64, res64, scale64, bias64 = doubles[:5]
    rate = doubles[5] if tau == "plif" else (None if tau is None else 1.0 / tau)
    y64 = x64 * scale64 + bias64 + res64
    out64, last64 = neuron(y64, v64, rate, 1.0, v_reset, decay_input, surrogate, alpha, detach)
    assert torch.equal(out64.float(), out)
    loss = (out64 * g.double()).sum() + (last64 * gv.double()).sum() + (y64 * gy.double()).sum()
    for mine, theirs in zip(ours, torch.autograd.grad(loss, doubles), strict=True):
        assert relative(mine, theirs) < 2e-5


@pytest.mark.needs_kernel
@pytest.mark.parametrize("mode", ["qkv", "hadamard"])
def test_sdsa_gradients(mode, device):
    q, k, v = (
        spikes(3, 2, 9 + i, 32, rate=0.25, device=device, dtype=torch.float32)[:, :, i:].clone().requires_grad_()
        for i in range(3)
    )
    threshold = 0.5 if mode == "qkv" else 0.1
    out = sdsa_lif(q, k, v, 2, mode=mode, threshold=threshold)
    g = normal(3, 2, 9, 32, device=device)
    ours = torch.autograd.grad((out * g).sum(), (q, k, v))
    q64, k64, v64 = (t.detach().double().requires_grad_() for t in (q, k, v))
    if mode == "qkv":
        heads = [t.unflatten(3, (2, 16)) for t in (q64, k64, v64)]
        x = torch.einsum("tbnhd,tbmhd,tbmhe->tbnhe", *heads).flatten(3) * 0.125
    else:
        x = (k64 * v64).sum(2) * 0.125
    fired, _ = neuron(x, torch.zeros_like(x[0]), 0.5, threshold, 0.0, True, "sigmoid", 4.0, False)
    expected = fired if mode == "qkv" else q64 * fired.unsqueeze(2)
    assert torch.equal(expected.float(), out)
    assert 0.02 < float(out.detach().mean()) < 0.98
    for mine, theirs in zip(ours, torch.autograd.grad((expected * g.double()).sum(), (q64, k64, v64)), strict=True):
        assert relative(mine, theirs) < 1e-5

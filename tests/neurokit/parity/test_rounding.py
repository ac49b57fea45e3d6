"""The rounding bound really bounds: float32 in any order against float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neurokit.parity.magnitudes import roundings_for
from neurokit.parity.rounding import UNIT, Magnitude, analyse, gamma
from neurokit.parity.units import unit_of
from neurokit.program.passes import NO_CHECKS, apply
from neurokit.program.readable import readable


def bound_and_value(module: nn.Module, *inputs: torch.Tensor):
    """Returns the bound on the outputs' error, the float64 outputs, and whether the bound is proven."""
    module = module.eval()
    program = torch.export.export(module, inputs, strict=False).module()
    _, outputs = analyse(program, [], inputs)
    with torch.no_grad():
        exact = module.double()(*(value.double() for value in inputs))
    return outputs[0].error(), exact, outputs[0].rigorous


class Chain(nn.Module):
    """Convolution, normalisation, shortcut, pooling and a read-out: what lies between two neurons."""

    def __init__(self, channels: int, seed: int) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.conv = nn.Conv2d(channels, channels, 3, padding=1)
        self.bn = nn.BatchNorm2d(channels)
        self.bn.running_mean.normal_()
        self.bn.running_var.uniform_(0.3, 3.0)
        self.fc = nn.Linear(channels * 4, 5)

    def forward(self, x):
        y = x + self.bn(self.conv(x)) * 1.7
        return self.fc(F.avg_pool2d(y, 2).flatten(1))


def test_what_is_kept_from_one_walk_to_the_next_changes_no_bound():
    module = Chain(3, 5).eval()
    program = torch.export.export(module, (torch.rand(2, 3, 4, 4),), strict=False)
    held = readable(program)
    for seed in range(3):
        x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(seed))
        (again,), (anew,) = analyse(held, [], (x,))[1], analyse(program.module(), [], (x,))[1]
        assert torch.equal(again.error(), anew.error())
        assert (again.roundings, again.rigorous) == (anew.roundings, anew.rigorous)
    assert {key[0] for key in held.kept.found if isinstance(key, tuple)} == {"magnitudes", "normalisation"}


@settings(max_examples=8, deadline=None)
@given(channels=st.integers(1, 24), seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_float32_stays_within_the_bound(channels, seed, scale):
    module = Chain(channels, seed)
    x = (torch.rand(2, channels, 4, 4, generator=torch.Generator().manual_seed(seed)) * 2 - 1) * scale
    with torch.no_grad():
        found = module.eval()(x)
    bound, exact, rigorous = bound_and_value(module, x)
    assert rigorous
    error = (found.double() - exact).abs()
    assert bool((error <= bound).all())


@settings(max_examples=20, deadline=None)
@given(count=st.integers(2, 4000), seed=st.integers(0, 10_000))
def test_any_order_of_summation_stays_within_the_bound(count, seed):
    rng = np.random.default_rng(seed)
    weights = rng.standard_normal(count).astype(np.float32)
    inputs = rng.standard_normal(count).astype(np.float32)
    products = (weights * inputs)[rng.permutation(count)]
    total = np.float32(0)
    for product in products:  # one after the other: the worst order
        total = np.float32(total + product)
    exact = math.fsum(np.float64(w) * np.float64(x) for w, x in zip(weights, inputs, strict=True))
    size = math.fsum(abs(float(w) * float(x)) for w, x in zip(weights, inputs, strict=True))
    assert abs(float(total) - exact) <= gamma(count + 1) * size


class Limited(nn.Module):
    """Twelve layers whose sums of magnitudes would grow without end if limits were not seen."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(12))

    def forward(self, x):
        for at, each in enumerate(self.layers):
            y = each(x) * 4.0
            x = F.relu6(y) if at % 3 == 0 else y.clamp(-2.0, 3.0) if at % 3 == 1 else F.hardtanh(y)
        return x


def test_limits_keep_a_bound_small():
    module = Limited()
    x = torch.randn(16, 64)
    with torch.no_grad():
        found = module.eval()(x)
    bound, exact, rigorous = bound_and_value(module, x)
    assert rigorous
    error = (found.double() - exact).abs()
    assert bool((error <= bound).all())
    assert float(bound.max()) < 2.2  # two numbers in [-1, 1] are no further apart than 2


@given(share=st.floats(1e-9, 10.0))
def test_so_many_roundings_have_at_least_that_error(share):
    assert gamma(roundings_for(share)) >= share * (1 - 1e-9)


def test_the_bound_is_not_absurd():
    module = Chain(16, 3)
    x = torch.rand(4, 16, 4, 4)
    with torch.no_grad():
        found = module.eval()(x)
    bound, exact, _ = bound_and_value(module, x)
    seen = float((found.double() - exact).abs().max())
    assert float(bound.max()) < 1e5 * seen


def test_gamma_takes_the_smaller_of_both_bounds():
    assert gamma(0) == 0.0
    assert gamma(1) == pytest.approx(UNIT, rel=1e-6)
    assert gamma(10_000) < 10_000 * UNIT
    assert gamma(10_000) == pytest.approx(10 * math.sqrt(10_000) * UNIT, rel=1e-2)
    assert all(gamma(n) <= gamma(n + 1) for n in range(500))


class Gate(nn.Module):
    def forward(self, x):
        return torch.sigmoid(x) * x


def test_an_operation_outside_the_analysis_is_not_called_proven():
    _, _, rigorous = bound_and_value(Gate(), torch.rand(3, 4))
    assert not rigorous


class Moves(nn.Module):
    def forward(self, x):
        return torch.cat([x.flip(1), x.transpose(0, 1).reshape(3, 4)]).relu()


def test_moving_numbers_costs_no_rounding():
    x = torch.randn(3, 4)
    program = torch.export.export(Moves(), (x,), strict=False).module()
    _, outputs = analyse(program, [], (x,))
    assert outputs[0].roundings == 0
    assert outputs[0].rigorous


@pytest.mark.parametrize(
    ("dtype", "unit"), [(torch.float16, 2.0**-11), (torch.bfloat16, 2.0**-8), (torch.float64, 2.0**-53)]
)
def test_the_unit_is_that_of_the_networks_own_type(dtype, unit):
    """A sum in that type, in every order of many, stays within the bound; the float32 bound would not hold it."""
    assert unit_of(dtype) == unit
    terms = torch.rand(40, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(dtype)
    exact = float(terms.double().sum()) if dtype != torch.float64 else math.fsum(terms.tolist())
    bound = float(Magnitude(terms.abs().sum(), 41, unit=unit).error())
    for seed in range(20):
        total = torch.zeros((), dtype=dtype)
        for at in torch.randperm(40, generator=torch.Generator().manual_seed(seed)):
            total = total + terms[at]
        assert abs(float(total) - exact) <= bound
    assert bound < 41 * unit * exact * 1.2


def test_bounds_of_coarse_types_stay_numbers():
    assert gamma(3000, 2.0**-11) > 0.0
    assert gamma(10**9, 2.0**-8) > 1.0


def test_places_are_whole_numbers_with_a_bound_like_others():
    bound = Magnitude(torch.tensor([3, 0]), 64, rigorous=False).error()
    assert bound.dtype == torch.float32
    assert bound[0] > 0


class MaskedShares(nn.Module):
    """Attention in which a mask, or what is computed, leaves pairs out."""

    def __init__(self, computed: bool) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.q, self.k, self.computed = nn.Linear(8, 8), nn.Linear(8, 8), computed
        self.register_buffer("mask", torch.tril(torch.ones(6, 6)))

    def forward(self, x):
        pairs = self.q(x) @ self.k(x).transpose(-2, -1) / 8**0.5
        hidden = (pairs.abs() > 50.0) | (self.mask == 0) if self.computed else self.mask == 0
        return pairs.masked_fill(hidden, float("-inf")).softmax(-1) @ x


@pytest.mark.parametrize("computed", [False, True])
def test_what_a_mask_leaves_out_has_no_share_and_no_say_in_the_bound(computed):
    module = MaskedShares(computed)
    x = torch.rand(2, 6, 8, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        found = module.eval()(x)
    bound, exact, _ = bound_and_value(module, x)
    assert bool(bound.isfinite().all())
    assert bool(((found.double() - exact).abs() <= bound).all())
    assert 0.0 < float(bound.max()) < 1e-2


class Computed(nn.Module):
    """Elements of a table, and ones, at places that are computed from real numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(6, 3)

    def forward(self, x):
        places = torch.round(5.0 * (1.0 - x)).long()  # a magnitude of it is 10, which is no place
        return self.table(places).sum(-1) + F.one_hot(places, 6).to(x.dtype).sum(-1)


def test_a_magnitude_is_no_place():
    module = Computed()
    x = torch.rand(4, 7)
    program = torch.export.export(module.eval(), (x,), strict=False)
    apply(program, NO_CHECKS)
    _, (found,) = analyse(program.module(), [], (x,))
    bound, exact, rigorous = found.error(), module.double()(x.double()), found.rigorous
    assert bound.shape == exact.shape
    assert not rigorous
    assert bool((bound > 0).all())
    assert float(bound.max()) < 1e-3

"""A division by a time constant: what corrections of a product give, where they stand, on a GPU for every float32."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurokit.kernels import lif, spike_conv_lif, spike_linear_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.common.neuron import leak_arguments

from .conftest import ON_GPU

TAUS = (4 / 3, 1.1, 1.9999999, 3.0, 7.0, 20.0, 255.0)
compiles = pytest.mark.skipif(INTERPRET, reason="the interpreter rounds a fused product twice, and divides")


def fused(a, b, c):
    """Returns a * b + c of float32 rounded once: by float64 rounded to odd, from which float32 is rounded rightly.

    The product is exact in float64, and so is the error of the sum (Knuth's TwoSum).
    """
    product, other = a.astype(np.float64) * b, c.astype(np.float64)
    total = product + other
    part = total - product
    error = (product - (total - part)) + (other - part)
    even = (total.view(np.int64) & 1) == 0
    towards = np.where(error > 0, np.inf, -np.inf)
    return np.where((error != 0) & even, np.nextafter(total, towards), total).astype(np.float32)


def corrected(y, by):
    """Returns what `divided` computes, of float32."""
    inverse = (np.float64(1) / by).astype(np.float32)
    quotient = y * inverse
    rest = fused(-quotient, by, y)
    near = fused(rest, inverse, quotient)
    nearest = fused(fused(-near, by, y), inverse, near)
    return np.where(np.abs(rest) > 0, nearest, quotient)


@pytest.mark.parametrize("tau", TAUS)
def test_corrections_round_as_a_division_does(tau):
    """The oracle is a float64 quotient, whose rounding to float32 is the exact one's (53 bits >= 2 * 24 + 2)."""
    by = np.float32(tau)
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1 << 19, dtype=np.uint32)
    y = np.concatenate([bits.view(np.float32), np.float32([0.0, 1.0, tau, 2.0**-100, -(2.0**100)])])
    y = y[np.isfinite(y) & ((np.abs(y) >= 2.0**-100) | (y == 0))]
    with np.errstate(all="ignore"):
        wanted = (y.astype(np.float64) / by).astype(np.float32)
        assert np.array_equal(corrected(y, by).view(np.int32), wanted.view(np.int32))
        assert not np.array_equal((y * (np.float64(1) / by).astype(np.float32)), wanted)  # the product alone is not it


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"tau": 2.0, "steps_from_rest": 4}, 1),
        ({"tau": 3.0, "steps_from_rest": 4}, 4),
        ({"tau": 3.0, "steps_from_rest": 8}, 4),
        ({"tau": 3.0, "steps_from_rest": 9}, 2),
        ({"tau": 3.0}, 2),
        ({"tau": None, "steps_from_rest": 4}, 0),
    ],
)
def test_few_steps_from_rest_alone_are_divided_by_corrections(given, kind):
    assert leak_arguments(has_decay=False, **given)[0] == kind
    assert leak_arguments(has_decay=True, decay=0.5, **given) == (3, 0.5)


CALLS = {
    "a sequence": lambda: lif(torch.zeros(4, 2, 64), tau=3.0),
    "a convolution": lambda: spike_conv_lif(
        torch.zeros(4, 2, 14, 14, 64).half(), torch.zeros(64, 3, 3, 64).half(), padding=1, form="same", tau=3.0
    ),
    "a product": lambda: spike_linear_lif(
        torch.zeros(4, 16, 64).half(), torch.zeros(64, 64).half(), form="same", tau=3.0, path="fused"
    ),
}
OTHERS = {
    "of a membrane": lambda: lif(torch.zeros(4, 2, 64), torch.ones(2, 64), tau=3.0),
    "of many steps": lambda: lif(torch.zeros(16, 2, 64), tau=3.0),
    "of a product's membrane": lambda: spike_linear_lif(
        torch.zeros(4, 16, 64).half(), torch.zeros(64, 64).half(), v0=torch.ones(16, 64), tau=3.0, path="fused"
    ),
}


def _divisions(offline, call):
    with offline.capture(90) as done:
        call()
    (one,) = done
    return one.count(r"div\.rn\.f32")


@compiles
@pytest.mark.parametrize("name", CALLS)
def test_one_division_is_left_in_the_code(name, offline):
    """That of the time constant's inverse."""
    assert _divisions(offline, CALLS[name]) == 1


@compiles
@pytest.mark.parametrize("name", OTHERS)
def test_membranes_that_may_be_tiny_are_divided(name, offline):
    assert _divisions(offline, OTHERS[name]) > 1


@pytest.mark.gpu
@pytest.mark.skipif(not ON_GPU, reason="needs a CUDA GPU")
@pytest.mark.parametrize("tau", TAUS)
def test_every_number_on_a_gpu(tau):
    """One step from rest of an IF neuron that leaks: its membrane is the quotient, of each of the 2^32 patterns."""
    for first in range(-(2**31), 2**31, 2**27):
        y = torch.arange(first, first + 2**27, device="cuda", dtype=torch.int64).to(torch.int32).view(torch.float32)
        y = y[y.isfinite() & ((y.abs() >= 2.0**-100) | (y == 0))]
        _, v, _ = lif(y[None], tau=tau, threshold=3.3e38, v_reset=None, want_v=True)
        assert torch.equal(v, y / torch.tensor(tau, device="cuda"))

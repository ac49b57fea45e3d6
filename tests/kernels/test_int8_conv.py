"""The int8 convolution by boxes against whole numbers, and the boxes it chooses."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from neurokit.errors import InputError
from neurokit.kernels import spike_conv_lif
from neurokit.kernels.checks import definitions
from neurokit.kernels.spike_conv_lif import boxes

# Membranes are whole numbers of this power of two: each step of a LIF of tau = 2 may need one bit more.
FINE = 30


def whole_numbers(spikes, weight, exponent, bias, stride, padding, leak, v_reset, threshold):
    """Returns the spikes of an integer network, computed by Python's integers; bias, reset and threshold in 2**-8."""
    steps, batch, height, width, _ = spikes.shape
    cols, kernel = weight.shape[:2]
    padded = np.pad(spikes, ((0, 0), (0, 0), (padding, padding), (padding, padding), (0, 0))).astype(np.int64)
    tall, wide = ((size + 2 * padding - kernel) // stride + 1 for size in (height, width))
    sums = np.zeros((steps, batch, tall, wide, cols), np.int64)
    for dy, dx in itertools.product(range(kernel), range(kernel)):
        part = padded[:, :, dy : dy + stride * tall : stride, dx : dx + stride * wide : stride]
        sums += (part[:, :, :tall, :wide] @ weight[:, dy, dx].T.astype(np.int64)).astype(np.int64)
    unit = lambda number: int(number) << (FINE - 8)  # noqa: E731
    current = (sums << (FINE + exponent)) + np.vectorize(unit, otypes=[np.int64])(bias)
    rest = 0 if v_reset is None else unit(v_reset)
    v = np.full(sums.shape[1:], rest, np.int64)
    fired = np.zeros(sums.shape, np.int8)
    for t in range(steps):
        charged = (current[t] - (v - rest)) if leak else current[t]
        assert not leak or (charged % 2**leak == 0).all(), "the grid is too coarse for this leak"
        h = v + (charged >> leak)
        fired[t] = h >= unit(threshold)
        v = np.where(fired[t] > 0, h - unit(threshold) if v_reset is None else rest, h)
    return fired


@pytest.mark.needs_kernel
@pytest.mark.parametrize(
    ("steps", "kernel", "stride", "channels", "cols", "leak", "v_reset", "path"),
    [
        (2, 3, 1, 84, 16, 1, 0.0, "boxes"),  # a block of 64 channels and a tail of 20
        (6, 3, 2, 16, 80, 0, None, "boxes"),
        (3, 3, 2, 16, 24, 0, None, "fused"),
        pytest.param(8, 5, 2, 32, 64, 1, None, "boxes", marks=pytest.mark.heavy_interpreted),
        pytest.param(4, 7, 1, 96, 32, 1, -32, "boxes", marks=pytest.mark.heavy_interpreted),
    ],
)
def test_kernels_give_the_spikes_of_whole_numbers(steps, kernel, stride, channels, cols, leak, v_reset, path, device):
    """And their sums with the counts of a shortcut, up to the largest that int8 holds."""
    random = np.random.default_rng(steps)
    spikes = random.integers(0, 3, (steps, 3, 5, 7, channels)).astype(np.int8)
    weight = random.integers(-127, 128, (cols, kernel, kernel, channels)).astype(np.int8)
    exponent = np.where(np.arange(cols) % 2, -10, -11)
    bias = random.integers(-64, 64, cols)
    reset = None if v_reset is None else v_reset
    expected = whole_numbers(spikes, weight, exponent, bias, stride, kernel // 2, leak, reset, 256)
    assert 0.05 < expected.mean() < 0.95
    counts = random.integers(0, 127, expected.shape).astype(np.int8)
    given: dict[str, Any] = {
        "scale": torch.from_numpy(2.0**exponent).float().to(device),
        "bias": torch.from_numpy(bias / 256).float().to(device),
        "stride": stride,
        "padding": kernel // 2,
        "tau": 2.0**leak if leak else None,
        "v_reset": None if v_reset is None else v_reset / 256,
        "form": "int8",
        "path": path,
    }
    operands = (torch.from_numpy(spikes).to(device), torch.from_numpy(weight).to(device))
    fired, _ = spike_conv_lif(*operands, **given)
    assert torch.equal(fired.cpu(), torch.from_numpy(expected))
    summed, _ = spike_conv_lif(*operands, **given, beside=torch.from_numpy(counts).to(device))
    assert torch.equal(summed.cpu(), torch.from_numpy(expected + counts))


@pytest.mark.needs_kernel
@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize("rounds", [False, True])
def test_a_shortcut_through_descriptors_is_the_definition(rounds, repeated, device, monkeypatch):
    """Of many neurons residual and current go as boxes, those at the border and beyond the last column among them.

    Counts beside the spikes go by pointers all the same.
    """
    monkeypatch.setattr(boxes, "FEW", 0)
    generator = torch.Generator().manual_seed(2)
    spikes = (torch.rand(3, 2, 5, 6, 32, generator=generator) < 0.3).to(torch.int8).to(device)
    weight = torch.randint(-127, 128, (48, 3, 3, 32), generator=generator, dtype=torch.int8).to(device)
    residual = (torch.randn(3, 2, 5, 6, 48, generator=generator) * 64).round().to(device) / 256
    residual = residual[:1].expand(3, -1, -1, -1, -1) if repeated else residual
    given = {
        "scale": torch.full((48,), 2.0**-7, device=device),
        "residual": residual,
        "padding": 1,
        "form": "int8",
        "want_current": True,
        "grid": 2.0**-4,
        "low": -4.0,
        "high": 4.0,
        "rounds": rounds,
    }
    counts = torch.randint(0, 127, residual.shape, generator=generator, dtype=torch.int8).to(device)
    fired, current = spike_conv_lif(spikes, weight, path="boxes", beside=counts, **given)
    with definitions():
        wanted = spike_conv_lif(spikes, weight, beside=counts, **given)
    assert torch.equal(fired, wanted[0])
    assert torch.equal(current, wanted[1])
    assert 0.05 < float((fired - counts).float().mean()) < 0.95


@pytest.mark.needs_kernel
@pytest.mark.parametrize(
    ("shape", "cols", "stride", "form", "why"),
    [
        ((9, 1, 4, 4, 16), 16, 1, "int8", "9 steps"),
        ((2, 1, 4, 4, 16), 20, 1, "int8", "multiple of 8"),
        ((2, 1, 4, 4, 16), 16, 3, "int8", "stride 3"),
        ((2, 1, 4, 4, 16), 16, 1, "packed", "form 'packed'"),
    ],
)
def test_what_boxes_cannot_take_is_refused_or_goes_by_pointers(shape, cols, stride, form, why, device):
    spikes = torch.ones(shape, dtype=torch.int8, device=device)
    weight = torch.ones((cols, 1, 1, shape[-1]), dtype=torch.int8, device=device)
    with pytest.raises(InputError, match=why):
        spike_conv_lif(spikes, weight, stride=stride, form=form, path="boxes")
    fired, _ = spike_conv_lif(spikes, weight, stride=stride, form=form)
    assert bool((fired if form == "int8" else fired & 1).all())  # 16 at every pixel is far above the threshold


@pytest.mark.parametrize("pixels", [2, 32, 64, 256])
@pytest.mark.parametrize("size", [7, 14, 28, 56, 112])
def test_boxes_leave_the_fewest_lanes_idle(pixels, size):
    def covered(box):
        return np.prod([-(-whole // side) * side for whole, side in zip((32, size, size), box, strict=True)])

    sides = [2**i for i in range(9)]
    every = [box for box in itertools.product(sides, sides, sides) if np.prod(box) == pixels]
    chosen = boxes.divide(pixels, 32, size, size)
    assert chosen in every
    least = min(covered(box) for box in every)
    assert covered(chosen) == least
    met = lambda box: box[0] * (box[1] + 2) * (box[2] + 2)  # noqa: E731 - pixels that a 3x3 kernel meets
    assert met(chosen) == min(met(box) for box in every if covered(box) == least)


@pytest.mark.parametrize("channels", [32, 64, 96, 128, 160, 192, 384, 480, 736])
def test_blocks_cover_all_channels(channels):
    block, tail = boxes.blocks_of(channels)
    whole = -(-channels // block) * block if tail == 0 else channels // block * block + tail
    assert {block, tail} <= {0, 32, 64, 128}
    assert channels <= whole <= max(channels + 32, 1.07 * channels)


@pytest.mark.parametrize(("both", "fit"), [((4, 4), False), ((2, 0), True), ((0, 0), True)])
def test_a_residual_and_a_current_that_do_not_fit_go_by_pointers(both, fit):
    """Of one step a tile of 512 pixels has twice 128 KB of them, and a multiprocessor of Hopper 227 KB."""
    chosen = {"images": 8, "tall": 8, "wide": 8, "cols": 64, "block_k": 64, "tail_k": 0}
    assert boxes.fits(chosen, 1, 1, both) is fit

"""Convolutions of numbers from 0 to 255 that are held as int8, less 128: against whole numbers."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch

from neurokit.errors import InputError
from neurokit.kernels import spike_conv_lif
from neurokit.kernels.spike_conv_lif.borders import corrections

# Kernel, stride, padding, channels, height, width.
CONVOLUTIONS = [
    (3, 1, 1, 32, 6, 7),
    (3, 1, 1, 20, 2, 1),  # of which every pixel is at two borders
    (3, 2, 1, 32, 9, 10),
    (1, 2, 0, 48, 7, 6),
    (1, 1, 0, 32, 5, 9),
    (5, 1, 0, 16, 8, 9),
    (7, 2, 3, 3, 14, 17),  # by cells
    pytest.param(7, 2, 3, 16, 11, 14, marks=pytest.mark.heavy_interpreted),
    (7, 2, 3, 3, 4, 5),
]


def convolved(numbers, weight, stride, padding):
    """Returns the convolution of `[T, B, H, W, C]` with `[N, k, k, C]` in NumPy's 64 bits, tap by tap."""
    kernel = weight.shape[1]
    padded = np.pad(numbers.astype(np.int64), ((0, 0), (0, 0), (padding, padding), (padding, padding), (0, 0)))
    tall, wide = ((size - kernel) // stride + 1 for size in padded.shape[2:4])
    sums = np.zeros((*numbers.shape[:2], tall, wide, len(weight)), np.int64)
    for dy, dx in itertools.product(range(kernel), range(kernel)):
        part = padded[:, :, dy : dy + stride * tall : stride, dx : dx + stride * wide : stride][:, :, :tall, :wide]
        sums += part @ weight[:, dy, dx].T.astype(np.int64)
    return sums


@pytest.mark.needs_kernel
@pytest.mark.parametrize("path", ["boxes", "fused"])
@pytest.mark.parametrize(("kernel", "stride", "padding", "channels", "height", "width"), CONVOLUTIONS)
def test_sums_of_numbers_less_128_are_those_of_the_numbers(
    kernel, stride, padding, channels, height, width, path, device
):
    """What comes out, as bytes, levels and sums, is rounded of those; in the second step all numbers are 0 or 255."""
    random = np.random.default_rng(kernel + stride)
    numbers = random.integers(0, 256, (2, 2, height, width, channels))
    numbers[1] = numbers[1] // 128 * 255
    weight = random.integers(-127, 128, (32, kernel, kernel, channels))
    weight[:4] = 127  # the largest sums
    sums = convolved(numbers, weight, stride, padding)
    bias, residual = random.integers(-64, 64, 32), random.integers(-3000, 3000, sums.shape)
    exponent = 4 + int(kernel * channels**0.5).bit_length()
    scaled = sums * 2.0**-exponent + bias / 8 + residual / 8
    held = torch.from_numpy((numbers - 128).astype(np.int8)).to(device)
    whole = torch.from_numpy(weight.astype(np.int8)).to(device)
    given = {
        "scale": torch.full((32,), 2.0**-exponent, device=device),
        "bias": torch.from_numpy(bias / 8).float().to(device),
        "residual": torch.from_numpy(residual / 8).float().to(device),
        "corrections": corrections(whole, stride, padding, height, width),
        "stride": stride,
        "padding": padding,
        "tau": None,
        "grid": 4.0,
        "low": 0.0,
        "path": path,
        "want_current": True,
    }
    wanted = np.round(np.clip(scaled, 0, 4.0 * 255) / 4.0)
    forms = (("bytes", 255 * 4.0, 255, 128), ("levels8", 127 * 4.0, 127, 0))
    for form, high, most, less in forms if kernel == 1 else forms[:1]:
        found, current = spike_conv_lif(held, whole, form=form, high=high, **given)
        assert found.dtype == torch.int8
        assert torch.equal(found.cpu().long(), torch.from_numpy(np.minimum(wanted, most)).long() - less)
        assert torch.equal(current.cpu().double(), torch.from_numpy(scaled))
    assert len(np.unique(wanted)) > 20


@pytest.mark.needs_kernel
def test_a_tile_of_many_images_and_one_across_the_last_row_find_their_classes(device, monkeypatch):
    """Tiles of the parameters that large batches have, of which no row or column of tiles ends with the image."""
    from neurokit.kernels import config

    random = np.random.default_rng(0)
    weight = random.integers(-127, 128, (16, 3, 3, 32))
    whole = torch.from_numpy(weight.astype(np.int8)).to(device)
    sizes = {"cols": 16, "block_k": 32, "tail_k": 0, "waves": 0, "num_warps": 4, "num_stages": 2}
    for height, width, images, tall, wide in ((7, 10, 4, 2, 4), (7, 10, 1, 4, 8), (2, 1, 16, 1, 1), (1, 3, 8, 1, 2)):
        numbers = random.integers(0, 256, (1, 5, height, width, 32))
        sums = convolved(numbers, weight, 1, 1)
        held = torch.from_numpy((numbers - 128).astype(np.int8)).to(device)
        given = {"corrections": corrections(whole, 1, 1, height, width), "padding": 1, "tau": None, "form": "int8"}
        chosen = {"images": images, "tall": tall, "wide": wide, **sizes}
        with config.override("spike_conv_lif_boxes", chosen):
            _, current = spike_conv_lif(held, whole, path="boxes", want_current=True, **given)
        assert torch.equal(current.cpu().double(), torch.from_numpy(sums).double())


def test_corrections_are_told_apart_from_those_of_another_convolution():
    x, w = torch.zeros(1, 1, 6, 6, 16, dtype=torch.int8), torch.ones(16, 3, 3, 16, dtype=torch.int8)
    table = corrections(w, 1, 1, 6, 6)
    assert table.shape == (1 + 3 * 3, 16)
    assert sorted(table[1:, 0].unique().tolist()) == [128 * 16 * taps for taps in (4, 6, 9)]
    with pytest.raises(InputError, match="corrections"):
        spike_conv_lif(x, w, corrections=table, stride=2, padding=1, form="int8")
    with pytest.raises(InputError, match="corrections beside"):
        spike_conv_lif(x.half(), w.half(), corrections=table, padding=1)
    with pytest.raises(InputError, match="0 to 255"):
        spike_conv_lif(x, w, padding=1, form="bytes", grid=1.0, low=-1.0, high=3.0)

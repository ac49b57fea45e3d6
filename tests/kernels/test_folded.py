"""Convolutions of an image's few channels by cells: against a plain convolution, and whole numbers in 16 bits."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from neurokit.errors import InputError
from neurokit.kernels import spike_conv_lif
from neurokit.kernels.spike_conv_lif.folded import fold_of, fold_pixels, fold_weight

# Channels, kernel, stride, padding, height, width.
STEMS = [(3, 7, 2, 3, 20, 22), (3, 3, 1, 1, 9, 10), (2, 5, 1, 2, 8, 7), (1, 7, 2, 3, 15, 14), (3, 4, 4, 0, 16, 17)]


def whole(*size: int, most: int) -> torch.Tensor:
    return torch.randint(-most, most + 1, size).float()


def convolved(x, w, stride, padding):
    """Returns the convolution of `[T, B, H, W, C]` with `[N, k, k, C]`, channels last."""
    y = functional.conv2d(x.flatten(0, 1).movedim(-1, 1).double(), w.movedim(-1, 1).double(), None, stride, padding)
    return y.movedim(1, -1).unflatten(0, x.shape[:2])


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize(("channels", "kernel", "stride", "padding", "height", "width"), [*STEMS, (2, 3, 2, 0, 9, 9)])
def test_cells_hold_what_every_tap_meets(channels, kernel, stride, padding, height, width, size):
    x, w = whole(2, 3, height, width, channels, most=5), whole(8, kernel, kernel, channels, most=5)
    wanted = convolved(x, w, stride, padding)
    fold = fold_of(channels, kernel, stride, padding, size)
    assert fold.pitch * size % 16 == 0
    assert fold.window * size >= 32
    cells = fold_pixels(x, fold, *wanted.shape[2:4])
    rows = fold_weight(w, fold, padding)
    steps, batch, _, across, pitch = cells.shape
    strides = (*cells.stride()[:3], pitch, 1)
    # A window is a run of memory from its first cell on; the last one of a row must end within the row.
    windows = cells.as_strided((steps, batch, cells.shape[2], across - fold.beyond, fold.window), strides)
    tall = wanted.shape[2]
    found = sum(
        torch.einsum("tbyxf,nf->tbyxn", windows[:, :, i : i + tall].double(), rows[:, i].double())
        for i in range(fold.taps)
    )
    assert torch.equal(found, wanted)


def test_what_would_be_more_products_or_too_long_is_not_folded():
    assert fold_of(64, 3, 1, 1, 1) is None
    assert fold_of(3, 11, 1, 5, 2) is None
    assert fold_of(32, 3, 1, 1, 1) is None


@pytest.mark.needs_kernel
@pytest.mark.parametrize(("dtype", "most"), [(torch.float16, 640), (torch.int8, 127)])
@pytest.mark.parametrize(("channels", "kernel", "stride", "padding", "height", "width"), STEMS)
def test_sums_of_whole_numbers_are_exact(channels, kernel, stride, padding, height, width, dtype, most, device):
    torch.manual_seed(kernel)
    x, w = whole(3, 2, height, width, channels, most=most), whole(16, kernel, kernel, channels, most=127)
    fine = 15 if dtype == torch.float16 else 13
    scale, bias = 2.0 ** -torch.randint(fine, fine + 3, (16,)).float(), whole(16, most=64) / 256
    sums = convolved(x, w, stride, padding)
    assert float(sums.abs().max()) < 2**24
    current = sums * scale + bias
    v, fired = torch.zeros_like(current[0]), []
    for now in current:
        v = v + now
        fired.append((v >= 1).to(torch.int8))
        v = torch.where(v >= 1, v - 1, v)
    given = {"scale": scale.to(device), "bias": bias.to(device), "stride": stride, "padding": padding}
    found, handed = spike_conv_lif(
        x.to(dtype).to(device),
        w.to(dtype).to(device),
        tau=None,
        v_reset=None,
        form="int8",
        want_current=True,
        path="boxes",
        whole=dtype == torch.float16,
        **given,
    )
    wanted = torch.stack(fired)
    assert 0.02 < float(wanted.float().mean()) < 0.9
    assert torch.equal(handed.cpu().double(), current)
    assert torch.equal(found.cpu(), wanted)


def test_a_path_that_rounds_sums_is_refused_for_whole_numbers():
    x, w = torch.ones(1, 1, 4, 4, 3).half(), torch.ones(16, 3, 3, 3).half()
    with pytest.raises(InputError, match="24 bits"):
        spike_conv_lif(x, w, path="conv", whole=True)

"""The path of `depthwise` that multiplies four bytes at once: the definition's bits at every edge of its layout."""

import pytest
import torch

from neurokit.kernels import config, depthwise

pytestmark = pytest.mark.needs_kernel

ROUNDED = {"grid": 0.25}
LIMITED = {"grid": 0.5, "low": -3.0, "high": 2.5}


def data(batch, kernel, height, width, channels, device):
    """Any int8, as a slice of wider rows."""
    torch.manual_seed(kernel)
    x = torch.randint(-128, 128, (batch, height, width, channels + 3), dtype=torch.int8, device=device)
    return x[..., :channels], torch.randint(-128, 128, (kernel, kernel, channels), dtype=torch.int8, device=device)


@pytest.mark.parametrize(
    ("batch", "kernel", "size", "channels", "padding", "chosen", "rounding"),
    [
        (1, 3, (3, 4), 34, 1, (3, 2, 0), ROUNDED),  # a part of a segment, of the columns and of the channels
        (2, 3, (3, 5), 20, 0, (2, 9, 1), {}),  # a segment longer than the picture
        (1, 7, (2, 2), 20, 3, (2, 1, 0), LIMITED),
        pytest.param(1, 5, (3, 4), 20, 2, (3, 2, 1), LIMITED, marks=pytest.mark.heavy_interpreted),
        pytest.param(2, 7, (3, 3), 20, 3, (2, 2, 1), ROUNDED, marks=pytest.mark.heavy_interpreted),
        pytest.param(1, 4, (3, 6), 7, 3, (3, 3, 1), {}, marks=pytest.mark.heavy_interpreted),
    ],
)
def test_dots_gives_the_definition_s_bits(batch, kernel, size, channels, padding, chosen, rounding, device, reference):
    x, weight = data(batch, kernel, *size, channels, device)
    scale, bias = torch.rand(channels, device=device) / 4096, torch.randn(channels, device=device)
    given = {"padding": padding, "scale": scale, **rounding}
    with config.override("depthwise_dots", dict(zip(("wide", "segment", "ahead"), chosen, strict=True))):
        found = depthwise(x, weight, bias, path="dots", **given)
    assert torch.equal(found, reference(depthwise, x, weight, bias, **given))


@pytest.mark.parametrize(("pixel", "tap"), [(-128, -128), (-128, 127), (127, 127)])
def test_dots_holds_the_largest_sums(pixel, tap, device):
    """Without scale and bias the sum itself comes out."""
    x = torch.full((1, 7, 7, 3), pixel, dtype=torch.int8, device=device)
    weight = torch.full((7, 7, 3), tap, dtype=torch.int8, device=device)
    with config.override("depthwise_dots", {"wide": 1, "segment": 1, "ahead": 0}):
        found = depthwise(x, weight, path="dots")
    assert found.tolist() == [[[[49.0 * pixel * tap] * 3]]]


@pytest.mark.parametrize("bias", [0.5, 1.5, -0.5, -2.5, 126.5, 127.5, -128.5])
def test_dots_rounds_halves_to_even(bias, device):
    x, weight = (torch.zeros(shape, dtype=torch.int8, device=device) for shape in ((1, 3, 3, 2), (3, 3, 2)))
    with config.override("depthwise_dots", {"wide": 1, "segment": 1, "ahead": 0}):
        found = depthwise(x, weight, torch.full((2,), bias, device=device), grid=1.0, path="dots")
    assert found.flatten().tolist() == [max(-128, min(127, round(bias)))] * 2

"""Sums that several programs share: the same bits as whole ones, and counters as they were."""

from __future__ import annotations

import itertools

import pytest
import torch

from neurokit.kernels import config, spike_conv_lif, spike_linear_lif
from neurokit.kernels.checks import definitions
from neurokit.kernels.spike_conv_lif import boxes, splits


def convolution(device, inner, cols, kernel, stride, width=5, dtype=torch.int8, form="int8"):
    """Returns a call of a convolution on random counts whose sums are whole numbers, and its definition's result."""
    generator = torch.Generator().manual_seed(inner + kernel)
    spikes = torch.randint(0, 3, (3, 2, 6, width, inner), generator=generator).to(dtype).to(device)
    weight = torch.randint(-127, 128, (cols, kernel, kernel, inner), generator=generator).to(dtype).to(device)
    residual = (torch.randn(3, 2, -(-6 // stride), -(-width // stride), cols, generator=generator) * 64).round() / 256
    given = {
        "scale": torch.full((cols,), 2.0 ** -(5 + inner.bit_length() // 2), device=device),
        "residual": residual.to(dtype if dtype.is_floating_point else torch.float32).to(device),
        "stride": stride,
        "padding": kernel // 2,
        "form": form,
        "want_current": True,
    }
    call = lambda path: spike_conv_lif(spikes, weight, path=path, **given)  # noqa: E731
    with definitions():
        return call, call("auto")


@pytest.mark.needs_kernel
@pytest.mark.parametrize(
    ("inner", "cols", "kernel", "stride", "width", "parts"),
    [
        (32, 80, 3, 1, 5, 3),
        (256, 24, 3, 1, 5, 2),  # parts that end in the midst of a row of taps
        (64, 32, 3, 2, 6, 3),  # two lattices, of rows
        (256, 16, 1, 2, 5, 2),  # three of four lattices have no taps
    ],
)
def test_a_split_sum_is_the_definitions(inner, cols, kernel, stride, width, parts, device, monkeypatch):
    call, wanted = convolution(device, inner, cols, kernel, stride, width)
    seen = []
    usual = splits.scratch

    def scratch(*given):
        seen.append((given[1], usual(*given)[1]))
        return usual(*given)[0], seen[-1][1]

    monkeypatch.setattr(splits, "scratch", scratch)
    with config.override(boxes.NAME, {"splits": parts}):
        fired, current = call("boxes")
    assert [number for number, _ in seen] == [parts]
    assert torch.equal(fired, wanted[0])
    assert torch.equal(current, wanted[1])
    assert 0.05 < float(fired.float().mean()) < 0.95
    assert not seen[0][1].any()  # the next launch that shares them begins at zero


@pytest.mark.needs_kernel
def test_blocks_with_a_tail_are_not_split(device, monkeypatch):
    call, wanted = convolution(device, 84, 16, 3, 1)
    monkeypatch.setattr(splits, "scratch", lambda out, number, *rest: (out, out) if number == 1 else None)
    with config.override(boxes.NAME, {"splits": 9}):
        assert torch.equal(call("boxes")[0], wanted[0])


@pytest.mark.needs_kernel
def test_a_split_sum_in_float16(device):
    call, wanted = convolution(device, 64, 32, 3, 1, dtype=torch.float16, form="same")
    with config.override(boxes.NAME, {"splits": 3}):
        fired, current = call("boxes")
    assert torch.equal(fired, wanted[0])  # of whole numbers, which float32 adds exactly
    assert torch.equal(current, wanted[1])


@pytest.mark.needs_kernel
def test_a_split_product_is_the_definitions(device):
    generator = torch.Generator().manual_seed(1)
    spikes = (torch.rand(4, 37, 512, generator=generator) < 0.2).to(torch.int8).to(device)
    weight = torch.randint(-127, 128, (48, 512), generator=generator, dtype=torch.int8).to(device)
    given = {"scale": torch.full((48,), 2.0**-9, device=device), "form": "int8"}
    with definitions():
        wanted = spike_linear_lif(spikes, weight, **given)[0]
    with config.override(boxes.NAME, {"splits": 4}):
        assert torch.equal(spike_linear_lif(spikes, weight, path="boxes", **given)[0], wanted)
    assert 0.05 < float(wanted.float().mean()) < 0.95


@pytest.mark.parametrize(
    ("kernel", "stride", "padding", "size"), [(3, 1, 1, 8), (3, 2, 1, 8), (1, 2, 0, 8), (7, 2, 3, 9)]
)
def test_rounds_are_the_taps_that_meet_each_lattice(kernel, stride, padding, size):
    taps = list(itertools.product(range(kernel), repeat=2))
    met = dict.fromkeys(itertools.product(range(stride), repeat=2), 0)
    for dy, dx in taps:  # by the first pixel that a tap of an output pixel in the midst meets
        met[(size * stride - padding + dy) % stride, (size * stride - padding + dx) % stride] += 1
    assert splits.rounds(kernel, kernel, stride, padding, False, 5) == [count * 5 for count in met.values()]
    rows = [sum(met[p, q] for q in range(stride)) for p in range(stride)]
    if stride == 2:
        assert splits.rounds(kernel, kernel, stride, padding, True, 2) == [count * 2 for count in rows]


@pytest.mark.parametrize(
    ("wanted", "tiles", "rounds", "found"),
    [(3, 10, [9], 3), (2, 10, [9], 1), (2, 2000, [8], 1), (1, 10, [7], 1), (2, 9, [4, 0, 2, 0], 2)],
)
def test_a_sum_is_split_into_equal_parts_alone(wanted, tiles, rounds, found):
    assert splits.parts(wanted, tiles, rounds) == found

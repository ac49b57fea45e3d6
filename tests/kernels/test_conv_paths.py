"""Which kernel takes a convolution in 16 bits whose shape was not measured."""

from __future__ import annotations

import pytest
import torch

from neurokit.kernels import config, spike_conv_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.spike_conv_lif import boxes

pytestmark = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
BOXES, POINTERS, VENDOR = "spike_conv_lif_boxes_kernel", "spike_conv_lif_kernel", "lif_forward_kernel"


def launched(offline, channels, kernel, batch, dtype, **given):
    """Returns the kernel that a convolution of 14 x 14 pixels launches."""
    spikes = torch.zeros(4, batch, 14, 14, channels, dtype=dtype)
    weight = torch.zeros(64, kernel, kernel, channels, dtype=dtype)
    with offline.capture(90, offline.Launch) as done:
        spike_conv_lif(spikes, weight, padding=kernel // 2, **{"form": "same", **given})
    (one,) = done
    return one.name


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize(
    ("channels", "kernel", "batch", "path", "wanted"),
    [
        (64, 3, 1, "kernel", BOXES),
        (64, 3, 192, "kernel", BOXES),  # of "many" neurons
        (96, 5, 1, "kernel", BOXES),
        (48, 3, 1, "kernel", POINTERS),
        (64, 1, 1, "kernel", POINTERS),  # no window
        (64, 3, 1, "fused", POINTERS),
        (64, 3, 1, "auto", VENDOR),
    ],
)
def test_unmeasured_windows_of_64_channels_go_by_boxes_without_the_vendor(
    channels, kernel, batch, path, wanted, dtype, offline
):
    assert launched(offline, channels, kernel, batch, dtype, path=path) == wanted


def test_a_measurement_says_otherwise(offline):
    with config.override(boxes.NAME, {"path": "fused"}):
        assert launched(offline, 64, 3, 1, torch.float16, path="kernel") == POINTERS


def test_what_boxes_cannot_put_out_goes_by_pointers(offline):
    assert launched(offline, 64, 3, 1, torch.float16, path="kernel", form="packed") == POINTERS

"""Kernels of packages wait for those before them, first of all."""

import re
from importlib import import_module
from types import SimpleNamespace

import pytest

from neurokit.kernels._compat import INTERPRET, fewest_processors, launches_overlap

pytestmark = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
KERNELS = (
    ("lif.triton", "lif_forward_kernel", "lif_sequence_kernel"),
    ("sdsa_lif.triton", "sdsa_qkv_kernel"),
    ("gate_lif.triton", "gate_tokens_kernel", "gate_channels_kernel"),
    ("pool_lif.triton", "pool_lif_kernel"),
    ("spike_linear_lif.triton", "spike_linear_lif_kernel"),
    ("spike_conv_lif.triton", "spike_conv_lif_kernel"),
    ("spike_conv_lif.triton_boxes", "spike_conv_lif_boxes_kernel"),
    ("depthwise.triton", "depthwise_kernel", "depthwise_stream_kernel"),
    ("depthwise.triton_dots", "depthwise_dots_kernel"),
)


@pytest.mark.parametrize(("module", "name"), [(first, name) for first, *names in KERNELS for name in names])
def test_a_kernel_waits_before_anything_else(module, name):
    pytest.importorskip("triton")
    kernel = getattr(import_module(f"neurokit.kernels.{module}"), name)
    body = re.sub(r'""".*?"""', "", kernel.src.partition("\n):\n")[2], count=1, flags=re.DOTALL)
    assert body.split()[0] == "await_inputs()"


@pytest.mark.parametrize(
    ("capabilities", "overlap"), [([(9, 0)], True), ([(9, 0), (8, 0)], False), ([(10, 0)], True), ([], False)]
)
def test_launches_overlap_where_every_gpu_can(capabilities, overlap, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(capabilities))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: len(capabilities))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda i: capabilities[i])
    fewest = lambda i: SimpleNamespace(multi_processor_count=132 - i)  # noqa: E731
    monkeypatch.setattr(torch.cuda, "get_device_properties", fewest)
    assert launches_overlap() is overlap
    assert fewest_processors() == (133 - len(capabilities) if overlap else 0)

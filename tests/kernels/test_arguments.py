"""What kernels are launched with: dense tensors, since a compiler keeps the order of an argument's strides alone."""

from __future__ import annotations

import importlib
from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

from neurokit.kernels import gate_lif, lif, sdsa_lif, spike_conv_lif, spike_linear_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.common.descriptors import Boxes
from neurokit.kernels.common.layout import is_dense


@pytest.fixture
def launched(monkeypatch):
    """Returns the list of what operators launch: the tensors of every call; nothing is run."""
    calls: list[list[torch.Tensor]] = []

    class Grid:
        def __getitem__(self, grid):
            return lambda *args, **kwargs: calls.append(
                [
                    getattr(value, "tensor", value)
                    for value in (*args, *kwargs.values())
                    if isinstance(value, torch.Tensor | Boxes)
                ]
            )

    names = ["gate_lif.op", "lif.op", "sdsa_lif.op", "spike_conv_lif.op", "spike_linear_lif.op", "spike_conv_lif.boxes"]
    for name in names:
        module = importlib.import_module(f"neurokit.kernels.{name}")
        for one, stand_in in (
            ("launch", lambda kernel: Grid()),
            ("described", lambda kernel: Grid()),
            ("use_triton", mock.Mock(return_value=True)),
            ("capability", mock.Mock(return_value=(9, 0))),
        ):
            if hasattr(module, one):
                monkeypatch.setattr(module, one, stand_in)
    return calls


def spikes(*size):
    return (torch.rand(size) < 0.3).to(torch.int8)


def repeated(*size):
    """Returns one step, seen four times."""
    return torch.randn(size).expand(4, *size)


@pytest.mark.parametrize("path", ["fused", "boxes"])
def test_a_repeated_step_is_given_once(path, launched):
    lif(repeated(2, 8, 8, 16), residual=repeated(2, 8, 8, 16), want_v=False)
    weight, given = torch.ones(16, 3, 3, 32, dtype=torch.int8), {"form": "int8", "path": path}
    spike_conv_lif(spikes(4, 2, 8, 8, 32), weight, residual=repeated(2, 8, 8, 16), padding=1, **given)
    spike_linear_lif(spikes(4, 6, 32), weight[:, 0, 0], residual=repeated(6, 16), **given)
    assert len(launched) == 3
    for tensors in launched:
        assert [one.stride() for one in tensors if not is_dense(one) or 0 in one.stride()] == []


@pytest.mark.parametrize("path", ["fused", "boxes"])
def test_of_a_repeated_step_that_lies_otherwise_one_is_copied(path, launched):
    """As of a convolution that a compiler holds for contiguous while channels are moved last for a kernel."""
    picture = torch.randn(2, 16, 8, 8).movedim(1, -1)
    x, flat = picture.expand(4, *picture.shape), torch.randn(16, 6).t().expand(4, 6, 16)
    assert not picture.is_contiguous()
    lif(x, residual=x, want_v=False)
    weight, given = torch.ones(16, 3, 3, 32, dtype=torch.int8), {"form": "int8", "path": path}
    spike_conv_lif(spikes(4, 2, 8, 8, 32), weight, residual=x, padding=1, **given)
    spike_linear_lif(spikes(4, 6, 32), weight[:, 0, 0], residual=flat, **given)
    for tensors, step in zip(launched, (picture, picture, flat[0]), strict=True):
        assert all(is_dense(one) and 0 not in one.stride() for one in tensors)
        numbers = [one for one in tensors if one.dtype == torch.float32 and one.numel() >= step.numel()]
        found = [one for one in numbers if torch.equal(one.reshape(-1), step.reshape(-1))]
        assert found
        # The other numbers are the spikes of `lif`, which stand for what it is not given.
        assert {one.data_ptr() for one in numbers} - {one.data_ptr() for one in found} <= {tensors[-1].data_ptr()}


@pytest.mark.skipif(INTERPRET, reason="interpreted operators are opaque to tracing")
def test_traced_slices_of_a_wider_tensor_are_made_dense(launched):
    wide = spikes(4, 2, 49, 96)
    sdsa_lif(*wide.chunk(3, -1), heads=2, scale=0.125, form="int8")
    assert not is_dense(launched[-1][0]), "slices are read where they are"
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        sdsa_lif(*mode.from_tensor(wide).chunk(3, -1), heads=2, scale=0.125, form="int8")
        gate_lif(*mode.from_tensor(wide).chunk(3, -1), form="int8")
    assert len(launched) == 3
    assert all(is_dense(one) for tensors in launched[1:] for one in tensors)

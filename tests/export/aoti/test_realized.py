"""A value that a kernel takes as several arguments is written once, and other operations are as PyTorch has them."""

from __future__ import annotations

import re
from contextlib import nullcontext
from unittest import mock

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.export.aoti.realized import inputs_computed_once
from neurokit.kernels._compat import INTERPRET
from neurokit.loading import load
from neurokit.spec import ModelSpec, TensorSpec

from . import without_gpu

compiled = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")


@pytest.fixture
def copies(monkeypatch):
    """Counts the copies that PyTorch makes of values to have strides: each a new one."""
    ir = pytest.importorskip("torch._inductor.ir")
    made = []

    def copied(value, wanted):
        made.append((value, tuple(wanted)))
        return Value()

    class Value(ir.IRNode):
        """A value that is not in memory yet."""

        def __init__(self):
            pass

    for name in ("require_exact_strides", "require_stride_order"):
        monkeypatch.setattr(ir.ExternKernel, name, copied)
    return made, Value


def fake(*strides):
    return torch.empty_strided((4, 4), strides)


@pytest.fixture
def lowering():
    return pytest.importorskip("torch._inductor.lowering")


def test_one_value_is_copied_once_and_other_strides_apart(copies, lowering):
    made, value = copies
    x, y = value(), value()
    given = {"first": x, "other": y, "again": x, "turned": x, "rows": 7, "columns": 7}
    fakes = {**dict.fromkeys(given, fake(4, 1)), "turned": fake(1, 4), "rows": 7, "columns": 7}
    launch = {"kernel_idx": 1, "kwargs": given}
    usual = lowering.constrain_to_fake_tensors((), launch, (), {"kernel_idx": 1, "kwargs": fakes})[1]["kwargs"]
    assert len(made) == 4
    made.clear()
    with inputs_computed_once():
        _, found = lowering.constrain_to_fake_tensors((), launch, (), {"kernel_idx": 1, "kwargs": fakes})
    assert found["kernel_idx"] == 1
    found = found["kwargs"]
    assert list(found) == list(usual) == list(given)
    assert found["first"] is found["again"]
    assert len({id(found[name]) for name in ("first", "other", "turned")}) == 3
    assert (found["rows"], found["columns"]) == (7, 7)
    assert made == [(x, (4, 1)), (y, (4, 1)), (x, (1, 4))]


def test_so_it_is_where_only_the_order_of_strides_is_known(copies, lowering, monkeypatch):
    from torch._inductor import graph

    made, value = copies
    monkeypatch.setattr(lowering.ir, "get_stride_order", lambda strides, _: strides)
    monkeypatch.setattr(lowering, "V", mock.Mock())
    nodes = [mock.Mock(meta={"val": fake(4, 1)}) for _ in range(2)]
    x = value()
    launch = {"kwargs": {"first": x, "again": x, "other": x}, "kernel_idx": 1}
    node = mock.Mock(args=(), kwargs={"kwargs": {"first": nodes[0], "again": nodes[0], "other": nodes[1]}})
    node.kwargs["kernel_idx"] = 1
    with inputs_computed_once():
        args, found = graph.constrain_to_fx_strides(node, **launch)
    assert (args, found["kernel_idx"], len(made)) == ((), 1, 2)
    assert list(found["kwargs"]) == ["first", "again", "other"]
    assert found["kwargs"]["first"] is found["kwargs"]["again"] is not found["kwargs"]["other"]


def test_operations_without_arguments_by_name_are_as_they_were(copies, lowering):
    """And PyTorch knows its own function again, by which it tells how an operation's inputs may lie."""
    from torch._inductor import graph

    made, value = copies
    own = (lowering.constrain_to_fake_tensor, graph.constrain_to_fx_strides)
    x = value()
    with inputs_computed_once():
        assert graph.constrain_to_fake_tensors is lowering.constrain_to_fake_tensors
        assert lowering.tag_to_layout_constraint(torch._C.Tag.needs_exact_strides) is graph.constrain_to_fake_tensors
        args, kwargs = lowering.constrain_to_fake_tensors(
            (x, [x, x]), {"a": x}, (fake(4, 1), [fake(4, 1)] * 2), {"a": fake(4, 1)}
        )
    assert len(made) == 4
    assert len({id(one) for one in (args[0], *args[1], kwargs["a"])}) == 4
    assert (lowering.constrain_to_fake_tensor, graph.constrain_to_fx_strides) == own


def most_stores(source):
    """Returns how often a generated kernel writes one value, at most."""
    kernels = re.findall(r"async_compile\.triton\('(\w+)'.*?\ndef (.*?)'''", source, re.S)
    assert kernels
    stores = [re.findall(r"tl\.store\(\w+ \+ .*?, (\w+)(?:, \w+)?\)$", body, re.M) for _, body in kernels]
    assert sum(map(len, stores))
    return max((written.count(one) for written in stores for one in written), default=0)


def network():
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 32, 3, stride=2, padding=1), nn.ReLU())
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()


def generated(spec):
    made = nk.exact(nk.capture(spec))
    return lambda: without_gpu.generated(made.captured.retrace(batch=2), "exact").tried


@compiled
def test_generated_kernels_write_a_value_once():
    pytest.importorskip("triton")
    tried = generated(ModelSpec("net", network, (TensorSpec("x", (3, 16, 16), low=0.0, high=1.0),)))()
    assert "def spike_conv_lif_boxes_kernel(" in tried
    assert most_stores(tried) == 1


@compiled
@pytest.mark.slow
def test_numbers_of_a_resnet_are_written_once_and_were_eight_times(monkeypatch):
    pytest.importorskip("triton")
    tried = generated(load("resnet34").in_small())
    assert most_stores(tried()) == 1
    monkeypatch.setattr(without_gpu.compiling, "inputs_computed_once", nullcontext)
    assert most_stores(tried()) == 8

"""1x1 convolutions of a stride are those of every stride-th pixel, with the numbers of conv2d."""

from __future__ import annotations

import pytest
import torch
from torch import fx, nn
from torch.nn import functional

from neurokit.program.nodes import aten
from neurokit.program.passes.subsample import SUBSAMPLE


def convolution(weight, bias, *settings, shape=(2, 8, 7, 9), **more):
    """Returns a program of one convolution."""
    root, graph = nn.Module(), fx.Graph()
    root.weight, root.bias = nn.Parameter(weight), None if bias is None else nn.Parameter(bias)
    x = graph.placeholder("x")
    x.meta["val"] = torch.empty(shape, dtype=weight.dtype, device="meta")
    given = [x]
    for name in ("weight", "bias"):
        value = getattr(root, name)
        given.append(None if value is None else graph.get_attr(name))
        if value is not None:
            given[-1].meta["val"] = value.to("meta")
    y = graph.call_function(aten.conv2d.default, (*given, *settings), more)
    y.meta["val"] = aten.conv2d.default(*(one if one is None else one.meta["val"] for one in given), *settings, **more)
    graph.output(y)
    return fx.GraphModule(root, graph)


def drawn(*shape):
    return torch.randint(-8, 9, shape, generator=torch.Generator().manual_seed(1)).float()


def slices(module):
    return sum(node.target is aten.slice.Tensor for node in module.graph.nodes)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("stride", "axes"), [((2, 2), 2), ((3, 3), 2), ((2,), 2), ((1, 2), 1), ((3, 1), 1)])
def test_a_stride_is_every_second_or_third_pixel(stride, axes, bias):
    """Whole numbers have one sum in every order."""
    weight, b = drawn(5, 8, 1, 1), drawn(5) if bias else None
    module, x = convolution(weight, b, list(stride)), drawn(2, 8, 7, 9)
    SUBSAMPLE(module)
    assert slices(module) == axes
    (node,) = [one for one in module.graph.nodes if one.target is aten.conv2d.default]
    wanted = functional.conv2d(x, weight, b, stride)
    assert torch.equal(module(x), wanted)
    (row, column) = (stride * 2)[:2]
    assert node.args[0].meta["val"].shape == x[:, :, ::row, ::column].shape


@pytest.mark.parametrize(
    ("weight", "settings", "more"),
    [
        ((5, 8, 1, 1), ([2, 2], [1, 1]), {}),  # the first pixel is a zero of the border
        ((5, 8, 1, 1), ([2, 2], [0, 1]), {}),
        ((4, 4, 1, 1), ([2, 2], [0, 0], [1, 1], 2), {}),
        ((5, 8, 3, 3), ([2, 2],), {}),
        ((5, 8, 1, 3), ([2, 2],), {}),
        ((5, 8, 1, 1), ([1, 1],), {}),
        ((4, 4, 1, 1), ([2, 2],), {"groups": 2}),
    ],
)
def test_other_convolutions_stay(weight, settings, more):
    module, x = convolution(drawn(*weight), None, *settings, **more), drawn(2, 8, 7, 9)
    before, wanted = module.code, module(x)
    SUBSAMPLE(module)
    assert module.code == before
    assert torch.equal(module(x), wanted)


def test_a_picture_without_a_batch_stays():
    """Its axes are others."""
    module, x = convolution(drawn(5, 8, 1, 1), None, [2, 2], shape=(8, 7, 9)), drawn(8, 7, 9)
    SUBSAMPLE(module)
    assert slices(module) == 0
    assert module(x).shape == (5, 4, 5)

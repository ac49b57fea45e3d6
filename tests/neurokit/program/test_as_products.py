"""Plain convolutions written as products of windows: torch's own numbers, and none left."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurokit.program.passes.as_products import AS_PRODUCTS, product_of_windows


@pytest.mark.parametrize(
    ("size", "out", "kernel", "options"),
    [
        ((2, 3, 9, 8), 5, (3, 3), {"padding": (1, 1)}),
        ((2, 4, 9, 8), 6, (3, 2), {"stride": (2, 1), "dilation": (2, 2), "groups": 2}),
        ((2, 4, 7, 7), 4, (5, 5), {"padding": (2, 2), "groups": 4}),
        ((2, 4, 9, 8), 4, (3, 3), {"stride": (2, 2), "padding": (1, 0), "groups": 4}),
        ((2, 4, 9), 4, (3,), {"dilation": (2,), "groups": 4}),
        ((1, 3, 8, 8), 5, (1, 1), {"stride": (2, 2)}),
        ((2, 3, 9), 5, (3,), {"padding": (1,), "stride": (2,)}),
        ((2, 6, 9), 4, (1,), {"groups": 2}),
    ],
)
@pytest.mark.parametrize("biased", [True, False])
def test_products_of_windows_are_convolutions(size, out, kernel, options, biased):
    torch.manual_seed(0)
    x = torch.randint(-9, 10, size).double()
    weight = torch.randint(-9, 10, (out, size[1] // options.get("groups", 1), *kernel)).double()
    bias = torch.randint(-9, 10, (out,)).double() if biased else None
    given = {"stride": (1,) * len(kernel), "padding": (0,) * len(kernel), "dilation": (1,) * len(kernel), **options}
    wanted = getattr(functional, f"conv{len(kernel)}d")(x, weight, bias, **given)
    assert torch.equal(product_of_windows(x, weight, bias, **given), wanted)  # of whole numbers, in any order


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Conv2d(3, 4, 3, padding=1, groups=1), nn.Conv1d(4, 4, 3, groups=2)

    def forward(self, x):
        return self.two(self.one(x).flatten(2))


def test_no_convolution_is_left():
    net, x = Net().double().eval(), torch.randn(2, 3, 5, 6, dtype=torch.float64)
    module = torch.export.export(net, (x,), strict=False).module()
    wanted = net(x)
    AS_PRODUCTS(module)
    assert not [node for node in module.graph.nodes if "conv" in str(node.target).rpartition(".")[0]]
    assert torch.allclose(module(x), wanted, rtol=0, atol=1e-12)

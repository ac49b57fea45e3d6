"""Convolutions in packages on a GPU: operands channels-last, as kernels hand them on."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from neurokit.export.aoti.compile import compiled, exported, package
from neurokit.export.aoti.run import called


class Between(nn.Module):
    """A convolution whose input, weight and output have their channels last in memory."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.register_buffer("weight", torch.randint(-4, 5, (64, 3, 3, 64)).half())

    def forward(self, *given):
        (x,) = given
        y = functional.conv2d((x * 2).permute(0, 3, 1, 2), self.weight.permute(0, 3, 1, 2), padding=1)
        return (y.permute(0, 2, 3, 1) + 1,)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="cuDNN's layouts need a GPU")
def test_channels_that_come_last_are_read_as_such(tmp_path):
    module, x = Between(), torch.randint(0, 2, (8, 28, 28, 64)).half()
    wanted = module.float()(x.float())[0]  # whole numbers below 2,048: exact in 16 bits
    module.half()
    package(tmp_path / "model.pt2", {"model": compiled(exported(module, (x,), ({},), "cuda"), {}, {})})
    found = called(tmp_path / "model.pt2", "model", "cuda")(x.cuda())[0]
    assert torch.equal(found.cpu().float(), wanted)

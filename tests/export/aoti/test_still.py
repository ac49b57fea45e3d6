"""What an image that is repeated over time goes through is written once in a package, and not once a step."""

from __future__ import annotations

import re

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti import build
from neurokit.export.aoti.programs import Network
from neurokit.export.aoti.settings import Settings
from neurokit.kernels._compat import INTERPRET
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

from .without_gpu import generated

STEPS = 4


class Still(nn.Module):
    """A convolution of an image, which is a neuron's current and, by another one, a shortcut of two products."""

    def __init__(self):
        super().__init__()
        self.stem, self.short = layer.Conv2d(3, 32, 3, padding=1), layer.Conv2d(32, 32, 1)
        self.window, self.point = layer.Conv2d(32, 32, 3, padding=1), layer.Conv2d(32, 32, 1)
        for name in ("first", "second", "third"):
            setattr(self, name, neuron.LIFNode(tau=2.0))
        functional.set_step_mode(self, "m")

    def forward(self, x):
        image = self.stem(x)
        short = self.short(image)
        x = self.first(image)
        x = self.second(self.window(x) + short)
        return self.third(self.point(x) + short).mean((3, 4))


def still():
    """Returns the network with weights that are whole numbers of 1/8: their sums are the same in every order."""
    draw, net = torch.Generator().manual_seed(0), Still().eval()
    with torch.no_grad():
        for value in net.parameters():
            value.copy_(torch.randint(-2, 4, value.shape, generator=draw) / 8)
    return net


@pytest.fixture(scope="module")
def captured():
    spec = ModelSpec("still", still, (TensorSpec("x", (3, 8, 8), low=0.0, high=2.0),), time_steps=STEPS)
    return nk.capture(nk.transform(spec, ["still_image"])).retrace(batch=2)


@pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
def test_a_repeated_image_is_written_once(captured):
    """The bias is added there, and channels are moved last; a copy a step would be read as often."""
    pytest.importorskip("triton")
    tried = generated(captured, "float", precision="float16").tried
    assert set(re.findall(r"kwargs: \{x: %\w+, v0: .*?x_stride: (\w+),", tried)) == {"0"}
    assert re.findall(r"kernel_idx: .*residual_rows: (\w+)", tried) == ["0", "0"]
    copies = re.findall(r"%clone\w* : Tensor \"f16\[(\d+), (\d+), ", tried)
    assert copies
    assert not [first for first, second in copies if (first, second) == (str(STEPS), "2")]


def test_it_is_the_networks_own_image(captured):
    """With both shortcuts: of a convolution and of a product over rows."""
    options = LowerOptions("float", extra={"device": "cuda", "precision": "float16"})
    body, rows = build.rewritten(captured.graphs[0], Settings.of(options), False)
    assert [row["kernel"] for row in rows if row["neurons"]] == ["lif", "spike_conv_lif", "spike_linear_lif"]
    x = torch.randint(0, 4, (2, 3, 8, 8), generator=torch.Generator().manual_seed(1)) / 2
    with torch.no_grad():
        found = Network(body, captured.graphs[0])(x)[0]
        wanted = still()(x.expand(STEPS, *x.shape))
    torch.testing.assert_close(found, wanted, rtol=1e-3, atol=0.0)  # the share of spikes is rounded to float16
    assert wanted.std() > 0.1

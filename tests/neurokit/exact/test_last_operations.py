"""What ends a network, and membranes that its forward reads: exact by proof, or refused with the operation."""

import numpy as np
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec

T = 4


class Spiking(nn.Module):
    def __init__(self, last):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.out = nn.Linear(6, 8), neuron.LIFNode(step_mode="m", v_threshold=0.5), nn.Linear(8, 3)
        self.last = last
        with torch.no_grad():
            self.fc.weight.mul_(4)

    def forward(self, x):
        return self.last(self, self.out(self.lif(self.fc(x))))


def lowered(last, folder):
    spec = ModelSpec("net", lambda: Spiking(last).eval(), (TensorSpec("x", (6,)),), time_steps=T)
    return nk.lower(nk.capture(spec), "onnx", folder / "a", numerics="exact", calibration=torch.rand(T, 8, 6))


@pytest.mark.parametrize(
    ("last", "named"),
    [
        (lambda net, y: (y / 2).softmax(-1), "softmax"),
        (lambda net, y: torch.sigmoid(y), "sigmoid"),
        (lambda net, y: torch.cumsum(y, -1), "cumsum"),
    ],
    ids=["softmax", "sigmoid", "cumsum"],
)
def test_an_output_that_is_no_sum_of_products_is_refused(last, named, tmp_path):
    with pytest.raises(
        UnsupportedError, match=f"aten.{named}.* is no sum of products; fix: leave it out of the module"
    ):
        lowered(last, tmp_path)
    assert not (tmp_path / "a").exists()


def test_a_sum_over_membranes_is_bounded_by_what_membranes_can_be(tmp_path):
    """Once their bound was that of the first membrane, 0, and the sum was 'exact' without room for it."""
    artifact = lowered(lambda net, y: y + net.lif.v.sum(-1, keepdim=True), tmp_path)
    assert artifact.manifest.parity["verdict"] == "exact"
    layers = {layer["name"]: layer for layer in artifact.manifest.target_info["proof"]["layers"]}
    assert layers["add"]["bits"] < 24
    assert layers["add"]["bits"] > layers["out"]["bits"] + 1, "membranes have a finer grid than the readout"


class Up(nn.Module):
    """Transposed convolutions: of stride 2 with output padding, in groups, dilated."""

    def __init__(self, settings):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Conv2d(1, 4, 3, 2, 1), nn.ConvTranspose2d(4, 6, 3, **settings)

    def forward(self, x):
        return self.b(torch.relu(self.a(x)))


class UpByHand(Up):
    """The same with a weight that is no layer's: nothing can lie below a tensor's name."""

    def __init__(self, settings):
        super().__init__({})
        self.settings = settings
        self.kernel = nn.Parameter(0.2 * torch.randn(4, 6 // settings.get("groups", 1), 3, 3))

    def forward(self, x):
        return nn.functional.conv_transpose2d(torch.relu(self.a(x)), self.kernel, **self.settings)


@pytest.mark.parametrize(
    ("net", "settings"),
    [
        (Up, {"stride": 2, "padding": 1, "output_padding": 1}),
        (Up, {"stride": 3, "groups": 2, "bias": False}),
        (Up, {"dilation": 2, "padding": 3}),
        (UpByHand, {"stride": 2, "groups": 2}),
    ],
    ids=str,
)
def test_transposed_convolutions_are_sums_of_products(net, settings, tmp_path):
    x = torch.rand(8, 1, 9, 9, generator=torch.Generator().manual_seed(0))
    spec = ModelSpec("net", lambda: net(settings).eval(), (TensorSpec("x", (1, 9, 9)),))
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a", numerics="exact", calibration=x)
    assert artifact.manifest.parity["verdict"] == "exact"
    found = onnxruntime.InferenceSession(str(tmp_path / "a" / "model.onnx")).run(None, {"x": x.numpy()})[0]
    wanted = net(settings).double()(x.double()).detach().numpy()
    assert found.shape == wanted.shape
    assert np.linalg.norm(found - wanted) < 0.03 * np.linalg.norm(wanted)  # of 8 bits

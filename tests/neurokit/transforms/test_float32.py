"""Half, double and mixed precision as float32: every form takes what it refused, with the same weights."""

import numpy as np
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.transforms import transform

T, B = 4, 3


class Mixed(nn.Module):
    """A part in bfloat16 between casts of the forward's own."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(6, 8).bfloat16(), nn.Linear(8, 3)
        self.spikes = neuron.LIFNode(step_mode="m", v_threshold=0.5)

    def forward(self, x):
        return self.last(self.spikes(4 * self.first(x.bfloat16()).float()))


def plain(dtype):
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(6, 8), neuron.LIFNode(v_threshold=0.5), layer.Linear(8, 3))
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        net[0].weight.mul_(4)
    return net.to(dtype).eval()


def spec_of(build, dtype):
    return ModelSpec("net", build, (TensorSpec("x", (6,), dtype),), time_steps=T)


def in_double(net, x):
    """The module's own weights, and nothing rounded between: what bfloat16 stands for."""
    functional.reset_net(net)
    if isinstance(net, Mixed):
        with torch.no_grad():
            return net.last.double()(net.spikes(4 * net.first.double()(x.double()))).numpy()
    with torch.no_grad():
        return net.double()(x.double()).numpy()


@pytest.mark.parametrize("form", ["onnx", "onnx-scan", "onnx-step", "nir"])
@pytest.mark.parametrize(
    ("build", "dtype"),
    [(lambda: plain(torch.bfloat16), "bfloat16"), (lambda: Mixed().eval(), "float32")],
    ids=["bf16", "mixed"],
)
def test_bfloat16_goes_to_every_form(build, dtype, form, tmp_path):
    if form in ("onnx-scan", "nir") and dtype == "float32":
        pytest.skip("one of both is enough")
    captured = nk.capture(transform(spec_of(build, dtype), ["float32"]))
    artifact = nk.lower(captured, form, tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    x = torch.rand(T, B, 6, generator=torch.Generator().manual_seed(3))
    wanted = in_double(build(), x)
    if form in ("onnx", "onnx-scan"):
        session = onnxruntime.InferenceSession(str(tmp_path / "a" / "model.onnx"))
        found = session.run(None, {"x": x.numpy()})[0]
        np.testing.assert_allclose(found, wanted, atol=1e-5)
    assert wanted.any()


def test_the_exact_form_of_a_half_precision_network(tmp_path):
    captured = nk.capture(spec_of(lambda: plain(torch.float16), "float16"), transforms=["float32"])
    artifact = nk.lower(captured, "onnx", tmp_path / "a", numerics="exact", calibration=torch.rand(T, 8, 6))
    assert artifact.manifest.parity["verdict"] == "exact"
    assert artifact.manifest.transforms[0].name == "float32"


def test_float32_has_nothing_to_change():
    with pytest.raises(UnsupportedError, match="it computes in float32 already"):
        transform(spec_of(lambda: plain(torch.float32), "float32"), ["float32"])

"""bfloat16 is in no lowered form: refused by the module and operation, before anything is written."""

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError


class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = layer.Linear(6, 8, step_mode="m").bfloat16()
        self.spikes = neuron.LIFNode(step_mode="m")
        self.last = layer.Linear(8, 3, step_mode="m")

    def forward(self, x):
        return self.last(self.spikes(self.first(x.bfloat16()).float()))


@pytest.mark.parametrize("target", ["onnx", "onnx-step", "nir"])
def test_a_part_in_bfloat16_is_named(target, tmp_path):
    captured = nk.capture(Mixed().eval(), torch.rand(4, 2, 6))
    with pytest.raises(UnsupportedError, match="bfloat16") as caught:
        nk.lower(captured, target, tmp_path / "m")
    assert "module.float()" in str(caught.value)
    assert not (tmp_path / "m").exists()


def test_the_simulator_and_the_exact_form_refuse_it_too(tmp_path):
    captured = nk.capture(Mixed().eval(), torch.rand(4, 2, 6))
    with pytest.raises(UnsupportedError, match="bfloat16"):
        nk.simulate(captured, chips=["loihi1"])
    with pytest.raises(UnsupportedError, match="bfloat16"):
        nk.lower(captured, "onnx", tmp_path / "m", numerics="exact")


def test_float16_and_float64_are_held(tmp_path):
    for name, convert in (("half", nn.Module.half), ("double", nn.Module.double)):
        torch.manual_seed(0)
        net = nn.Sequential(layer.Linear(6, 8, step_mode="m"), neuron.IFNode(step_mode="m"))
        dtype = {"half": torch.float16, "double": torch.float64}[name]
        captured = nk.capture(convert(net).eval(), torch.rand(4, 2, 6).to(dtype))
        assert nk.lower(captured, "onnx", tmp_path / name).manifest.parity["verdict"] != "failed"

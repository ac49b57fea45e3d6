"""What an export leaves out changes no file: types are promoted by the values that a program holds."""

import contextlib

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.export.onnx import convert


class Mixed(nn.Module):
    """Whole numbers meet fractions in every way that promotes one of them, some behind another promotion."""

    def forward(self, x):
        n = torch.arange(x.shape[1], device=x.device)
        half = n / 2
        y = torch.where(x > 0, x, 1) * n + half
        return (y + n.sum() * x).sum(1, keepdim=True) + (x > 0.5).sum(1, keepdim=True) * 3


class Plain(nn.Module):
    def __init__(self):
        super().__init__()
        self.mix, self.spike = nn.Linear(6, 5), neuron.LIFNode(step_mode="m")

    def forward(self, x):
        return self.spike(self.mix(x))


@pytest.mark.parametrize(("kind", "steps"), [(Mixed, None), (Plain, 3)])
def test_the_model_is_the_one_of_the_exporters_own_run(kind, steps, monkeypatch):
    torch.manual_seed(0)
    module = kind().eval()
    given = {} if steps is None else {"time_steps": steps}
    captured = nk.capture(nk.ModelSpec("m", lambda: module, (nk.TensorSpec("x", (6,), layout="F"),), **given))

    def said():
        import onnx_ir as ir

        return ir.to_proto(convert.onnx_from_captured(captured)).SerializeToString()

    quick = said()
    monkeypatch.setattr(convert, "known_values", contextlib.nullcontext)
    assert said() == quick


class Limited(nn.Module):
    """Limits of which one is a whole number: of a parameter, and of what is computed."""

    def __init__(self):
        super().__init__()
        self.beta = nn.Parameter(torch.tensor(1.3))

    def forward(self, x):
        return (self.beta.clamp(0, 0.95) * x).clamp(min=-1, max=0.5)


def test_limits_may_be_whole_numbers_and_fractions(tmp_path):
    module = Limited().eval()
    spec = nk.ModelSpec("m", lambda: module, (nk.TensorSpec("x", (6,), layout="F", low=-3.0, high=3.0),))
    with nk.open(nk.lower(nk.capture(spec), "onnx", tmp_path / "m")) as model:
        x = torch.linspace(-3.0, 3.0, 12).reshape(2, 6)
        found = model(x.numpy())
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(np.asarray(found)), module(x), rtol=0.0, atol=1e-7)

"""Two neurons of equal settings on one current are one node in ONNX, and each keeps its state where states go out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import Tensor, nn

import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec


class Twice(nn.Module):
    """One current, fired twice, as two parts of a network do that each begin with a neuron."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.left, self.right = nn.Linear(4, 6), nn.Linear(6, 3), nn.Linear(6, 3)
        self.fired, self.again = neuron.LIFNode(step_mode="m"), neuron.LIFNode(step_mode="m")

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        return (self.left(self.fired(y)) + self.right(self.again(y))).mean(0)


@pytest.mark.parametrize("target", ["onnx", "onnx-step"])
def test_equal_neurons_on_one_current(target: str, tmp_path: Path) -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = Twice().eval()
    port = TensorSpec("x", (4,), high=3.0)
    spec = ModelSpec("twice", lambda: net, (port,), time_steps=4, time_input="sequence", time_output="mean")
    artifact = nk.lower(nk.capture(spec), target, tmp_path / "out")
    assert nk.verify(artifact).passed
    assert len(artifact.manifest.graphs[0].states) == (2 if target == "onnx-step" else 0)


class Idle(Twice):
    """The second neuron's spikes are in no output."""

    def forward(self, x: Tensor) -> Tensor:
        y = self.first(x)
        self.right(self.again(2 * y))
        return self.left(self.fired(y)).mean(0)


@pytest.mark.parametrize("target", ["onnx", "onnx-scan"])
def test_a_neuron_that_no_output_depends_on_may_be_left_away(target: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    net = Idle().eval()
    port = TensorSpec("x", (4,), high=3.0)
    spec = ModelSpec("idle", lambda: net, (port,), time_steps=4, time_input="sequence", time_output="mean")
    artifact = nk.lower(nk.capture(spec), target, tmp_path / "out")
    assert artifact.manifest.parity is not None
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")

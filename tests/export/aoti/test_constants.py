"""Weights of a package are those of its probing twin, and read while the package is open."""

from __future__ import annotations

import zipfile

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti.constants import other_weights
from neurokit.spec import ModelSpec, TensorSpec
from tests.mutation.drawn_files import repacked


class Opened:
    """What PyTorch opens: the tensors that it gives lie in memory that goes with it."""

    def __init__(self, path, count):
        with open(path, "rb") as read:
            self._held = {"weight": torch.tensor(list(read.read()), dtype=torch.float32)}

    def extract_constants_map(self, _buffers):
        return self._held

    def __del__(self):
        for value in self._held.values():
            value.normal_()


@pytest.mark.parametrize(("theirs", "found"), [(b"abc", []), (b"abd", ["weight"])])
def test_weights_are_read_while_the_package_is_open(tmp_path, monkeypatch, theirs, found):
    monkeypatch.setattr(torch._C._aoti, "AOTIModelContainerRunnerCpu", Opened)
    for name, held in (("model", b"abc"), ("twin", theirs)):
        with zipfile.ZipFile(tmp_path / name, "w") as written:
            written.writestr(f"data/{name}/code.so", held)
    assert other_weights(tmp_path / "model", "model", tmp_path / "twin", "twin") == found


def small():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Conv2d(1, 6, 3, bias=False), layer.BatchNorm2d(6), neuron.LIFNode(v_threshold=0.3), layer.Flatten(),
        layer.Linear(54, 4), neuron.IFNode(v_threshold=0.2),
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    for part in net:
        if isinstance(part, nn.BatchNorm2d):
            part.bias.data.uniform_(0.1, 0.9)
    return net.eval()


@pytest.mark.slow
def test_a_bias_of_a_few_numbers_is_a_weight_and_no_number_of_the_code(tmp_path):
    """One of six biases off by a hundredth moved no output of 264 samples, and passed."""
    spec = ModelSpec("small", small, (TensorSpec("x", (1, 5, 5)),), time_steps=3)
    sound = nk.lower(nk.capture(spec), "aoti", tmp_path / "a")
    package, twin = sound.file("model.pt2"), sound.file("probe.pt2")
    for _ in range(3):
        assert other_weights(package, "model", twin, "twin") == []
    from neurokit.export.aoti import constants

    held = constants._constants(package, "model")
    (name,) = (name for name, value in held.items() if value.numel() == 6 and value.dim() == 1)
    old = held[name].numpy()
    new = old.copy()
    new[2] = np.float32(new[2] * 1.01)
    edited = tmp_path / "edited.pt2"
    edited.write_bytes(repacked(package.read_bytes(), old.tobytes(), new.tobytes()))
    assert other_weights(edited, "model", twin, "twin") == [name]

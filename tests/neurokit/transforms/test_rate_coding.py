"""Rate code: spikes over T steps tend to what the network of ReLUs computes."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.transforms.rate_coding.convert import rate_coded


def build() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.AvgPool2d(2),
        nn.Conv2d(8, 8, 3),
        nn.ReLU(inplace=True),
        nn.Flatten(),
        nn.Linear(32, 16),
        nn.ReLU6(),
        nn.Linear(16, 5),
    ).eval()


SPEC = ModelSpec("relus", build, (TensorSpec("x", (2, 8, 8)),))


def test_the_error_falls_as_the_steps_grow():
    errors = [rate_coded(SPEC, steps, percentile=100.0).error for steps in (8, 32, 128, 512)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.02 < errors[0]  # of the network itself, which is the oracle
    assert errors[-1] < errors[0] / 16


def test_one_layer_counts_to_the_nearest_spike():
    """The spikes of one layer under a constant current are floor(T x / scale), as the published equation says."""
    net = nn.Sequential(nn.Linear(3, 4), nn.ReLU()).eval()
    x = torch.rand(16, 3)
    net.requires_grad_(False)
    made = rate_coded(ModelSpec("one", lambda: net, (TensorSpec("x", (3,)),)), 10, x, percentile=100.0)
    scale = float(net(x).max())
    y = sum(run_steps(made.spec.build(), x, 10)) / 10
    expected = torch.floor(10 * net(x) / scale + 1e-5) / 10 * scale
    assert torch.allclose(y, expected, atol=1e-5)
    assert len(y.unique()) > 5


def run_steps(net: nn.Module, x: torch.Tensor, steps: int) -> list[torch.Tensor]:
    with torch.no_grad():
        return [net(x) for _ in range(steps)]


def test_the_converted_network_is_captured_lowered_and_verified(tmp_path):
    made = rate_coded(SPEC, 6)
    assert made.neurons == 3
    captured = nk.capture(made.spec)
    assert [neuron.kind for neuron in captured.neurons] == ["IFNode"] * 3
    artifact = nk.lower(captured, "onnx", tmp_path / "a")
    assert nk.verify(artifact).passed


def test_an_onnx_file_is_priced_in_spikes(tmp_path, capsys):
    path = tmp_path / "relus.onnx"
    torch.onnx.export(build(), (torch.rand(1, 2, 8, 8),), path, dynamo=True, verbose=False, external_data=False)
    capsys.readouterr()
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((1, 2, 8, 8), dtype=np.float32))
    given = ["--input", str(tmp_path / "x.npy"), "--json"]  # generated input would leave no verdict
    assert cli.main(["energy", str(path), "--chip", "loihi1", "--rate-coded", "8", *given]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["verdict"]["text"].count("spikes a synapse")
    assert any("rate code of 3 ReLU layers over 8 steps" in line for line in report["assumptions"])


@pytest.mark.parametrize(
    ("arguments", "what"), [((SPEC, 0), "0 time steps"), ((SPEC, 4, torch.rand(2, 3, 8, 8)), "calibration of shape")]
)
def test_what_does_not_fit_is_refused(arguments, what):
    with pytest.raises(InputError, match=what):
        rate_coded(*arguments)


def test_spiking_networks_and_networks_without_relu_are_refused():
    with pytest.raises(UnsupportedError, match="has neurons already"):
        rate_coded(nk.load("spiking_cnn"), 4)
    with pytest.raises(UnsupportedError, match="cannot be converted"):
        rate_coded(ModelSpec("linear", lambda: nn.Linear(3, 2), (TensorSpec("x", (3,)),)), 4)

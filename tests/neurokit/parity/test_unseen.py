"""What the checks did not exercise is computed from the vectors, and lowers the wording."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit import render
from neurokit.parity.unseen import unseen
from neurokit.parity.vectors import FILE, Vectors
from neurokit.spec import ModelSpec, TensorSpec


def build():
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(6, 5), neuron.LIFNode(), layer.Linear(5, 4), neuron.IFNode())
    with torch.no_grad():
        net[0].weight.abs_().mul_(4.0)
        net[2].weight.abs_().mul_(4.0)
        net[2].bias.zero_()
        net[2].weight[1] = 0.0  # a dead row: its neuron gets nothing
        net[0].bias[3] = -50.0  # a silent neuron
    functional.set_step_mode(net, "m")
    return net.eval()


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    spec = ModelSpec("gaps", build, (TensorSpec("x", (6,)),), time_steps=4)
    return nk.lower(nk.capture(spec), "onnx", tmp_path_factory.mktemp("unseen") / "a", verified=False)


def test_dead_rows_and_silent_channels_are_listed_and_the_wording_is_lower(artifact):
    report = nk.verify(artifact, record=False)
    assert report.passed
    assert "1: 1 of 5 channels fire in no test vector" in report.unseen
    assert "3: nothing reaches 1 of 4 channels (their weights are 0)" in report.unseen
    assert report.to_json()["unseen"] == list(report.unseen)
    console = Console(width=200)
    with console.capture() as screen:
        console.print(render.parity(report))
    assert "on what was exercised" in " ".join(screen.get().split())
    assert "not exercised: 3: nothing reaches" in screen.get()


def test_a_bound_that_hardly_any_fault_would_exceed_is_named(artifact):
    vectors = Vectors.load(artifact.file(FILE))
    assert not any("rounding may move" in line for line in unseen(vectors, True))
    layers = (replace(vectors.layers[0], bound=0.3), *vectors.layers[1:])
    loose = unseen(replace(vectors, layers=layers, output_bounds=dict.fromkeys(vectors.outputs, 9.0)), True)
    assert "1: rounding may move its membrane by 0.3 of 1 to threshold" in loose
    assert any(line.startswith("output 'y': rounding may move it by 9") for line in loose)


def test_a_range_that_was_not_drawn_from_is_named(artifact):
    vectors = Vectors.load(artifact.file(FILE))
    assert not any("input" in line for line in unseen(vectors, True))
    narrow = replace(vectors, coverings=(), feeds={"x": np.full((4, 1, 6), 0.5, np.float32)})
    assert "input 'x': tested from 0.5 to 0.5 of 0 to 1" in unseen(narrow, True)


def test_verifying_imports_no_torch(artifact):
    verify = f"neurokit.cli.main(['verify', {str(artifact.path)!r}])"
    code = f"import sys, neurokit.cli; sys.exit({verify} or 9 * ('torch' in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True).returncode == 0


def test_without_a_covering_run_unread_weights_are_named(artifact):
    vectors = Vectors.load(artifact.file(FILE))
    assert "weights that no spike of the test vectors reads: no covering run" in unseen(vectors, False)


class Tokens(nn.Module):
    """Looks up rows by a number that comes as a float."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.rows, self.last = nn.Embedding(20, 10), nn.Linear(10, 3)
        self.spikes = neuron.LIFNode(v_threshold=0.1, step_mode="m")

    def forward(self, x):
        return self.last(self.spikes(self.rows(x.long()).mean(2)))


def test_an_input_that_is_an_index_is_not_driven_beyond_its_range(tmp_path):
    spec = ModelSpec("tokens", lambda: Tokens().eval(), (TensorSpec("x", (6,)),), time_steps=4)
    report = nk.verify(nk.lower(nk.capture(spec), "onnx", tmp_path / "a", verified=False), record=False)
    assert report.passed
    assert "inputs beyond the declared range: the network takes none" in report.unseen

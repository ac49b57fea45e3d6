"""A capture with merged branches is held against the merged module, and merging against the branches in float64."""

from __future__ import annotations

import importlib

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import asking, capture, double_precision
from neurokit.capture.eager import Run
from neurokit.cli import main
from neurokit.errors import UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec


class Branches(nn.Module):
    """A linear layer in two branches; merged, their weights are one."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = layer.Linear(6, 8, step_mode="m"), layer.Linear(6, 8, step_mode="m")
        self.fire = neuron.IFNode(step_mode="m")

    def forward(self, x):
        return self.fire(self.a(x) + self.b(x) if self.b is not None else self.a(x))


def merge(module: nn.Module, factor: float = 1.0) -> nn.Module:
    merged = Branches().to(next(module.parameters()).dtype)
    with torch.no_grad():
        merged.a.weight.copy_(factor * (module.a.weight + module.b.weight))
        merged.a.bias.copy_(module.a.bias + module.b.bias)
    merged.b = None
    return merged.eval()


tracing = importlib.import_module("neurokit.capture")  # the package's attribute of that name is a function


def spec(how) -> ModelSpec:
    inputs = (TensorSpec("x", (6,), high=2.0),)
    return ModelSpec("branches", lambda: Branches().eval(), inputs, time_steps=5, merge_reparameterised=how)


def test_a_right_merge_is_captured_and_compared():
    captured = capture(spec(merge), merge=True, compare=True)
    assert captured.fidelity is not None
    assert captured.fidelity.comparisons


def test_a_merge_that_makes_another_network_is_refused():
    with pytest.raises(UnsupportedError, match="another network"):
        capture(spec(lambda module: merge(module, 1.5)), merge=True, compare=True)


@pytest.mark.parametrize("always", [False, True])
def test_what_parts_in_float32_is_decided_in_float64(monkeypatch, always):
    """A cascade of flips in float32 may reach any share of the spikes; a network that is another one parts in both."""
    real = asking.run_program

    def noisy(captured, x, double, made=None):
        found = real(captured, x, double, made)
        return Run(tuple(1.1 * y + 0.1 for y in found.outputs), found.spikes) if always or not double else found

    monkeypatch.setattr(asking, "_QUICK", 0)  # as if it were too slow for float64
    for place in (asking, double_precision):
        monkeypatch.setattr(place, "run_program", noisy)
    if always:
        with pytest.raises(UnsupportedError, match="another network"):
            capture(spec(merge), compare=True)
    else:
        made = capture(spec(merge), compare=True).fidelity
        assert any(one.precision == "float64" for one in made.comparisons)


@pytest.mark.parametrize("by_command", [False, True])
def test_the_exact_form_is_made_of_one_trace_with_merged_branches(tmp_path, monkeypatch, by_command):
    traced = []
    real = tracing._trace_anew

    def counted(source, *rest):
        traced.append(source.merged)
        return real(source, *rest)

    monkeypatch.setattr(tracing, "_trace_anew", counted)
    if by_command:
        monkeypatch.setattr("neurokit.loading.load", lambda *_, **__: spec(merge))
        assert main(["export", "branches", "--numerics", "exact", "--out", str(tmp_path / "a")]) == 0
        found = nk.Artifact.load(tmp_path / "a")
    else:
        found = nk.lower(spec(merge), "onnx", tmp_path / "a", numerics="exact")
    assert traced
    assert set(traced) == {"merged"}
    assert found.manifest.reparameterisation.state == "merged"
    kept = nk.lower(nk.capture(spec(merge)), "onnx", tmp_path / "b", numerics="exact")
    assert "kept" in traced
    assert (tmp_path / "a" / "model.onnx").read_bytes() == (tmp_path / "b" / "model.onnx").read_bytes()
    assert kept.manifest.target_info["proof"] == found.manifest.target_info["proof"]

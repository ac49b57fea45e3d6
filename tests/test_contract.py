"""Every zoo model on every ONNX form, and SpikingJelly models outside the zoo: exported and verified, or refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from neurokit import pipeline
from neurokit.capture import capture
from neurokit.errors import UnsupportedError
from neurokit.loading import load
from neurokit.nets.inputs import repeated_images
from neurokit.spec import MODELS

EXAMPLES = Path(__file__).parents[1] / "examples" / "spikingjelly_models.py"
FORMS = ("onnx", "onnx-scan", "onnx-step")
SMALL = 64  # pixels; the networks are fully convolutional up to their pooling
LARGE = {"metaspikeformer_15m", "metaspikeformer_31m", "metaspikeformer_55m", "resnet34"}  # minutes each
OUTSIDE = ("spiking_vgg11_bn", "ms_resnet18", "spikformer_ti", "qkformer_10_384", "sdt_8_384")


def small(spec):
    """Returns the spec on a small input."""
    info = spec.inputs[0]
    if info.shape[-1] <= SMALL:
        return spec
    shape = (*info.shape[:-2], SMALL, SMALL)
    example = None if spec.example is None or spec.time_steps is None else (
        lambda batch, steps, seed: repeated_images(batch, steps, seed, shape)
    )  # fmt: skip
    return replace(spec, inputs=(replace(info, shape=shape), *spec.inputs[1:]), example=example)


def check(spec, folder):
    """Captures once, lowers to every form, and returns the reports."""
    captured = capture(spec)
    artifacts = [pipeline.lower(captured, form, folder / form) for form in FORMS]
    for artifact in artifacts:
        parity = artifact.manifest.parity
        assert parity["passed"], parity
        assert parity["verdict"] in ("exact", "benign rounding")
        assert all(layer["worst_margin"] <= layer["bound"] for layer in parity["layers"])
        assert parity["spikes_compared"] > 0
        assert len(parity["layers"]) == len(captured.calls)
    steps = {artifact.manifest.target: artifact.manifest.time_steps for artifact in artifacts}
    assert steps["onnx-scan"] == "dynamic"
    return artifacts


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[pytest.mark.slow] if name in LARGE else []) for name in MODELS.names()]
)
def test_zoo_model(name, tmp_path):
    spec = small(load(name))
    if spec.spiking:
        check(spec, tmp_path)
        return
    captured = capture(spec)
    parity = pipeline.lower(captured, "onnx", tmp_path / "onnx").manifest.parity
    assert parity["passed"]
    for form in FORMS[1:]:
        with pytest.raises(UnsupportedError) as refused:
            pipeline.lower(captured, form, tmp_path / form)
        assert "it has no neurons" in str(refused.value.reasons[0])
        assert not (tmp_path / form).exists()


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=[pytest.mark.slow] if n in ("spikformer_ti", "qkformer_10_384", "sdt_8_384") else [])
        for n in OUTSIDE
    ],
)
def test_spikingjelly_model_outside_the_zoo(name, tmp_path):
    check(load(f"{EXAMPLES}:{name}_small"), tmp_path)

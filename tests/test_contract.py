"""What every registered model and every ONNX target promise each other."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from neurokit import pipeline
from neurokit.data.synthetic import images
from neurokit.errors import MissingRuntimeError, UnsupportedError
from neurokit.export.tensorrt import library as trt_library
from neurokit.loading import load
from neurokit.models.baselines import BASELINES
from neurokit.parity.vectors import FILE, Vectors
from neurokit.spec import MODELS
from neurokit.target import TARGETS

ROOT = Path(__file__).parents[1]
FORMS = ("onnx", "onnx-scan", "onnx-step")
# Classifiers of images; those of tokens have the contract of tests/neurokit/models/decoder, the edge zoo its own.
SPECS = {name: MODELS.get(name)() for name in MODELS.names() if name not in BASELINES}
ZOO = [
    name
    for name, spec in SPECS.items()
    if [port.layout for port in spec.inputs] == ["CHW"] and not (spec.task and spec.task.name == "segmentation")
]
# What stands for them in every run, by what it is named: several sizes of a network may share a small twin.
SMALL = {spec.name: spec for name in ZOO for spec in [SPECS[name].in_small()]}
OUTSIDE = (
    "spiking_vgg11_bn_small",
    "ms_resnet18_small",
    "spikformer_ti_small",
    "qkformer_10_384_small",
    "sdt_8_384_small",
)


# One form of each of these is enough for every run, or none, where others of its kind are there (half a minute each):
# `make test-slow` does the others.
QUICK_FORM = {
    "metaspikeformer_small": "onnx",
    "ms_resnet18_small": "onnx",
    "puppets_ms_resnet_small": "onnx-step",
    "puppets_spiking_mobilenet_small": "onnx-scan",
    "spiking_vgg11_bn_small": "none",
    "spikformer_ti_small": "none",
    "qkformer_10_384_small": "none",
    "sdt_8_384_small": "none",
}


def cases(names, forms=FORMS, whole=()):
    """Returns small models with their forms; and what they stand for, in its own size, marked slow."""
    pairs = [(name, form, form in FORMS and QUICK_FORM.get(name, form) != form) for name in names for form in forms]
    pairs += [(name, form, True) for name in whole for form in forms]
    return [pytest.param(name, form, marks=pytest.mark.slow if slow else ()) for name, form, slow in pairs]


WHOLE = [name for name in ZOO if name not in SMALL]


def spec_of(name: str):
    """Returns a small spec, or a model of the zoo on images of at most 64 x 64."""
    if name in SMALL or ":" in name:
        return SMALL[name] if name in SMALL else load(name)
    spec = load(name)
    channels, *sides = spec.inputs[0].shape
    info = dataclasses.replace(spec.inputs[0], shape=(channels, *(min(side, 64) for side in sides)))
    return dataclasses.replace(spec, inputs=(info,), example=None)


@pytest.fixture(scope="module")
def captures():
    """Captures each model once for its forms."""
    made = {}

    def get(name: str):
        if name not in made:
            if name in WHOLE:
                made.clear()  # one of these in memory is enough
            made[name] = pipeline.capture(spec_of(name))
        return made[name]

    return get


def check(captured, target: str, folder: Path):
    """Lowers, verifies and runs; returns the report."""
    artifact = pipeline.lower(captured, target, folder, verified=False)
    report = pipeline.verify(artifact)
    assert report.passed, [layer for layer in report.layers if not layer.explained] or report
    for layer in report.layers:
        assert layer.max_current_error <= layer.bound
    onnx.checker.check_model(str(artifact.file("model.onnx")), full_check=True)
    content = artifact.file("model.onnx").read_bytes()
    assert str(ROOT).encode() not in content
    assert b"site-packages" not in content
    vectors = Vectors.load(artifact.file(FILE))
    with pipeline.open(artifact) as runner:
        y = runner(vectors.x)
    assert y.shape == next(iter(vectors.outputs.values())).shape
    assert np.isfinite(y).all()
    return artifact, report


def check_engine(captured, folder: Path):
    """Builds a real engine without a GPU; tests/export/tensorrt/test_build.py verifies the networks behind them."""
    try:
        trt_library.load("tensorrt_rtx")
    except MissingRuntimeError as error:
        pytest.skip(str(error))
    info = pipeline.lower(captured, "tensorrt", folder, verified=False).manifest.target_info
    assert (folder / "model.engine").stat().st_size == info["engine_bytes"] > 100_000
    assert info["layers"] > 20


@pytest.mark.parametrize(("name", "target"), cases(SMALL, (*FORMS, "tensorrt"), WHOLE))
def test_every_zoo_model_takes_every_form_or_says_why_not(name, target, captures, tmp_path):
    captured = captures(name)
    if target == "tensorrt":
        check_engine(captured, tmp_path / "out")
        return
    if not captured.spiking and target != "onnx":
        with pytest.raises(UnsupportedError) as refused:
            pipeline.lower(captured, target, tmp_path / "out")
        assert refused.value.reasons
        assert not (tmp_path / "out").exists()
        return
    artifact, report = check(captured, target, tmp_path / "out")
    manifest = artifact.manifest
    assert len(manifest.neurons) == len(captured.neurons)
    if target == "onnx-step":
        session = onnx.load(str(artifact.file("model.onnx")), load_external_data=False).graph
        inputs = {value.name for value in session.input}
        outputs = {value.name for value in session.output}
        assert {state.input for state in manifest.states} <= inputs
        assert {state.output for state in manifest.states} <= outputs
        assert len(manifest.states) == len(captured.states) > 0
    if captured.spiking:
        decisions = sum(layer.decisions for layer in report.layers)
        assert decisions == report.spikes_compared > 0
        silent = [layer.layer for layer in report.layers if layer.spike_rate == 0.0]
        assert len(silent) < len(report.layers) / 4, "a silent network proves nothing"


def silhouettes(count, size):
    """Pictures of bytes: synthetic shadows of every class."""
    from neurokit.data.puppets import render

    pictures, _ = render("train", 2, size, seed=3)
    return torch.from_numpy(pictures[:count, None])


@pytest.mark.parametrize(("name", "target"), cases(SMALL, ["onnx-int8"], WHOLE))
def test_every_zoo_model_takes_int8_or_says_why_not(name, target, captures, tmp_path):
    captured = captures(name)
    if captured.spiking:
        with pytest.raises(UnsupportedError) as refused:
            pipeline.lower(captured, target, tmp_path / "out")
        assert "--numerics exact" in refused.value.reasons[0].fix
        assert not (tmp_path / "out").exists()
        return
    port = captured.spec.inputs[0]
    whole = port.dtype == "uint8"  # 1/f noise is no picture of bytes
    calibration = silhouettes(16, port.shape[-1]) if whole else images(16, port.shape, 3)
    allowed = (
        0.99 if whole else 0.9
    )  # untrained networks amplify what 8 bits lose, most of all those of black and white
    artifact = pipeline.lower(
        captured, target, tmp_path / "out", calibration=calibration, inputs=calibration[:4], max_error=allowed
    )
    report = pipeline.verify(artifact)
    assert report.verdict == "within tolerance", report.notes
    assert 0 < report.output_error_free < report.output_tolerance
    onnx.checker.check_model(str(artifact.file("model.onnx")), full_check=True)
    assert artifact.file("model.onnx").stat().st_size < sum(p.numel() for p in captured.module.parameters()) * 1.1 + 2e5
    with pipeline.open(artifact) as runner:
        y = runner(calibration.numpy())
    assert y.shape == (16, 15)
    assert np.isfinite(y).all()


@pytest.mark.parametrize(("factory", "target"), cases(OUTSIDE))
def test_spikingjelly_models_outside_the_zoo_are_verified_teacher_forced(factory, target, captures, tmp_path):
    captured = captures(f"{ROOT / 'examples' / 'spikingjelly_models.py'}:{factory}")
    _, report = check(captured, target, tmp_path / "out")
    assert all(layer.explained for layer in report.layers)
    rate = sum(layer.spike_rate * layer.decisions for layer in report.layers) / report.spikes_compared
    assert 0.03 < rate < 0.4


def test_capture_equals_spikingjellys_own_run():
    """The independent oracle of everything above: the module itself, run by its own library."""
    from spikingjelly.activation_based import functional

    for name in ("spiking_cnn", "sew_resnet_small"):
        spec = SMALL[name]
        module = spec.build().eval()
        functional.reset_net(module)
        x = torch.rand(spec.time_steps, 2, *spec.inputs[0].shape)
        with torch.no_grad():
            wanted = module(x)
        captured = pipeline.capture(dataclasses.replace(spec, build=lambda module=module: module))
        found = captured.program.module()(x, *captured.initial_states(2))[0]
        assert torch.equal(found, wanted), name


# Language models: tests/neurokit/models/decoder lowers and verifies each of them, in every form.
# tests/neurokit/models/vision_language, joint_dit and tests/neurokit/walls do so with theirs.
EDGE = (
    *("ecapa_tdnn_", "para_trans_cnn_", "swin_unetr", "acdit_", "att_swin_unet", "dae_former", "trans_dae"),
    *("dsa_decoder", "ear_unet", "emotionic", "macmd_", "oat"),
)  # tests/neurokit/models/test_edge_zoo.py
TEXTS = (
    "tiny_lm",
    "tiny_lm_qwen3",
    "tiny_doge",
    "tiny_tnl",
    "spiking_tnl",
    "tiny_vlm",
    "joint_dit_tiny",
    "ngram_encoder",
)


def test_no_model_is_without_a_fast_case():
    """Images are checked here by a small twin or as they are; texts by a small model of the same family."""
    fast = {case.values[0] for case in cases(SMALL, whole=WHOLE) if not case.marks}
    for name in MODELS.names():
        spec = MODELS.get(name)()
        if name in BASELINES:
            continue  # tests/neurokit/models/test_baselines.py: torchvision's own networks, whole, on small images
        if name in ZOO:
            assert spec.in_small().name in fast, name
            assert spec.in_small().in_small().name == spec.in_small().name, "a small model stands for itself"
        else:
            assert spec.large or spec.name in TEXTS or name.startswith(EDGE), f"{name} is no image and has no contract"


def test_every_target_describes_itself():
    for name, target in TARGETS.items():
        assert target.info.name == name
        assert target.info.summary
        assert target.info.requires
        assert "pip install" in target.info.install

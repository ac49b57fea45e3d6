"""The zoo's contract: published parameter counts, lawful specs, and networks that are alive."""

from __future__ import annotations

import itertools
import statistics
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from neurokit.data.digits import load_digits
from neurokit.data.synthetic import images, repeated_images
from neurokit.models.baselines import BASELINES  # tests/neurokit/models/test_baselines.py counts their parameters
from neurokit.models.common.untrained import calibrate_batch_norm, firing_rates
from neurokit.models.spiking_cnn import train
from neurokit.models.spiking_cnn.train import accuracy, train_digits
from neurokit.spec import MODELS, ModelSpec

# Published counts; spiking_cnn's by hand: 9 (16 + 16 32 + 32 64) + 2 (16 + 32 + 64) + 256 10 + 10.
PARAMETERS = {
    "metaspikeformer_15m": 15_112_208,
    "metaspikeformer_31m": 31_333_864,
    "metaspikeformer_55m": 55_350_248,
    "mobilenet_v2": 2_243_087,
    "puppets_mobilenet_v2": 2_243_087,
    "puppets_mobilenet_v2_035": 415_055,  # timm's mobilenetv2_035 has 1,677,128: 984 classes and 2 colours more
    "puppets_resnet34": 21_292_367,
    "puppets_spiking_mobilenet_v2": 415_055,  # neurons have no parameters
    "puppets_sew_resnet34": 21_286_095,  # ResNet-34's, less 2 colours of 64 7x7 filters
    "puppets_ms_resnet34": 335_735,  # 332,552 in convolutions, 975 in the head, the rest in normalisations
    "llama3_1b": 1_235_814_400,  # the public cards say 1.23 B and 0.6 B
    "qwen3_0_6b": 596_049_920,
    "spiking_tnl": 131_072,  # 2 256 64 + 3 (4 64 64 + 2 64 128)
    "tiny_doge": 144_486,
    "tiny_tnl": 151_680,
    "tiny_vlm": 246_432,  # tests/data/attention: counts of public libraries
    "joint_dit_tiny": 121_736,
    "tiny_lm": 217_664,  # tests/data/decoder: two oracles of a public library
    "tiny_lm_qwen3": 267_072,
    "resnet34": 21_292_367,
    "sew_resnet18": 11_689_512,
    "spiking_cnn": 25_978,
}
LARGE = {"metaspikeformer_31m", "metaspikeformer_55m"}  # the same code as 15m
TEXT = {
    "llama3_1b",
    "qwen3_0_6b",
    "spiking_tnl",
    "tiny_doge",
    "tiny_lm",
    "tiny_lm_qwen3",
    "tiny_tnl",
    "tiny_vlm",
    "joint_dit_tiny",
}  # tests/neurokit/models/decoder, vision_language and joint_dit run them
EMPTY = {name for name in MODELS.names() if MODELS.get(name)().large}  # not built by default


# test_edge_zoo.py beside this file counts them, and tests/neurokit/walls the last one.
ELSEWHERE = (
    *("ecapa_tdnn_", "para_trans_cnn_", "swin_unetr", "acdit_", "ngram_encoder", "att_swin_unet", "dae_former"),
    *("trans_dae", "dsa_decoder", "ear_unet", "emotionic", "macmd_", "oat"),
)


def test_every_model_is_covered_here() -> None:
    assert [name for name in MODELS.names() if not name.startswith(ELSEWHERE)] == sorted({*PARAMETERS, *BASELINES})
    assert not MODELS.broken


def what_it_says(name: str) -> ModelSpec:
    spec = MODELS.get(name)()
    assert spec.name == name
    assert spec.description
    assert spec.source
    return spec


@pytest.mark.parametrize("name", sorted(LARGE))
def test_a_large_model_is_described(name: str) -> None:
    """Of the others' code: test_metaspikeformer.py beside this file counts its parameters without making them."""
    what_it_says(name)


@pytest.mark.parametrize("name", sorted(set(PARAMETERS) - LARGE - EMPTY))
def test_parameters_are_counted_and_the_same_every_time_and_the_model_is_alive(name: str) -> None:
    spec = what_it_says(name)
    generator = torch.get_rng_state()
    module = spec.build()
    assert torch.equal(torch.get_rng_state(), generator)
    assert not any(layer.training for layer in module.modules())
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[name]
    torch.rand(3)
    second = spec.build().state_dict()
    assert all(torch.equal(value, second[key]) for key, value in module.state_dict().items())
    if name not in TEXT:
        alive(spec, module)


def alive(spec: ModelSpec, module: nn.Module) -> None:
    """Holds what a forward gives against the spec; every neuron fires, and classes differ."""
    x = spec.example(1, spec.time_steps or 1, 1)
    time_axis = (spec.time_steps,) if spec.spiking else ()
    assert x.shape == (*time_axis, 1, *spec.inputs[0].shape)
    with torch.no_grad():
        y = module(x)
    classes = len(spec.classes) or 1000
    assert y.shape == ((*time_axis, 1, classes) if spec.time_output == "sequence" else (1, classes))
    # Outputs that differ between classes: a vanished signal would leave only the bias of the head.
    assert float(y.std()) > 0.01
    if spec.spiking:
        rates = firing_rates(module, x)
        assert min(rates.values()) > 0
        assert 0.02 < statistics.mean(rates.values()) < 0.3


def test_example_depends_on_its_seed_alone() -> None:
    spec = MODELS.get("spiking_cnn")()
    assert torch.equal(spec.example(2, 3, 5), spec.example(2, 3, 5))
    assert not torch.equal(spec.example(2, 3, 5), spec.example(2, 3, 6))


def test_listing_the_zoo_loads_no_framework() -> None:
    code = "import sys; from neurokit.spec import MODELS; MODELS.names(); "
    code += "print([m for m in ('torch', 'torchvision', 'spikingjelly') if m in sys.modules])"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_images_have_the_spectrum_of_photographs() -> None:
    pictures = images(8, (3, 128, 128), seed=3)
    torch.testing.assert_close(pictures.mean((1, 2, 3)), torch.zeros(8), rtol=0, atol=1e-5)
    torch.testing.assert_close(pictures.std((1, 2, 3)), torch.ones(8), rtol=0, atol=1e-5)
    power = torch.fft.fft2(pictures).abs().square().mean((0, 1))[0]
    # Amplitude 1/f: from 4 to 32 cycles an image, power falls by 64 (a factor of 2 left for chance).
    ratio = power[3:6].mean() / power[28:37].mean()
    assert 32 < float(ratio) < 128


def test_calibration_is_the_statistics_of_one_pass_and_leaves_the_modes() -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5)).double()
    module[2].eval()
    module[1].momentum = 0.3
    x = torch.randn(50, 3, dtype=torch.float64)
    calibrate_batch_norm(module, x)
    z = module[0](x).detach()
    torch.testing.assert_close(module[1].running_mean, z.mean(0))
    torch.testing.assert_close(module[1].running_var, z.var(0))
    assert (module.training, module[1].training, module[2].training, module[1].momentum) == (True, True, False, 0.3)


def test_calibration_sets_the_scale() -> None:
    module = nn.Sequential(nn.BatchNorm1d(4), nn.BatchNorm1d(4, affine=False)).double().eval()
    x = 5 + 3 * torch.randn(400, 4, dtype=torch.float64)
    calibrate_batch_norm(module[:1], x, scale=2.0)
    torch.testing.assert_close(module[0](x).std(0), torch.full((4,), 2.0, dtype=torch.float64), rtol=1e-5, atol=0)
    calibrate_batch_norm(module, x, scale=2.0)  # nothing to set where there is no learnt weight


def test_calibration_restores_the_module_when_the_pass_fails() -> None:
    module = nn.Sequential(nn.BatchNorm1d(4)).train()
    with pytest.raises(RuntimeError):
        calibrate_batch_norm(module, torch.randn(3, 5))
    assert module.training
    assert module[0].momentum == 0.1


def test_firing_rates_count_spikes() -> None:
    from spikingjelly.activation_based import neuron

    module = nn.Sequential(neuron.IFNode(v_threshold=1.0, step_mode="m"))
    # Half a threshold a step: a spike every second step.
    assert firing_rates(module, torch.full((8, 1, 5), 0.5)) == {"0": 0.5}
    assert module[0].v == 0.0


def test_training_on_real_digits_reaches_97_percent() -> None:
    pytest.importorskip("sklearn")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    state = torch.get_rng_state()
    try:
        start = time.process_time()
        module, held_out = train_digits(seed=0, epochs=8)
        cpu_seconds = time.process_time() - start
    finally:
        torch.set_num_threads(threads)
    assert held_out >= 0.97
    assert cpu_seconds < 60
    assert torch.equal(torch.get_rng_state(), state)
    digits = load_digits(seed=0)
    assert len(digits.test_labels) == 450
    assert held_out == accuracy(module, digits.test_images, digits.test_labels)
    # the module fits the zoo's spec
    MODELS.get("spiking_cnn")().build().load_state_dict(module.state_dict())
    assert repeated_images(1, 4, 0, (1, 8, 8)).shape == (4, 1, 1, 8, 8)


def test_the_split_shares_no_image_and_depends_on_the_seed() -> None:
    pytest.importorskip("sklearn")
    first, again, other = load_digits(0), load_digits(0), load_digits(1)
    assert torch.equal(first.test_images, again.test_images)
    assert not torch.equal(first.test_images, other.test_images)
    assert len(first.train_labels) + len(first.test_labels) == 1797
    assert torch.bincount(first.test_labels).min() >= 43  # a tenth each, nearly


def test_training_stops_after_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """On a clock that goes on by a second a look: one at the start, one before every epoch but the first."""
    pytest.importorskip("sklearn")
    clock, epochs = itertools.count(), []
    monkeypatch.setattr(train, "time", SimpleNamespace(perf_counter=lambda: next(clock)))
    monkeypatch.setattr(train, "_train_epoch", lambda *given: epochs.append(given))
    train_digits(seconds=3.5, epochs=1000)
    assert len(epochs) == 4

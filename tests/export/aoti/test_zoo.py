"""Models of the registry and the target `aoti`: the rewritten program, with kernels, is verified without a compiler."""

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.spec import MODELS, ModelSpec, TensorSpec

from . import eager

# One of every kind, at most a few seconds each; of torchvision's and the other sizes of a model the slow run has all.
FAST = ("spiking_cnn", "ngram_encoder", "spiking_tnl", "puppets_mobilenet_v2_035", "acdit_b")
# They carry a state from call to call, so that they have a step form alone.
STEPS_ALONE = {"acdit_b_blocks", "oat", "tiny_vlm"}
# Their answers are others in float16, which verification says: drawn weights overflow it or amplify rounding without
# end, and a time step of hundreds has too few bits.
NOT_IN_16_BITS = {"inception_v3", "joint_dit_tiny", "resnet152"}


def names():
    return [name if name in FAST else pytest.param(name, marks=pytest.mark.slow) for name, _ in MODELS.items()]


def verified(model, folder, **options):
    artifact = nk.lower(model, "aoti", folder, verified=False, kernels="all", **options)
    report = nk.verify(artifact)
    assert report.passed, report.notes
    rows = artifact.manifest.target_info["kernels"]
    assert all(row["kernel"] or row["reasons"] for row in rows), "a layer stays outside without a word"
    assert sum(row["neurons"] for row in rows) == len(artifact.manifest.neurons)


@pytest.mark.parametrize("name", names())
def test_the_rewritten_program_of_a_model_is_verified(name, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    spec = MODELS.get(name)().in_small()
    if name not in STEPS_ALONE:
        verified(nk.capture(spec), tmp_path / "a")
        return
    with pytest.raises(UnsupportedError) as told:
        verified(spec, tmp_path / "a")
    (reason,) = told.value.reasons
    assert "keeps a state between calls" in reason.why
    assert reason.fix == "--option form=step"
    verified(spec, tmp_path / "a", form="step")


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, _ in MODELS.items()])
def test_a_model_in_16_bits_is_verified_or_says_why_not(name, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    captured = nk.capture(MODELS.get(name)().in_small())
    if name in NOT_IN_16_BITS:
        artifact = nk.lower(captured, "aoti", tmp_path / "a", verified=False, precision="float16")
        assert not nk.verify(artifact).passed
        return
    try:
        verified(captured, tmp_path / "a", precision="float16")
    except UnsupportedError as told:
        refused = [reason.why for reason in told.reasons]
    else:
        return
    assert any("state" in why for why in refused), refused


class Difference(nn.Module):
    """Of two numbers that are nearly one: in any type most of it is what they were rounded by."""

    def __init__(self, apart):
        super().__init__()
        self.first, self.second = nn.Linear(64, 64), nn.Linear(64, 64)
        with torch.no_grad():
            self.second.weight.copy_(self.first.weight + apart * torch.randn(64, 64))
            self.second.bias.copy_(self.first.bias)

    def forward(self, x):
        return self.first(x) - self.second(x)


@pytest.mark.parametrize(("apart", "passes"), [(2e-3, True), (2e-5, False)])
def test_what_amplifies_rounding_is_held_to_its_own_in_16_bits(apart, passes, tmp_path, monkeypatch):
    """Up to a quarter of the answer, and the report says so; a fault of as much as the answer itself does not pass."""
    eager.install(monkeypatch)
    torch.manual_seed(0)
    net = Difference(apart).eval()
    captured = nk.capture(ModelSpec("difference", lambda: net, (TensorSpec("x", (64,)),)))
    artifact = nk.lower(captured, "aoti", tmp_path / "a", verified=False, precision="float16")
    report = nk.verify(artifact)
    assert report.passed is passes, report.notes
    said = [note for note in report.notes if "amplifies rounding: in float16" in note]
    assert len(said) == 1

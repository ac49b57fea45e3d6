"""Models of the edge zoo against what the public code of each gives in float64 for weights filled by a rule."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from neurokit import pipeline
from neurokit.errors import UnsupportedError
from neurokit.models.acdit.net import ACDiT, Sizes, angles, positions, visible
from neurokit.models.ecapa_tdnn.features import LogMel
from neurokit.models.ecapa_tdnn.net import EcapaTDNN
from neurokit.models.para_trans_cnn.net import ParaTransCNN
from neurokit.spec import MODELS
from tests.neurokit.models.zoo_oracles import assert_equal, count, fill, named, oracle, state_of

TWINS = (
    "acdit_b",
    "acdit_b_blocks",
    "att_swin_unet",
    "dae_former",
    "dsa_decoder",
    "ear_unet",
    "ecapa_tdnn_512",
    "ecapa_tdnn_512_stream",
    "emotionic",
    "macmd_b0",
    "oat",
    "para_trans_cnn_32",
    "swin_unetr",
    "trans_dae",
)
STEPS = ("acdit_b_blocks", "ecapa_tdnn_512_stream", "oat")  # with states: the step forms
QUICK = (("ecapa_tdnn_512", "onnx"),)  # in every run; the rest, and the models themselves, are slow
CASES = [(name, target) for name in TWINS for target in ("onnx", "onnx-int8", "tensorrt", "aoti")]
# What a target does not take, with a word of its reason.
REFUSED = {
    ("acdit_b_blocks", "onnx-int8"): "declared states",
    ("ecapa_tdnn_512_stream", "onnx-int8"): "declared states",
    ("oat", "onnx-int8"): "several graphs",
    ("oat", "tensorrt"): "several graphs",
}
# Untrained, no layer of it alone costs more than a tenth, and all 193 together most of the answer; trained it loses
# less than two points (test_edge_learning.py).
OPTIONS = {("macmd_b0", "onnx-int8"): {"max_error": 0.9}}


def test_ecapa_is_the_public_network() -> None:
    expected = oracle("ecapa_tdnn_512")
    module = fill(EcapaTDNN(512).double())
    assert state_of(module) == named(expected["state"])
    assert count(module) == expected["parameters"] == 6_194_048
    for frames in (200, 317):
        x = torch.from_numpy(np.random.RandomState(7).standard_normal((1, frames, 80)))
        with torch.no_grad():
            assert_equal(module(x), expected["cases"][f"T{frames}"]["output"])


@pytest.mark.parametrize(
    ("make", "parameters"),
    [
        (lambda: EcapaTDNN(1024), 14_660_416),
        (lambda: ParaTransCNN(320), 245_468_937),
        (lambda: ParaTransCNN(64), 53_792_777),
    ],
)
def test_published_numbers_of_parameters(make, parameters: int) -> None:
    with torch.device("meta"):
        assert count(make()) == parameters


def test_log_mel_features_are_torchaudios() -> None:
    torchaudio = pytest.importorskip("torchaudio", reason="torchaudio has no wheel for the newest torch")
    waveform = 0.1 * torch.randn(2, 8000, generator=torch.Generator().manual_seed(0))
    mel = torchaudio.transforms.MelSpectrogram(
        16_000, n_fft=400, win_length=400, hop_length=160, n_mels=80, window_fn=torch.hamming_window
    )
    theirs = (mel(waveform) + 1e-6).log()
    theirs = (theirs - theirs.mean(2, keepdim=True)).transpose(1, 2)
    assert (LogMel()(waveform) - theirs).abs().max() < 1e-4


def test_causal_features_do_not_depend_on_what_follows() -> None:
    waveform = torch.randn(1, 4800, generator=torch.Generator().manual_seed(1))
    whole, part = (LogMel(causal=True)(waveform[:, :samples]) for samples in (4800, 1600))
    torch.testing.assert_close(whole[:, : part.shape[1]], part, rtol=1e-5, atol=1e-5)


def test_para_trans_cnn_is_the_public_network() -> None:
    expected = oracle("para_trans_cnn_32")
    module = fill(ParaTransCNN(32).double())
    assert state_of(module) == named(expected["state"])
    assert count(module) == expected["parameters"] == 42_704_553
    x = torch.from_numpy(np.random.RandomState(7).uniform(0, 1, (2, 3, 64, 64)))
    with torch.no_grad():
        assert_equal(module(x), expected["output"])


@pytest.mark.slow
def test_swin_unetr_is_the_public_network() -> None:
    networks = pytest.importorskip("monai.networks.nets")
    expected = oracle("swin_unetr_12")
    module = fill(networks.SwinUNETR(in_channels=4, out_channels=3, feature_size=12).double())
    assert state_of(module) == named(expected["state"])
    x = torch.from_numpy(np.random.RandomState(7).uniform(0, 1, (1, 4, 64, 64, 64)))
    with torch.no_grad():
        assert_equal(module(x), expected["output"])
    assert count(networks.SwinUNETR(in_channels=4, out_channels=3, feature_size=48)) == 62_191_941


@pytest.mark.parametrize("blocks", [1, 2, 3, 4])
@pytest.mark.parametrize("tokens", [1, 2, 3, 4])
def test_visibility_is_the_published_rule(blocks: int, tokens: int) -> None:
    n = blocks * tokens
    mask = visible(blocks, tokens)
    for query in range(2 * n):
        for key in range(2 * n):
            q, k = query % n // tokens, key % n // tokens
            rule = {(0, 0): q >= k, (0, 1): False, (1, 0): q > k, (1, 1): q == k}
            assert mask[query, key] == rule[query // n, key // n]


def test_number_of_visible_keys_is_the_public_codes() -> None:
    for case in oracle("acdit_b")["masks"]:
        assert int(visible(case["T"], case["B"]).sum()) == case["true_count"]


def test_turned_queries_are_the_public_codes() -> None:
    places = positions(Sizes())
    (index,) = ((places[0] == 3) & (places[1] == 17)).nonzero().flatten().tolist()
    turn = angles(Sizes())[index]
    q = torch.from_numpy(np.random.RandomState(1).standard_normal(64))
    turned = q * turn.cos() + torch.cat([-q[32:], q[:32]]) * turn.sin()
    expected = oracle("acdit_b")["rope_probe"]["output"]
    np.testing.assert_allclose(turned[: len(expected)], expected, atol=1e-12)


@pytest.mark.slow
def test_acdit_is_the_public_network_in_one_pass_and_block_by_block() -> None:
    expected = oracle("acdit_b")
    module = fill(ACDiT(Sizes()).double())
    assert state_of(module) == named(expected["state"])
    assert count(module) == expected["parameters"] == 130_305_028
    rs = np.random.RandomState(7)
    clean, noised = (torch.from_numpy(rs.standard_normal((1, 4, 256, 4))) for _ in range(2))
    t, label = torch.tensor([[100.0, 350.0, 600.0, 850.0]]).double(), torch.tensor([3])
    cache: list[tuple[Tensor, Tensor]] = []
    with torch.no_grad():
        assert_equal(module(clean, noised, t, label), expected["cases"]["train"])
        for block in range(3):
            cache = module.remember(clean[:, block - 1], block - 1, cache) if block else cache
            y = module.predict(noised[:, block], block, t[:, block], label, cache)
            assert_equal(y, expected["cases"][f"infer{block}"])


@pytest.mark.parametrize(("blocks", "side"), [(1, 4), (2, 4), (4, 4)])
def test_remembered_blocks_give_the_whole_pass(blocks: int, side: int) -> None:
    sizes = Sizes(depth=2, width=32, heads=2, side=side, blocks=blocks, classes=5)
    torch.manual_seed(blocks)
    module = ACDiT(sizes).double().eval()
    clean, noised = (torch.randn(2, sizes.count, sizes.tokens, 4).double() for _ in range(2))
    t, label = torch.rand(2, sizes.count).double() * 1000, torch.tensor([1, 5])
    cache: list[tuple[Tensor, Tensor]] = []
    keys = values = torch.zeros(2, 4, 0, 16).double()  # the same as one function with a flag: what is exported
    with torch.no_grad():
        whole = module(clean, noised, t, label).unflatten(1, (sizes.count, sizes.tokens))
        changed = clean.clone()
        changed[:, -1] += 1
        # The last clean block comes before no other: nothing may depend on it.
        assert torch.equal(module(changed, noised, t, label), whole.flatten(1, 2))
        for block in range(sizes.count):
            y = module.predict(noised[:, block], block, t[:, block], label, cache)
            torch.testing.assert_close(y, whole[:, block], rtol=0, atol=1e-12)
            cache = module.remember(clean[:, block], block, cache)
            at, none = torch.full((2,), block), torch.zeros(2).double()
            y, _, _ = module.step(noised[:, block], at, t[:, block], label, none, keys, values)
            torch.testing.assert_close(y, whole[:, block], rtol=0, atol=1e-12)
            _, keys, values = module.step(clean[:, block], at, none, label, none + 1, keys, values)


@pytest.mark.parametrize(
    ("name", "target"),
    [pytest.param(*case, marks=() if case in QUICK else pytest.mark.slow) for case in CASES],
)
def test_small_twins_take_every_target_or_say_why_not(name: str, target: str, tmp_path: Path) -> None:
    captured = pipeline.capture(MODELS.get(name)().in_small())
    folder, options = tmp_path / "artifact", dict(OPTIONS.get((name, target), {}))
    if name in STEPS:
        options |= {"form": "step"} if target == "aoti" else {}
        target = "onnx-step" if target == "onnx" else target
    if (name, target) in REFUSED:
        with pytest.raises(UnsupportedError) as refused:
            pipeline.lower(captured, target, folder, verified=False, **options)
        assert any(REFUSED[name, target] in str(reason) for reason in refused.value.reasons)
        assert not folder.exists()
        return
    if target == "tensorrt":
        pytest.importorskip("tensorrt_rtx")
    artifact = pipeline.lower(captured, target, folder, verified=False, **options)
    if target == "tensorrt":  # built here; an engine runs on a GPU
        assert artifact.manifest.target_info["layers"] > 20
        return
    report = pipeline.verify(artifact)
    assert report.passed, report.notes
    if name == "ecapa_tdnn_512" and target == "onnx":  # recordings of any length
        module = captured.spec.build()
        with pipeline.open(artifact) as runner:
            for samples in (3200, 8000, 17_600):
                waveform = torch.randn(2, samples, generator=torch.Generator().manual_seed(samples)) * 0.1
                with torch.no_grad():
                    expected = module(waveform)
                np.testing.assert_allclose(runner(waveform.numpy()), expected, rtol=1e-4, atol=1e-4)

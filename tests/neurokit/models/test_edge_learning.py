"""Models of the edge zoo learn a synthetic task in a minute, and know it in every deployed form."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import neurokit as nk
from neurokit.models.ecapa_tdnn.voice import Voice, voices
from neurokit.spec import MODELS, ModelSpec, TaskSpec, TensorSpec
from neurokit.tasks.scoring import task_named

SAMPLES = 8000
FLOAT, INT8 = 0.005, 0.02  # by which a deployed form's metric may differ from torch's

pytestmark = pytest.mark.slow


def assert_knows(spec: ModelSpec, x: Tensor, y: np.ndarray, kept: Tensor, path: Path, bound: float) -> None:
    """Holds the headline metric of torch against a bound, and those of float and int8 artifacts against torch's."""
    assert spec.task is not None
    task, settings = task_named(spec.task.name, spec.task.settings)

    def score(outputs: np.ndarray) -> float:
        return float(task.score(task.predict({"y": outputs}, settings), y, settings)[task.info.headline].value)

    def first(found: object) -> np.ndarray:
        return np.asarray(next(iter(found.values())) if isinstance(found, dict) else found)

    with torch.no_grad():
        known = spec.build()(x)
    known = score((known[0] if isinstance(known, tuple) else known).numpy())
    assert (known < bound) if task.info.headline in task.info.less_is_better else (known > bound), known
    captured, name = nk.capture(spec), spec.inputs[0].name
    for target, allowed in (("onnx", FLOAT), ("onnx-int8", INT8)):
        more = {"calibration": kept} if target == "onnx-int8" else {}
        artifact = nk.lower(captured, target, path / target, verified=False, **more)
        with nk.open(artifact) as runner:
            found = score(np.concatenate([first(runner({name: part.numpy()})) for part in x.split(4)]))
        print(spec.name, target, found, known)
        assert abs(found - known) <= allowed, (target, found, known)


def test_ecapa_tells_speakers_apart(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module, count = Voice(32, pooled=48, scale=4, inner=16), 24
    head = nn.Parameter(torch.randn(count, 192) * 0.1)
    optimiser = torch.optim.Adam([*module.parameters(), head], lr=2e-3)
    for step in range(200):
        speakers = torch.randint(count, (16,))
        cosine = F.linear(F.normalize(module(voices(speakers, SAMPLES, 1000 + step))), F.normalize(head))
        margin = 0.2 * F.one_hot(speakers, count)  # additive margin, scale 30
        loss = F.cross_entropy(30 * (cosine - margin), speakers)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module.eval()
    spec = ModelSpec(
        "speakers",
        lambda: module,
        (TensorSpec("waveform", (SAMPLES,), layout="L", low=-1.0),),
        task=TaskSpec("verification", {"sample_rate": 16_000}),
    )
    who = torch.arange(100, 112).repeat_interleave(5)  # speakers that were not heard in training
    x = voices(who, SAMPLES, 7)
    assert_knows(spec, x, who.numpy(), voices(torch.arange(16), SAMPLES, 8), tmp_path, 0.10)


def ellipses(count: int, seed: int) -> tuple[Tensor, Tensor]:
    """Returns pictures `[count, 3, 64, 64]` of a bright ellipse in noise, and its mask `[count, 64, 64]`."""
    drawn = torch.Generator().manual_seed(seed)
    row, column = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    centre = 16 + 32 * torch.rand(count, 2, 1, 1, generator=drawn)
    axes = 6 + 10 * torch.rand(count, 2, 1, 1, generator=drawn)
    inside = ((row - centre[:, 0]) / axes[:, 0]) ** 2 + ((column - centre[:, 1]) / axes[:, 1]) ** 2 < 1
    noise = torch.rand(count, 3, 64, 64, generator=drawn)
    return 0.5 * noise + 0.4 * inside[:, None], inside.long()


def test_a_u_net_with_gates_finds_ellipses(tmp_path: Path) -> None:
    pytest.importorskip("timm")
    spec = MODELS.get("ear_unet")().in_small()
    module = spec.build().train()
    for layer in module.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 0.1
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for step in range(200):
        x, mask = ellipses(8, 1000 + step)
        scores, target = module(x)[0][:, 0], mask.float()
        said = scores.sigmoid()
        dice = 1 - (2 * (said * target).sum() + 1) / (said.sum() + target.sum() + 1)
        loss = F.binary_cross_entropy_with_logits(scores, target) + dice
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    module.eval()
    learnt = ModelSpec(
        "ellipses",
        lambda: module,
        spec.inputs,
        outputs=spec.outputs,
        task=TaskSpec("segmentation", {"background": 0}),
    )
    x, mask = ellipses(64, 7)
    assert_knows(learnt, x, mask.numpy(), ellipses(32, 8)[0], tmp_path, 0.95)

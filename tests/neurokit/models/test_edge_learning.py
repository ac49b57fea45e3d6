"""Models of the edge zoo learn a synthetic task in a minute, and know it in every deployed form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.data.labelled import Labelled
from neurokit.errors import UnsupportedError
from neurokit.models.emotionic.net import EmotionIC
from neurokit.spec import MODELS, ModelSpec
from neurokit.tasks.evaluate import headline_score
from neurokit.tasks.scanpaths import Scanpaths
from neurokit.transforms.qcfs.convert import converted
from tests.neurokit.models import edge_tasks as tasks

# Steps and rate of each; `make test-slow` runs what is marked.
SEGMENTERS = (
    ("att_swin_unet", 400, 2e-3),
    ("dae_former", 400, 3e-3),
    ("dsa_decoder", 200, 3e-3),
    ("ear_unet", 200, 3e-3),
    ("macmd_b0", 200, 2e-3),
    ("para_trans_cnn_32", 80, 2e-3),
    ("trans_dae", 200, 2e-3),
)


@pytest.mark.slow
def test_ecapa_tells_speakers_apart(tmp_path: Path) -> None:
    spec, data, kept = tasks.speakers_learnt()
    tasks.assert_knows(spec, data, kept[:16], tmp_path, 0.10)


@pytest.mark.slow
def test_ecapa_and_macmd_know_their_tasks_as_spiking_networks() -> None:
    """Converted to 4 and to 16 steps: within 2 points of the network, and its outputs nearer with more steps."""
    learnt = {"ecapa": tasks.speakers_learnt(), "macmd": segmenter_learnt("macmd_b0", 200, 2e-3)}
    for name, (spec, data, calibration) in learnt.items():
        before = headline_score(nk.capture(spec), data)
        errors = []
        for steps in (4, 16):
            done = converted(spec, steps, calibration)
            after = headline_score(nk.capture(done.spec), data)
            print(name, steps, before, after, done.error)
            assert abs(after - before) <= tasks.INT8, (name, steps, before, after)
            errors.append(done.error)
        assert errors[1] < errors[0] < 0.6


@pytest.mark.slow
@pytest.mark.parametrize(("name", "steps", "rate"), SEGMENTERS)
def test_a_segmenter_finds_ellipses(name: str, steps: int, rate: float, tmp_path: Path) -> None:
    if name == "ear_unet":
        pytest.importorskip("timm")
    learnt, data, kept = segmenter_learnt(name, steps, rate)
    tasks.assert_knows(learnt, data, kept, tmp_path, 0.85)


def segmenter_learnt(name: str, steps: int, rate: float) -> tuple[ModelSpec, Labelled, torch.Tensor]:
    """Returns a small segmenter that finds ellipses, pictures of others with masks, and some to calibrate on."""
    spec = MODELS.get(name)().in_small()
    channels, side, _ = spec.inputs[0].numbers
    torch.manual_seed(0)
    module = spec.build()
    tasks.find_ellipses(module, channels, side, steps, rate)
    learnt = replace(spec, name="ellipses", build=lambda: module, example=None)
    x, mask = tasks.ellipses(64, 7, channels, side)
    return learnt, Labelled(x.numpy(), mask.numpy()), tasks.ellipses(32, 8, channels, side)[0]


@pytest.mark.slow
def test_emotionic_learns_emotions_that_last(tmp_path: Path) -> None:
    features, longest = 32, 8
    torch.manual_seed(0)
    module = EmotionIC(features, width=24, layers=2, cells=2, heads=4)
    prototypes = 0.3 * torch.randn(6, features, generator=torch.Generator().manual_seed(1))
    tasks.learn_emotions(module, prototypes, longest, 200)
    spec = replace(MODELS.get("emotionic")().in_small(), build=lambda: module)
    text, speaker, labels = tasks.dialogues(400, 7, prototypes, longest)
    alone = torch.cdist(text, prototypes.expand(len(text), -1, -1)).argmin(2)  # the nearest prototype
    share = float((alone == labels)[labels >= 0].float().mean())
    kept, who, _ = tasks.dialogues(64, 8, prototypes, longest)
    data = Labelled({"text": text.numpy(), "speaker": speaker.numpy()}, labels.numpy())
    tasks.assert_knows(spec, data, {"text": kept, "speaker": who}, tmp_path, share + 0.05)


@pytest.mark.slow
def test_oat_learns_reading_order(tmp_path: Path) -> None:
    spec = MODELS.get("oat")().in_small()
    torch.manual_seed(0)
    module = spec.build()
    tasks.learn_reading_order(module, 150)
    learnt = replace(spec, build=lambda: module)
    images, target = tasks.shelves(48, 7, module)
    with torch.no_grad():
        known = [tasks.path_of(module, image, int(at)) for image, at in zip(images, target, strict=True)]
    places = np.array(spec.task.settings["places"])
    right = tasks.read_in_order(target, places)

    def score(paths: list[np.ndarray]) -> float:
        said = np.full((len(paths), 33, 3), -1.0)
        for row, path in zip(said, paths, strict=True):
            row[: len(path)] = np.c_[path, np.zeros(len(path))]
        return float(Scanpaths().score(said, right, spec.task.settings)["sequence_score"].value)

    before = score([places[path] for path in known])
    assert before > 0.95, before
    captured = nk.capture(learnt)
    artifact = nk.lower(captured, "onnx-step", tmp_path / "step", verified=False)
    shelves = [{"images": image.numpy(), "target": np.int64(at)} for image, at in zip(images, target, strict=True)]
    said = [[(f["x"], f["y"]) for f in one["fixations"]] for one in nk.answer(artifact, shelves)]
    after = score([np.array(path).reshape(-1, 2) for path in said])
    print("oat", before, after)
    assert abs(after - before) <= tasks.FLOAT
    with pytest.raises(UnsupportedError) as refused:  # int8 of several graphs: says why not
        nk.lower(captured, "onnx-int8", tmp_path / "int8", verified=False)
    assert refused.value.reasons

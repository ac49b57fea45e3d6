"""`neurokit run` on files: volumes to masks, recordings to a distance, a shelf to a scanpath, dialogues to emotions."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import wavfile
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.answers import answer
from neurokit.artifact import Artifact
from neurokit.errors import InputError, OutputError
from neurokit.models.ecapa_tdnn.voice import voices
from neurokit.spec import MODELS, ModelSpec, TaskSpec, TensorSpec
from neurokit.tasks.sliding_window import slide
from neurokit.volume_answers import segment

WINDOW = (8, 8, 8)
SETTINGS = {"spacing_mm": [1.0, 1.0, 1.0], "regions": ["a", "b"]}


@pytest.mark.slow  # importing MONAI takes seconds
@pytest.mark.parametrize("sides", [(8, 8, 8), (11, 20, 9), (5, 9, 8)])
@pytest.mark.parametrize("overlap", [0.0, 0.5, 0.7])
def test_windows_are_laid_and_averaged_as_monai_does(sides: tuple[int, ...], overlap: float) -> None:
    inferers = pytest.importorskip("monai.inferers")
    volume = np.random.default_rng(0).standard_normal((2, *sides)).astype(np.float32)
    ramp = np.arange(8**3, dtype=np.float32).reshape(WINDOW) / 100  # what a place is given depends on its window

    def run(x: np.ndarray) -> np.ndarray:
        return x.sum(1, keepdims=True) * ramp

    wanted = inferers.sliding_window_inference(
        torch.from_numpy(volume[None]), WINDOW, 1, lambda x: torch.from_numpy(run(x.numpy())), overlap=overlap
    )
    np.testing.assert_allclose(slide(run, volume, WINDOW, overlap), wanted[0], rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def segmenter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    net = nn.Conv3d(4, 2, 1).eval()
    spec = ModelSpec(
        "volumes",
        lambda: net,
        (TensorSpec("image", (4, *WINDOW), layout="CDHW"),),
        task=TaskSpec("segmentation", SETTINGS),
    )
    return nk.lower(nk.capture(spec), "onnx", tmp_path_factory.mktemp("v") / "a", verified=False).path


def volume(path: Path, sides: tuple[int, ...], spacing: float = 1.0) -> np.ndarray:
    nibabel = pytest.importorskip("nibabel")
    data = np.random.default_rng(0).random(sides).astype(np.float32)
    nibabel.save(nibabel.Nifti1Image(data, np.diag([spacing] * 3 + [1.0])), path)
    return data


def test_a_volume_becomes_a_mask_in_its_own_space(segmenter: Path, tmp_path: Path, capsys) -> None:
    nibabel = pytest.importorskip("nibabel")
    data = volume(tmp_path / "case.nii.gz", (11, 9, 13, 4))
    files = [str(segmenter), str(tmp_path / "case.nii.gz")]
    assert cli.main(["run", *files, "--out", str(tmp_path / "masks"), "--overlap", "0.7", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)["answers"][0]["answer"]
    mask = nibabel.load(said["saved"])
    assert np.array_equal(mask.affine, nibabel.load(tmp_path / "case.nii.gz").affine)
    torch.manual_seed(0)
    with torch.no_grad():  # a pointwise network gives every window's places what it gives the whole
        whole = nn.Conv3d(4, 2, 1)(torch.from_numpy(data).permute(3, 0, 1, 2)[None])[0]
    given = np.asarray(mask.dataobj)
    assert given.shape == (11, 9, 13, 2)
    assert np.array_equal(given, (whole > 0).permute(1, 2, 3, 0).numpy())
    assert said["shares"] == pytest.approx({name: float(given[..., i].mean()) for i, name in enumerate("ab")})
    assert sorted(p.name for p in (tmp_path / "masks").iterdir()) == ["case_mask.nii.gz"]


def test_volumes_that_do_not_fit_are_refused_in_a_line(segmenter: Path, tmp_path: Path) -> None:
    volume(tmp_path / "one.nii.gz", (9, 9, 9))
    volume(tmp_path / "three.nii.gz", (9, 9, 9, 3))
    volume(tmp_path / "coarse.nii.gz", (9, 9, 9, 4), spacing=2.0)
    (tmp_path / "broken.nii.gz").write_bytes(b"no volume")
    for name, message in (
        ("one", "holds 1 modality,"),
        ("three", "holds 3 modalities"),
        ("coarse", "voxels of 2 x 2 x 2 mm"),
        ("broken", "cannot be read"),
        ("missing", "there is no file"),
    ):
        with pytest.raises(InputError, match=message):
            segment(segmenter, [tmp_path / f"{name}.nii.gz"], tmp_path / "masks")
    assert not (tmp_path / "masks").exists()


def test_a_modality_of_zeros_is_a_missing_one_where_zero_is_no_tissue(segmenter: Path, tmp_path: Path) -> None:
    nibabel = pytest.importorskip("nibabel")
    data = np.random.default_rng(0).random((9, 9, 9, 4)).astype(np.float32)
    data[..., 2] = 0
    nibabel.save(nibabel.Nifti1Image(data, np.eye(4)), tmp_path / "case.nii.gz")
    artifact = Artifact.load(segmenter)
    segment(artifact, [tmp_path / "case.nii.gz"])  # any number is an intensity there
    task = artifact.manifest.task.model_copy(update={"settings": {**SETTINGS, "intensity": "nonzero"}})
    of_heads = replace(artifact, manifest=artifact.manifest.model_copy(update={"task": task}))
    with pytest.raises(InputError, match="nothing but zeros in modality 3"):
        segment(of_heads, [tmp_path / "case.nii.gz"])


@pytest.fixture(scope="module")
def painter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose class is the brightest of three channels."""
    spec = ModelSpec(
        "painter",
        nn.Identity,
        (TensorSpec("image", (3, 8, 8), layout="CHW"),),
        task=TaskSpec("segmentation", {"background": 0}),
    )
    return nk.lower(nk.capture(spec), "onnx", tmp_path_factory.mktemp("p") / "a", verified=False).path


def test_a_picture_becomes_a_mask_in_its_own_size(painter: Path, tmp_path: Path, capsys) -> None:
    quarters = np.zeros((30, 20, 3), np.uint8)  # wider than the network's input, and of another shape
    quarters[:15, :10, 0] = quarters[15:, :10, 1] = quarters[:15, 10:, 2] = 255
    quarters[15:, 10:, 2] = 200
    Image.fromarray(quarters).save(tmp_path / "four.png")
    Image.fromarray(quarters[:3, :2]).save(tmp_path / "smaller.png")
    files = [str(tmp_path / name) for name in ("four.png", "smaller.png")]
    assert cli.main(["run", str(painter), *files, "--out", str(tmp_path / "masks"), "--json"]) == 0
    said = [row["answer"] for row in json.loads(capsys.readouterr().out)["answers"]]
    with Image.open(said[0]["saved"]) as mask:
        assert mask.mode == "P"
        given = np.asarray(mask)
    brightest = quarters.argmax(2)
    away = np.ones((30, 20), bool)
    away[11:19], away[:, 6:14] = False, False  # where resizing mixes the quarters
    assert given.shape == (30, 20)
    assert np.array_equal(given[away], brightest[away])
    assert Image.open(said[1]["saved"]).size == (2, 3)
    assert sorted(path.name for path in (tmp_path / "masks").iterdir()) == ["four_mask.png", "smaller_mask.png"]
    assert answer(painter, [quarters], out=tmp_path / "more")[0]["saved"].endswith("sample-1_mask.png")


def test_masks_that_cannot_be_written_are_refused_before_anything_runs(painter: Path, tmp_path: Path) -> None:
    for name in ("a.png", "a.bmp"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    with pytest.raises(InputError, match="two samples would write"):
        answer(painter, [tmp_path / "a.png", tmp_path / "a.bmp"], out=tmp_path / "masks")
    with pytest.raises(OutputError, match="is no folder"):
        answer(painter, [tmp_path / "a.png"], out=tmp_path / "a.bmp")
    assert not (tmp_path / "masks").exists()


class Waves(nn.Module):
    """Energies of four shifts of a waveform: an embedding without weights."""

    def forward(self, waveform: torch.Tensor) -> torch.Tensor:
        size = waveform.shape[1]
        return torch.stack([(waveform[:, lag:] * waveform[:, : size - lag]).mean(1) for lag in (0, 8, 16, 32)], 1)


def test_two_recordings_give_a_distance_and_wrong_ones_a_line(tmp_path: Path, capsys) -> None:
    from neurokit.models.ecapa_tdnn import SAMPLES

    spec = ModelSpec(
        "waves",
        lambda: Waves().eval(),
        (TensorSpec("waveform", (SAMPLES,), layout="L", low=-1.0),),
        task=TaskSpec("verification", {"sample_rate": 16_000}),
        example=lambda batch, steps, seed, sizes=None: torch.randn(batch, (sizes or {}).get("samples", 3200)) * 0.1,
    )
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a", verified=False)
    said = voices(torch.tensor([1, 1, 2]), 8000, 0).numpy()
    files = [tmp_path / f"{number}.wav" for number in range(3)]
    for file, wave in zip(files, said, strict=True):
        wavfile.write(file, 16_000, wave)
    assert cli.main(["run", str(artifact.path), *map(str, files), "--json"]) == 0
    pairs = json.loads(capsys.readouterr().out)["pairs"]
    each = [Waves()(torch.from_numpy(wave[None]))[0].double().numpy() for wave in said]
    for row, (a, b) in zip(pairs, ((0, 1), (0, 2), (1, 2)), strict=True):
        assert row["pair"] == [str(files[a]), str(files[b])]
        cosine = each[a] @ each[b] / np.linalg.norm(each[a]) / np.linalg.norm(each[b])
        assert row["distance"] == pytest.approx(1 - cosine, abs=1e-5)
    for name, rate, wave, message in (
        ("rate", 8000, said[0], "8000 samples a second"),
        ("stereo", 16_000, np.stack([said[0]] * 2, 1), "has 2 channels"),
        ("empty", 16_000, said[0][:0], "has 0 samples"),
        ("short", 16_000, said[0][:100], "has 100 samples"),
        ("silent", 16_000, np.zeros(4000, np.float32), "silent"),
    ):
        wavfile.write(tmp_path / f"{name}.wav", rate, wave)
        with pytest.raises(InputError, match=message):
            answer(artifact, [tmp_path / f"{name}.wav"])


@pytest.mark.slow
@torch.no_grad()
def test_a_shelf_becomes_the_scanpath_of_torchs_search(tmp_path: Path) -> None:
    spec = MODELS.get("oat")().in_small()
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "a", verified=False)
    images = np.random.default_rng(0).random((6, 34, 34, 3), dtype=np.float32)
    np.savez(tmp_path / "shelf.npz", images=images, target=np.int64(4))
    said = answer(artifact, [{"images": images, "target": np.int64(4)}])[0]
    assert answer(artifact, [tmp_path / "shelf.npz"]) == [said]
    np.save(tmp_path / "images.npy", images)
    (tmp_path / "shelf.json").write_text(json.dumps({"images": "images.npy", "target": 4}))
    assert answer(artifact, [tmp_path / "shelf.json"]) == [said]
    with pytest.raises(InputError, match="target holds 6"):
        answer(artifact, [{"images": images, "target": np.int64(6)}])
    module = spec.build()
    memory, fixations = module.encode(torch.from_numpy(images[None]), torch.tensor([4]))
    keys = values = torch.zeros(1, 2, 0, 32)
    token, path = torch.tensor([[8]]), []
    while len(path) < 32:
        scores, keys, values = module.step(token, memory, fixations, keys, values)
        token = scores[:, -1, : 7 if path else 6].argmax(1, keepdim=True)
        if int(token) == 6:
            break
        path.append(int(token))
    assert [(f["x"], f["y"]) for f in said["fixations"]] == [(n % 3, n // 3) for n in path]


@pytest.mark.slow
def test_a_dialogue_becomes_emotions_by_the_exact_decoding(tmp_path: Path) -> None:
    spec = MODELS.get("emotionic")().in_small()
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a", verified=False)
    feeds = {name: value[0].numpy() for name, value in spec.example(1, 1, 0).items()}
    said = answer(artifact, [feeds])[0]["labels"]
    count = (feeds["speaker"] >= 0).sum()
    assert len(said) == count
    utterances = [
        {"speaker": f"speaker {who}", "features": row.tolist()}
        for who, row in zip(feeds["speaker"][:count].tolist(), feeds["text"], strict=False)
    ]
    (tmp_path / "dialogue.json").write_text(json.dumps({"utterances": utterances}))
    assert answer(artifact, [tmp_path / "dialogue.json"])[0]["labels"] == said
    assert answer(artifact, [{"utterances": utterances}])[0]["labels"] == said
    assert set(said) <= set(spec.task.settings["classes"])


@pytest.mark.slow
@torch.no_grad()
def test_a_class_becomes_latents_by_the_cached_loop(tmp_path: Path) -> None:
    spec = MODELS.get("acdit_b_blocks")().in_small()
    artifact = nk.lower(nk.capture(spec), "onnx-step", tmp_path / "a", verified=False)
    (tmp_path / "wanted.json").write_text(json.dumps({"label": 3}))
    said = answer(artifact, [tmp_path / "wanted.json"], seed=7, out=tmp_path / "images")[0]
    assert said["saved"].endswith("wanted_latents.npy")
    latents = np.load(said["saved"])
    module, drawn, label = spec.build().double(), np.random.default_rng(7), torch.tensor([3])
    variances = 1 - torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)
    kept, times = variances.cumprod(0), np.linspace(0, 999, 25).round().astype(int)[::-1].tolist()
    cache, blocks = [], []
    for index in range(4):  # with torch's own cache, a list
        x = torch.from_numpy(drawn.standard_normal((1, 4, 4)))
        for t, after in zip(times, [*(kept[t] for t in times[1:]), torch.tensor(1.0)], strict=True):
            noise = module.predict(x, index, torch.tensor([float(t)]).double(), label, cache)
            clean = (x - (1 - kept[t]).sqrt() * noise) / kept[t].sqrt()
            x = after.sqrt() * clean + (1 - after).sqrt() * noise
        cache = module.remember(x, index, cache)
        blocks.append(x[0].view(2, 2, 4))
    rows = [torch.cat(blocks[:2], 1), torch.cat(blocks[2:], 1)]
    expected = torch.cat(rows, 0).permute(2, 0, 1)
    assert latents.shape == (4, 4, 4)
    np.testing.assert_allclose(latents, expected, rtol=0, atol=1e-4 * float(expected.abs().max()))
    (tmp_path / "wanted.json").write_text(json.dumps({"label": 9}))
    with pytest.raises(InputError, match="label holds 9"):
        answer(artifact, [tmp_path / "wanted.json"])

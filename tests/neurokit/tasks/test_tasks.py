"""Tasks against other libraries, brute force and numbers worked out by hand."""

import json

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import neurokit as nk
from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.spec import ModelSpec, TaskSpec, TensorSpec
from neurokit.tasks import TASKS
from neurokit.tasks.evaluate import evaluate, headline_score

rng = np.random.default_rng(0)


@pytest.mark.parametrize("name", TASKS.names())
def test_every_task_says_what_it_measures(name):
    info = TASKS.get(name).info
    assert info.headline in info.metrics
    assert info.labels
    assert all(info.metrics.values())


def test_classification_against_torchmetrics():
    import torchmetrics.functional.classification as torchmetrics

    scores, labels = rng.normal(size=(200, 7)), rng.integers(0, 7, 200)
    found = TASKS.get("classification").score(scores, labels, {})
    y, t = torch.from_numpy(scores), torch.from_numpy(labels)
    kind = {"num_classes": 7}
    assert found["accuracy"].value == pytest.approx(
        float(torchmetrics.multiclass_accuracy(y, t, average="micro", **kind))
    )
    assert found["top_3"].value == pytest.approx(
        float(torchmetrics.multiclass_accuracy(y, t, average="micro", top_k=3, **kind))
    )
    assert found["macro_f1"].value == pytest.approx(
        float(torchmetrics.multiclass_f1_score(y, t, average="macro", **kind)), abs=1e-6
    )
    assert found["accuracy"].low < found["accuracy"].value < found["accuracy"].high


@given(st.integers(1, 200), st.data())
def test_wilson_holds_the_share(total, data):
    from neurokit.tasks.intervals import wilson

    correct = data.draw(st.integers(0, total))
    found = wilson(correct, total, "x")
    assert 0 <= found.low <= correct / total <= found.high <= 1
    assert found.low < found.high


def test_segmentation_against_torchmetrics():
    import torchmetrics.functional.classification as segmentation

    predictions, labels = rng.integers(0, 3, (4, 9, 9)), rng.integers(0, 3, (4, 9, 9))
    found = TASKS.get("segmentation").score(predictions, labels, {})
    y, t = torch.from_numpy(predictions).flatten(), torch.from_numpy(labels).flatten()
    # Over all places of all samples, Dice is the F1 of the classes, and IoU their Jaccard index.
    assert found["dice"].value == pytest.approx(float(segmentation.multiclass_f1_score(y, t, 3, average="macro")))
    assert found["miou"].value == pytest.approx(float(segmentation.multiclass_jaccard_index(y, t, 3, average="macro")))
    assert TASKS.get("segmentation").predict({"y": np.array([[[[-1.0, 2.0]]]])}, {}).tolist() == [[[0, 1]]]


def test_regions_lie_over_one_another_and_are_scored_one_by_one():
    from torchmetrics.functional.classification import multilabel_f1_score, multilabel_jaccard_index

    task, settings = TASKS.get("segmentation"), {"background": 0, "regions": ["whole", "core"]}
    scores = rng.normal(size=(4, 2, 5, 6, 7))
    labels = rng.integers(0, 2, scores.shape)
    found = task.predict({"y": scores}, settings)
    assert np.array_equal(found, scores > 0)
    said = task.score(found, labels, settings)
    y, t = (torch.from_numpy(np.moveaxis(value, 1, -1).reshape(-1, 2)) for value in (found, labels))
    assert said["dice"].value == pytest.approx(float(multilabel_f1_score(y, t, 2, average="macro")))
    assert said["miou"].value == pytest.approx(float(multilabel_jaccard_index(y, t, 2, average="macro")))
    assert task.answer(found[0], settings) == {"shares": {"whole": found[0, 0].mean(), "core": found[0, 1].mean()}}
    labels[:, 1] = found[:, 1] = 0  # a region that is nowhere, and is said to be nowhere
    assert task.score(found, labels, settings)["dice"].source.endswith("1 regions")
    with pytest.raises(InputError, match="labels are int64"):
        task.score(found, labels[:, 0], settings)


def test_equal_error_rate_by_brute_force():
    task = TASKS.get("verification")
    centres = rng.normal(size=(4, 16))
    labels = np.repeat(np.arange(4), 12)
    embeddings = task.predict({"y": centres[labels] + 1.1 * rng.normal(size=(48, 16))}, {})
    found = task.score(embeddings, labels, {})
    pairs = [(i, j) for i in range(48) for j in range(i)]
    same = np.array([labels[i] == labels[j] for i, j in pairs])
    cosine = np.array([embeddings[i] @ embeddings[j] for i, j in pairs])
    rates = [((cosine[~same] >= c).mean(), (cosine[same] < c).mean()) for c in np.sort(cosine)]
    nearest = min(rates, key=lambda rate: abs(rate[0] - rate[1]))
    assert found["eer"].value == pytest.approx(np.mean(nearest), abs=0.01)
    auc = np.mean([(p > q) + 0.5 * (p == q) for p in cosine[same] for q in cosine[~same]])
    assert found["auc"].value == pytest.approx(auc)
    with pytest.raises(InputError, match="all pairs are of one kind"):
        task.score(embeddings[:3], np.zeros(3, int), {})


def test_sequence_labels_leave_padding_out():
    task = TASKS.get("sequence_labelling")
    predictions, labels = np.array([[0, 1, 1], [2, 0, 9]]), np.array([[0, 1, 2], [2, 0, -1]])
    found = task.score(predictions, labels, {})
    assert found["accuracy"].value == pytest.approx(4 / 5)
    # F1 by hand: class 0 is 1 (2 of it), class 1 is 2/3 (1), class 2 is 2/3 (2).
    assert found["weighted_f1"].value == pytest.approx((2 * 1 + 1 * 2 / 3 + 2 * 2 / 3) / 5)


def test_perplexity_against_torch():
    logits, labels = rng.normal(size=(2, 5, 11)), rng.integers(0, 11, (2, 5))
    labels[0, :2] = -1
    task = TASKS.get("generation")
    found = task.score(task.predict({"logits": logits}, {}), labels, {})
    loss = nn.functional.cross_entropy(
        torch.from_numpy(logits).flatten(0, 1), torch.from_numpy(labels).flatten(), ignore_index=-1
    )
    assert found["perplexity"].value == pytest.approx(float(loss.exp()))


def test_an_image_is_resized_scaled_and_normalised(tmp_path):
    from PIL import Image

    pixels = rng.integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    task, port = TASKS.get("classification"), TensorSpec("image", (3, 20, 30))
    plain = task.preprocess(tmp_path / "a.png", port, {})
    np.testing.assert_allclose(plain, pixels.transpose(2, 0, 1) / 255.0, atol=1e-6)
    normal = task.preprocess(pixels, port, {"mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.2]})
    np.testing.assert_allclose(normal[1], (pixels[..., 1] / 255.0 - 0.4) / 0.2, atol=1e-5)
    assert task.preprocess(pixels, TensorSpec("image", (1, 5, 6)), {}).shape == (1, 5, 6)
    with pytest.raises(InputError, match="cannot be read as an image"):
        task.preprocess(tmp_path / "none.png", port, {})


class Masks(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        return self.conv(x)


def test_export_shows_the_metric_of_the_models_own_task(tmp_path):
    torch.manual_seed(0)
    net = Masks().eval()
    spec = ModelSpec(
        "masks", lambda: net, (TensorSpec("image", (1, 6, 6)),), task=TaskSpec("segmentation", {"background": None})
    )
    x = rng.random((20, 1, 6, 6), dtype=np.float32)
    labels = net(torch.from_numpy(x)).argmax(1).numpy()
    labels[:10] = 1 - labels[:10]
    captured = nk.capture(spec)
    artifact = nk.lower(captured, "onnx", tmp_path / "m", data=Labelled(x, labels, "halves"))
    found = artifact.manifest.target_info["accuracy"]
    assert (found["task"], found["headline"], found["agreement"]) == ("segmentation", "dice", 1.0)
    right = (labels == net(torch.from_numpy(x)).argmax(1).numpy()).mean()
    assert right == 0.5
    assert found["after"] == pytest.approx(found["before"])
    assert json.loads((tmp_path / "m" / "manifest.json").read_text())["task"]["name"] == "segmentation"
    assert headline_score(captured, Labelled(x, labels, "")) == found["before"]


def test_a_task_that_is_not_registered_is_named(tmp_path):
    spec = ModelSpec("m", lambda: Masks().eval(), (TensorSpec("image", (1, 6, 6)),), task=TaskSpec("segmentaton"))
    captured = nk.capture(spec)
    data = Labelled(np.zeros((2, 1, 6, 6), np.float32), np.zeros((2, 6, 6), np.int64), "")
    with pytest.raises(nk.errors.UnknownNameError, match="did you mean segmentation"):
        evaluate(captured, nk.lower(captured, "onnx", tmp_path / "m"), data)

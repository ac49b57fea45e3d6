"""Detection against torchvision's operators, COCO's own evaluation and boxes worked out by hand."""

import io
from contextlib import redirect_stdout

import numpy as np
import pytest
import torch

from neurokit.errors import InputError
from neurokit.tasks import TASKS
from neurokit.tasks.boxes import corners, decoded, overlaps, suppressed

TASK = TASKS.get("detection")
rng = np.random.default_rng(0)


def _boxes(count, extent=50.0):
    low = rng.uniform(0, extent, (count, 2))
    return np.concatenate([low, low + rng.uniform(1, extent / 2, (count, 2))], axis=1)


def test_overlap_and_suppression_against_torchvision():
    from torchvision.ops import box_iou, nms

    boxes, scores = _boxes(300), rng.random(300)
    scores[10:20] = scores[10]  # ties keep their order in both
    a, s = torch.from_numpy(boxes), torch.from_numpy(scores)
    np.testing.assert_allclose(overlaps(boxes, boxes[:40]), box_iou(a, a[:40]).numpy(), atol=1e-12)
    for limit in (0.1, 0.5, 0.9):
        assert suppressed(boxes, scores, limit).tolist() == nms(a, s, limit).tolist()
    assert suppressed(boxes[:0], scores[:0], 0.5).tolist() == []


def test_forms_and_offsets_against_torchvision():
    from torchvision.models.detection._utils import BoxCoder
    from torchvision.ops import box_convert

    boxes = _boxes(50)
    for form in ("xywh", "cxcywh", "xyxy"):
        other = box_convert(torch.from_numpy(boxes), "xyxy", form).numpy()
        np.testing.assert_allclose(corners(other, form), boxes, atol=1e-9)
    offsets, weights = rng.normal(size=(50, 4)) * 6, (10.0, 10.0, 5.0, 5.0)
    wanted = BoxCoder(weights).decode_single(torch.from_numpy(offsets), torch.from_numpy(boxes)).numpy()
    np.testing.assert_allclose(decoded(offsets, boxes, weights), wanted, atol=1e-9)
    with pytest.raises(InputError, match="format 'yx'"):
        corners(boxes, "yx")


def test_predictions_are_torchvisions_classwise_suppression():
    from torchvision.ops import batched_nms

    boxes, logits = np.stack([_boxes(120), _boxes(120)]), rng.normal(size=(2, 120, 4)) * 2
    settings = {"boxes": "b", "scores": "s", "activation": "softmax", "background": 0, "iou_threshold": 0.4, "most": 30}
    found = TASK.predict({"s": logits, "b": boxes}, {**settings, "score_threshold": 0.2})
    assert found.shape == (2, 30, 6)
    for row in range(2):
        probability = torch.from_numpy(logits[row]).softmax(-1)[:, 1:]
        at, number = (probability > 0.2).nonzero(as_tuple=True)
        values, places = probability[at, number], torch.from_numpy(boxes[row])[at]
        kept = batched_nms(places, values, number, 0.4)[:30]
        there = found[row][found[row][:, 0] >= 0]
        assert len(there) == len(kept) > 5
        np.testing.assert_allclose(there[:, 0], number[kept].numpy())
        np.testing.assert_allclose(there[:, 1], values[kept].numpy(), atol=1e-12)
        np.testing.assert_allclose(there[:, 2:], places[kept].numpy())
    answer = TASK.answer(found[0], {"classes": ["cat", "dog", "hen"]})
    assert answer["objects"][0]["name"] == ["cat", "dog", "hen"][int(found[0, 0, 0])]


def test_one_output_channels_first_relative_and_chosen_labels_are_the_same():
    boxes, scores = _boxes(40)[None] / 100, rng.random((1, 40, 3))
    plain = TASK.predict({"b": boxes * [64, 32, 64, 32], "s": scores}, {"boxes": "b", "scores": "s"})
    both = np.concatenate([boxes, scores], axis=2)
    one = TASK.predict({"y": both.swapaxes(1, 2)}, {"channels_first": True, "scale": [64, 32]})
    np.testing.assert_allclose(one, plain, atol=1e-9)
    each = TASK.predict(
        {"b": np.repeat(boxes, 3, 1), "s": scores.reshape(1, -1), "l": np.tile(np.arange(3), 40)[None]},
        {"boxes": "b", "scores": "s", "labels": "l", "scale": [64, 32]},
    )
    np.testing.assert_allclose(each, plain, atol=1e-9)
    with pytest.raises(InputError, match="no output 'c'"):
        TASK.predict({"b": boxes}, {"boxes": "b", "scores": "c"})


def _scene(images, classes):
    """Objects, and detections near them, beside them and of other classes; several of one score."""
    truths, found = [], []
    for _ in range(images):
        count = int(rng.integers(0, 7))
        boxes, numbers = _boxes(count, 80), rng.integers(0, classes, count)
        truths.append(np.concatenate([numbers[:, None], boxes], axis=1))
        near = np.repeat(boxes, 3, axis=0) + rng.normal(size=(3 * count, 4)) * 3
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 0.5)
        guesses = np.where(rng.random(3 * count) < 0.8, np.repeat(numbers, 3), rng.integers(0, classes, 3 * count))
        rows = np.concatenate([guesses[:, None], rng.integers(1, 40, (3 * count, 1)) / 40, near], axis=1)
        stray = np.concatenate([rng.integers(0, classes, (2, 1)), rng.random((2, 1)), _boxes(2, 80)], axis=1)
        found.append(np.concatenate([rows, stray]))
    return truths, found


def _filled(rows, width):
    most = max(len(row) for row in rows)
    empty = np.zeros((len(rows), most, width))
    empty[..., 0] = -1
    for at, row in enumerate(rows):
        empty[at, : len(row)] = row
    return empty


@pytest.mark.parametrize("seed", range(3))
def test_average_precision_against_coco(seed):
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    global rng
    rng = np.random.default_rng(seed)
    truths, found = _scene(12, 4)
    score = TASK.score(_filled(found, 6), _filled(truths, 5), {})

    def xywh(box):
        return [*map(float, box[:2]), *map(float, box[2:] - box[:2])]

    objects = [
        {"id": 0, "image_id": i, "category_id": int(row[0]), "bbox": xywh(row[1:]), "area": 1e4, "iscrowd": 0}
        for i, rows in enumerate(truths)
        for row in rows
    ]
    for number, entry in enumerate(objects, 1):
        entry["id"] = number
    images = [{"id": i} for i in range(len(truths))]
    with redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {"images": images, "annotations": objects, "categories": [{"id": c} for c in range(4)]}
        coco.createIndex()
        said = [
            {"image_id": i, "category_id": int(row[0]), "score": float(row[1]), "bbox": xywh(row[2:])}
            for i, rows in enumerate(found)
            for row in rows
        ]
        judge = COCOeval(coco, coco.loadRes(said), "bbox")
        judge.evaluate()
        judge.accumulate()
        judge.summarize()
    wanted = {"map": judge.stats[0], "map_50": judge.stats[1], "map_75": judge.stats[2], "mar_100": judge.stats[8]}
    assert 0.1 < wanted["map"] < 0.9, "the scene says nothing"
    assert {name: value.value for name, value in score.items()} == pytest.approx(wanted, abs=1e-9)


def test_labels_that_are_none_are_refused():
    said = np.full((2, 3, 6), -1.0)
    for labels, why in (
        (np.zeros((2, 3)), r"labels are \[2, 3\]"),
        (np.full((2, 1, 5), 0.5), "no whole number"),
        (np.full((2, 1, 5), -1.0), "no label holds an object"),
    ):
        with pytest.raises(InputError, match=why):
            TASK.score(said, labels, {})

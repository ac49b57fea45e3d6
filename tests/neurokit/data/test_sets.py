"""One reader for all kinds of data: the same pixels, events and labels, however they are laid out."""

import json

import numpy as np
import pytest
from PIL import Image

from neurokit.data.sets import SampleFiles
from neurokit.errors import InputError
from neurokit.spec import ModelSpec, TaskSpec, TensorSpec

NAMES = ("cat", "dog", "ant")  # the model's order, not the alphabet's
PIXELS = np.random.default_rng(0).integers(0, 255, (6, 8, 8), dtype=np.uint8)
TRUTH = [0, 0, 1, 1, 2, 2]


def spec(*, task=None, classes=NAMES, steps=None, shape=(1, 8, 8)):
    return ModelSpec("m", lambda: None, (TensorSpec("x", shape),), time_steps=steps, classes=classes, task=task)


def paint(folder, place, pixels):
    (folder / place).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(folder / place)
    return place


def class_folders(folder):
    for number, label in enumerate(TRUTH):
        paint(folder, f"images/{NAMES[label]}/{number}.png", PIXELS[number])
    return folder / "images"


def listed(folder, suffix):
    places = [paint(folder, f"flat/{number}.png", PIXELS[number]) for number in range(6)]
    rows = [{"path": place, "label": NAMES[label]} for place, label in zip(places, TRUTH, strict=True)]
    file = folder / f"list{suffix}"
    texts = {
        ".csv": "path,label\n" + "".join(f"{row['path']},{row['label']}\n" for row in rows),
        ".json": json.dumps(rows),
        ".jsonl": "\n".join(map(json.dumps, rows)),
    }
    file.write_text(texts[suffix])
    return file


def arrays(folder):
    np.savez(folder / "set.npz", x=PIXELS[:, None].astype(np.float32) / 255, y=TRUTH)
    return folder / "set.npz"


class InMemory:
    """A data set as torchvision and tonic have them."""

    def __len__(self):
        return len(TRUTH)

    def __getitem__(self, at):
        return Image.fromarray(PIXELS[at]), np.int64(TRUTH[at])


LAYOUTS = {
    "class folders": class_folders,
    "csv": lambda folder: listed(folder, ".csv"),
    "json": lambda folder: listed(folder, ".json"),
    "jsonl": lambda folder: listed(folder, ".jsonl"),
    "npz": arrays,
    "data set": lambda folder: InMemory(),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_give_the_same_samples_and_labels(tmp_path, layout):
    found = SampleFiles.find(LAYOUTS[layout](tmp_path), spec(), None)
    data = found.labelled()
    order = np.argsort(data.y, kind="stable")  # folders come in the order of their names
    np.testing.assert_allclose(data.x[order][:, 0], PIXELS / np.float32(255), atol=1e-7)
    assert sorted(data.y.tolist()) == TRUTH
    assert tuple(found.inputs().shape) == (6, 1, 8, 8)


def test_classes_that_the_model_does_not_know_count_by_name(tmp_path):
    data = SampleFiles.find(class_folders(tmp_path), spec(classes=()), None).labelled()
    assert data.y.tolist() == [0, 0, 1, 1, 2, 2]  # ant, cat, dog, as ImageFolder numbers them
    np.testing.assert_allclose(data.x[0, 0], PIXELS[4] / np.float32(255), atol=1e-7)
    with pytest.raises(InputError, match="3 classes, the model has 2"):
        SampleFiles.find(tmp_path / "images", spec(classes=("a", "b")), None).labelled()


def test_coco_masks_are_pycocotools_masks(tmp_path):
    from pycocotools import mask as oracle

    drawn = np.zeros((16, 20), np.uint8, order="F")
    drawn[3:9, 4:15] = 1
    packed = oracle.encode(drawn)
    packed["counts"] = packed["counts"].decode()
    plain = {
        "size": [16, 20],
        "counts": [int(n) for n in np.diff([0, *np.flatnonzero(np.diff(drawn.ravel("F"))) + 1, 320])],
    }
    paint(tmp_path, "a.png", np.zeros((16, 20), np.uint8))
    head = {
        "images": [{"id": 7, "file_name": "a.png", "height": 16, "width": 20}],
        "categories": [{"id": 3, "name": "thing"}],
    }
    found = []
    for shape in (packed, plain, [[4, 3, 14, 3, 14, 8, 4, 8]]):
        entry = {"image_id": 7, "category_id": 3, "bbox": [4, 3, 11, 6], "segmentation": shape}
        (tmp_path / "coco.json").write_text(json.dumps({**head, "annotations": [entry]}))
        own = spec(task=TaskSpec("segmentation"), classes=(), shape=(1, 16, 20))
        found.append(SampleFiles.find(tmp_path, own, None).labelled().y)
    for mask in found:
        np.testing.assert_array_equal(mask[0], drawn)
    boxes = SampleFiles.find(tmp_path, spec(task=TaskSpec("detection"), classes=(), shape=(1, 32, 40)), None).labelled()
    assert boxes.y.tolist() == [[[0, 8, 6, 30, 18]]]


@pytest.mark.parametrize("order", ["txyp", "xytp", "xypt"])
def test_plain_arrays_of_events_are_told_apart(tmp_path, order):
    rng = np.random.default_rng(1)
    columns = {"t": np.sort(rng.integers(0, 5000, 80)), "x": rng.integers(0, 8, 80), "y": rng.integers(0, 6, 80)}
    columns["p"] = rng.integers(0, 2, 80)
    structured = np.rec.fromarrays(list(columns.values()), names=list(columns))
    np.save(tmp_path / "s.npy", np.asarray(structured))
    np.save(tmp_path / "p.npy", np.stack([columns[name] for name in order], axis=1))
    own = spec(steps=4, shape=(2, 6, 8))
    one, other = (SampleFiles.find(tmp_path / name, own, 4).inputs() for name in ("s.npy", "p.npy"))
    assert float(one.sum()) == 80
    assert (one == other).all()


def test_a_volume_has_nibabels_voxels(tmp_path):
    import nibabel

    voxels = np.random.default_rng(2).random((8, 6, 5), dtype=np.float32)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / "v.nii.gz")
    (whole,) = SampleFiles.find(tmp_path, spec(shape=(1, 5, 6, 8)), None).inputs()
    np.testing.assert_array_equal(whole[0].numpy(), voxels.transpose(2, 1, 0))
    slices = SampleFiles.find(tmp_path, spec(shape=(1, 6, 8)), None).inputs()
    np.testing.assert_array_equal(slices[:, 0].numpy(), voxels.transpose(2, 1, 0))


def test_what_is_wrong_is_said_in_a_line(tmp_path):
    (tmp_path / "empty").mkdir()
    class_folders(tmp_path)
    (tmp_path / "half.csv").write_text("path,label\nimages/cat/0.png,cat\nimages/cat/1.png,\n")
    (tmp_path / "lost.csv").write_text("path,label\nnowhere.png,cat\n")
    cases = {
        "nothing": "there are no data",
        "empty": "holds no readable sample",
        "half.csv": "has no label, others have",
        "lost.csv": "there is no file",
    }
    for place, what in cases.items():
        with pytest.raises(InputError, match=what):
            SampleFiles.find(tmp_path / place, spec(), None)
    (tmp_path / "images" / "zebra").mkdir()
    with pytest.raises(InputError, match="zebra holds no readable sample"):
        SampleFiles.find(tmp_path / "images", spec(), None)

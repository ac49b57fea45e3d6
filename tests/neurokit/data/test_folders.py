"""Class folders of images: what is read, what is left out and said, what the cache keeps, what is refused."""

import os

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import grey_dilation

from neurokit.data import folders
from neurokit.data.folders import read_folder
from neurokit.data.puppets import CLASSES
from neurokit.data.puppets.published import HandShadows
from neurokit.errors import InputError


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(path, seed=0, size=(24, 20), mode="L"):
    path.parent.mkdir(parents=True, exist_ok=True)
    shape = size if mode == "L" else (*size, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return pixels


@pytest.fixture
def haspr(tmp_path):
    """The published layout, one image a class and split."""
    for split in ("train", "val"):
        for at, name in enumerate(CLASSES):
            write(tmp_path / "set" / "data" / split / name / "1.png", seed=at)
    return tmp_path / "set"


def test_images_are_grey_in_one_size_and_classes_alphabetical(tmp_path):
    pixels = write(tmp_path / "b" / "deep" / "x.PNG", 1, (16, 16))
    coloured = write(tmp_path / "a" / "y.png", 2, (16, 16), "RGB")
    read = read_folder(tmp_path, (16, 16), cache=False)
    assert read.classes == ("a", "b")
    assert read.labels.tolist() == [0, 1]
    assert np.array_equal(read.images[1, 0], pixels)
    luma = coloured @ [0.299, 0.587, 0.114]  # ITU-R 601
    assert np.abs(read.images[0, 0] - luma).max() <= 1
    assert read_folder(tmp_path, (8, 12), 3, cache=False).images.shape == (2, 3, 8, 12)


def test_unreadable_files_are_left_out_and_reported(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "good.png")
    whole = (tmp_path / "a" / "good.png").read_bytes()
    (tmp_path / "a" / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "b" / "text.jpg").write_text("no image")
    (tmp_path / "b" / "empty.jpg").touch()
    (tmp_path / "b" / "._good.png").write_text("what macOS leaves")
    (tmp_path / "b" / "notes.txt").write_text("no image by its name")
    seen = []
    read = read_folder(tmp_path, (8, 8), progress=lambda done, total: seen.append((done, total)))
    assert read.labels.tolist() == [0, 1]
    assert sorted(os.path.basename(path) for path, _ in read.unreadable) == ["cut.png", "empty.jpg", "text.jpg"]
    assert all(why for _, why in read.unreadable)
    assert seen[-1] == (5, 5)


def test_the_cache_is_taken_until_a_file_changes_and_made_again_where_damaged(tmp_path, monkeypatch):
    root = tmp_path / "set"
    for name in ("a", "b"):
        write(root / name / "1.png")
    (root / "b" / "bad.png").write_text("no image")
    first = read_folder(root, (8, 8))
    monkeypatch.setattr(folders, "_decoded", lambda *given: pytest.fail("decoded again"))
    second = read_folder(root, (8, 8))
    assert np.array_equal(first.images, second.images)
    assert first.unreadable == second.unreadable
    monkeypatch.undo()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    write(root / "a" / "1.png", seed=9)
    assert not np.array_equal(read_folder(root, (8, 8)).images, first.images)
    for kept in (tmp_path / "cache").rglob("*.npz"):
        kept.write_bytes(b"damaged")
    assert len(read_folder(root, (8, 8)).images) == 2


def test_a_cache_that_cannot_be_written_is_no_obstacle(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file" / "below"))
    write(tmp_path / "set" / "a" / "1.png")
    assert len(read_folder(tmp_path / "set", (8, 8)).images) == 1


def test_hand_shadows_are_the_published_splits(haspr):
    shadows = HandShadows(haspr, "val", 16, cache=False)
    assert len(shadows) == 15
    assert shadows[3][1] == 3
    assert shadows.images.shape == (15, 1, 16, 16)
    assert "HaSPeR" in shadows.labelled().name
    assert len(HandShadows(haspr / "data", "train", 16, cache=False)) == 15


def test_thresholded_hand_shadows_are_walls_of_255_dilated_by_three(haspr):
    grey = HandShadows(haspr, "train", 16, cache=False).images.numpy()
    found = HandShadows(haspr, "train", 16, thresholded=True, cache=False).images.numpy()
    bright = np.where(grey > 90, 255, 0).astype(np.uint8)
    expected = np.stack([grey_dilation(one[0], size=(3, 3), mode="constant") for one in bright])[:, None]
    assert np.array_equal(found, expected)


def _missing_class(root):
    os.rename(root / "data" / "val" / "moose", root / "data" / "val" / "elk")


def _empty_class(root):
    (root / "data" / "val" / "swan" / "1.png").unlink()


def _damaged_class(root):
    (root / "data" / "val" / "swan" / "1.png").write_text("no image")


def _no_split(root):
    os.rename(root / "data" / "val", root / "data" / "validation")


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (_missing_class, "lacks moose and has elk"),
        (_empty_class, "swan holds no image"),
        (_damaged_class, "no image of class folder .*swan can be read; 1.png: UnidentifiedImageError"),
        (_no_split, "holds neither data/val nor val"),
    ],
)
def test_what_is_wrong_with_a_folder_is_said_in_one_line(haspr, fault, said):
    fault(haspr)
    with pytest.raises(InputError, match=said) as refused:
        HandShadows(haspr, "val", 16, cache=False)
    assert "\n" not in refused.value.what
    assert refused.value.expected


def test_a_missing_folder_and_one_without_classes_are_named(tmp_path):
    with pytest.raises(InputError, match="there is no folder"):
        HandShadows(tmp_path / "nowhere")
    with pytest.raises(InputError, match="there is no folder"):
        read_folder(tmp_path / "nowhere", (8, 8))
    with pytest.raises(InputError, match="holds no class folders"):
        read_folder(tmp_path, (8, 8))

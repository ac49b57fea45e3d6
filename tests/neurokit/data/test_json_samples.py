"""JSON samples of models with several inputs: dialogues, shelves of pictures, and what is refused in a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from neurokit.data.found import find
from neurokit.data.json_samples import holds_samples, json_samples, labelled_json, samples_in
from neurokit.errors import InputError
from neurokit.models.emotionic import EMOTIONS
from neurokit.spec import MODELS, ModelSpec
from neurokit.tasks.sequence_labelling import SequenceLabelling

WIDTH, LONGEST = 32, 8


@pytest.fixture(scope="module")
def emotionic() -> ModelSpec:
    return MODELS.get("emotionic")().in_small()


@pytest.fixture(scope="module")
def shelf() -> ModelSpec:
    spec = MODELS.get("oat")().in_small()
    return ModelSpec("shelf", spec.build, spec.graphs[0].inputs, task=spec.task)


def said(count: int, speakers: str = "AB", **more: Any) -> list[dict[str, Any]]:
    rows = np.random.default_rng(count).standard_normal((count, WIDTH)).round(3)
    return [{"speaker": speakers[at % len(speakers)], "features": row.tolist(), **more} for at, row in enumerate(rows)]


def write(folder: Path, data: Any, name: str = "sample.json") -> Path:
    (folder / name).write_text(json.dumps(data))
    return folder / name


def test_a_dialogue_is_filled_up_behind_its_end(emotionic: ModelSpec, tmp_path: Path) -> None:
    utterances = said(5, "BAB")
    rows = np.array([one["features"] for one in utterances], np.float32)
    np.save(tmp_path / "features.npy", rows)
    np.save(tmp_path / "first.npy", rows[0])
    bare = [{"speaker": one["speaker"]} for one in utterances]
    by_file = [{**utterances[0], "features": "first.npy"}, *utterances[1:]]
    for data in (
        {"utterances": utterances},
        utterances,
        {"dialogues": [{"utterances": utterances}]},
        {"utterances": bare, "features": "features.npy"},
        {"utterances": by_file},
    ):
        (found,) = json_samples(write(tmp_path, data), emotionic)
        assert found.inputs["speaker"].tolist() == [0, 1, 0, 0, 1, -1, -1, -1]
        assert np.array_equal(found.inputs["text"][:5], rows)
        assert not found.inputs["text"][5:].any()
        assert found.labels is None
        assert not found.note


def test_labels_of_dialogues_are_scored(emotionic: ModelSpec, tmp_path: Path) -> None:
    first, second = said(3, label="sad"), said(4, emotion="angry")
    second[1]["emotion"] = None  # nobody said: it does not count
    file = write(tmp_path, [{"utterances": first}, {"utterances": second}])
    assert holds_samples(file)
    data = labelled_json(file, emotionic)
    sad, angry = EMOTIONS.index("sad"), EMOTIONS.index("angry")
    assert data.y.tolist() == [[sad] * 3 + [-1] * 5, [angry, -1, angry, angry] + [-1] * 4]
    predicted = np.full((2, LONGEST), sad)
    scores = SequenceLabelling().score(predicted, data.y, {})
    assert scores["accuracy"].value == pytest.approx(3 / 6)


def test_one_speaker_is_answered_with_a_note(emotionic: ModelSpec, tmp_path: Path) -> None:
    (found,) = json_samples(write(tmp_path, {"utterances": said(3, "A")}), emotionic)
    assert "has one speaker" in found.note


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([], "is empty"),
        ({"utterances": []}, "has no utterances"),
        ({"utterances": said(9)}, "has 9 utterances"),
        ({"utterances": [{"speaker": "A", "text": "no"}]}, "utterance 1 has no features, text alone"),
        ({"utterances": [*said(2), {"speaker": "A", "features": [1]}]}, r"utterance 3 has features \[1\]"),
        ({"utterances": [{"features": [0] * WIDTH}]}, "utterance 1 names no speaker"),
        ({"utterances": [{"speaker": ["A"], "features": [0] * WIDTH}]}, "speaker that is no name"),
        ({"utterances": [{"speaker": "A", "features": ["x"] * WIDTH}]}, "holds no finite numbers"),
        ({"utterances": [{"speaker": "A", "features": "no.npy"}]}, "cannot be read"),
        ({"utterances": said(3), "features": [[0]]}, r"features are \[1, 1\]"),
        ({"utterances": said(3, label="joyful")}, "utterance 1 has the unknown label 'joyful'"),
        ({"utterances": said(3, label=6)}, "unknown label 6"),
        ({"utterances": said(3, label=True)}, "unknown label True"),
        ({"words": [1]}, "holds words"),
        ([[1]], "holds list"),
    ],
)
def test_wrong_dialogues_are_refused_in_a_line(data: Any, message: str, emotionic: ModelSpec, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        json_samples(write(tmp_path, data), emotionic)


def test_a_shelf_is_read_from_pictures_beside_its_file(shelf: ModelSpec, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 34, 34, 3), dtype=np.uint8)
    names = [f"{at}.png" for at in range(6)]
    for name, picture in zip(names, pixels, strict=True):
        Image.fromarray(picture).save(tmp_path / name)
    (found,) = json_samples(write(tmp_path, {"images": names, "target": 4}), shelf)
    np.testing.assert_allclose(found.inputs["images"], pixels / 255, atol=1e-6)
    assert found.inputs["target"] == 4
    np.save(tmp_path / "images.npy", pixels / 255)
    file = write(tmp_path, {"images": "images.npy", "target": 4})
    assert samples_in(file, shelf) is not None
    np.testing.assert_allclose(json_samples(file, shelf)[0].inputs["images"], pixels / 255, atol=1e-6)
    for data, message in (
        ({"images": names[:5], "target": 4}, "names 5 pictures"),
        ({"images": [*names[:5], "no.png"], "target": 4}, "there is no file"),
        ({"images": names, "target": 1.5}, "target is 1.5"),
        ({"images": names}, "holds images"),
        ({"images": [[1, 2], [3]], "target": 1}, "cannot be read"),
    ):
        with pytest.raises(InputError, match=message):
            json_samples(write(tmp_path, data), shelf)


def test_an_object_that_lists_no_file_lacks_inputs_and_is_no_list(shelf: ModelSpec, tmp_path: Path) -> None:
    for data, held in (({"target": 4}, "target"), ({"label": 2}, "label"), ([{"target": 4}, {"target": 5}], "target")):
        with pytest.raises(InputError, match=f"holds {held}"):
            samples_in(write(tmp_path, data), shelf)
    for data in ({"a.npz": 2}, [{"path": "a.npz", "target": 2}], ["a.npz"]):
        assert samples_in(write(tmp_path, data), shelf) is None


def test_a_list_of_paths_stays_a_list_of_paths(tmp_path: Path) -> None:
    Image.new("L", (4, 4)).save(tmp_path / "a.png")
    for data in ([{"path": "a.png", "label": 1}], {"a.png": "cat"}):
        file = write(tmp_path, data)
        assert not holds_samples(file)
        assert len(find(file).items) == 1

"""Dialogues in JSON: who says what, as features of each utterance, and which label is right for it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.numbers import numbers_of
from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.spec import ModelSpec

PADDING = -1  # behind the end of a dialogue, of speakers and labels
_LABELS = ("label", "emotion")


def is_dialogue(entry: Any) -> bool:
    """Returns whether an object is a dialogue."""
    return isinstance(entry, Mapping) and "utterances" in entry


def dialogue_of(
    entry: Mapping[str, Any], spec: ModelSpec, label: str, folder: Path
) -> tuple[dict[str, np.ndarray], np.ndarray | None, str]:
    """Returns a dialogue as a model takes it, filled up to its length.

    Args:
        entry: `utterances`, a list of objects with `speaker` (a name or number), `features` (a list of numbers, or the
            path of a .npy file) and, where it is known, `label` or `emotion` (a name or number of a class). Features
            of all utterances may stand in one array of the dialogue's own `features` instead.
        spec: The model, with the setting `dialogue` of its task: names of the inputs for `features` and `speaker`.
        label: What to call the dialogue in a message.
        folder: From where paths count.

    Returns:
        The inputs by name; the labels `[L]`, -1 behind the end, or None where none is given; what a reader should
        know, "" for nothing.

    Raises:
        InputError: If it does not fit; names the utterance.
    """
    settings = spec.task.settings if spec.task is not None else {}
    roles = settings["dialogue"]
    ports = {port.name: port for port in spec.inputs}
    longest, width = ports[roles["features"]].numbers
    said = entry["utterances"]
    if not isinstance(said, list) or not said:
        raise InputError(f"{label} has no utterances", expected="a list of objects with speaker and features")
    if len(said) > longest:
        raise InputError(f"{label} has {len(said)} utterances", expected=f"at most {longest}", fix="cut it in two")
    wrong = next((at for at, one in enumerate(said, 1) if not isinstance(one, Mapping) or "speaker" not in one), 0)
    if wrong:
        raise InputError(f"{label}: utterance {wrong} names no speaker", expected="an object with speaker and features")
    speakers = _speakers([one["speaker"] for one in said], ports[roles["speaker"]].high, label)
    features = np.zeros((longest, width), np.float32)
    features[: len(said)] = _features(entry, said, width, label, folder)
    note = "" if speakers.max() else f"{label} has one speaker: nobody else's emotion acts on an utterance"
    labels = _labels(said, [str(name) for name in settings.get("classes", ())], label)
    return (
        {roles["features"]: features, roles["speaker"]: _filled(speakers, longest)},
        None if labels is None else _filled(labels, longest),
        note,
    )


def _filled(values: np.ndarray, longest: int) -> np.ndarray:
    return np.concatenate([values, np.full(longest - len(values), PADDING, np.int64)])


def _speakers(names: Sequence[Any], highest: float, label: str) -> np.ndarray:
    """Returns numbers of speakers in the order in which they first speak."""
    if any(not isinstance(name, str | int) for name in names):
        raise InputError(f"{label} has a speaker that is no name", expected="a name or a number")
    order = {name: at for at, name in enumerate(dict.fromkeys(names))}
    if len(order) > highest + 1:
        raise InputError(f"{label} has {len(order)} speakers", expected=f"at most {int(highest) + 1}")
    return np.array([order[name] for name in names], np.int64)


def _features(
    entry: Mapping[str, Any], said: Sequence[Mapping[str, Any]], width: int, label: str, folder: Path
) -> np.ndarray:
    """Returns the features of all utterances, `[L, width]`."""
    if "features" in entry:
        array = numbers_of(entry["features"], f"{label}: features", folder)
        if array.shape != (len(said), width):
            raise InputError(f"{label}: features are {list(array.shape)}", expected=f"[{len(said)}, {width}]")
        return array.astype(np.float32)
    rows = []
    for at, one in enumerate(said, 1):
        if "features" not in one:
            raise InputError(
                f"{label}: utterance {at} has no features" + (", text alone" if "text" in one else ""),
                expected=f"{width} numbers of a text encoder, or the path of a .npy file",
            )
        row = numbers_of(one["features"], f"{label}: utterance {at}", folder)
        if row.shape != (width,):
            raise InputError(f"{label}: utterance {at} has features {list(row.shape)}", expected=f"{width} numbers")
        rows.append(row)
    return np.stack(rows).astype(np.float32)


def _labels(said: Sequence[Mapping[str, Any]], classes: Sequence[str], label: str) -> np.ndarray | None:
    """Returns the numbers of the classes that are right, or None where no utterance has a label."""
    given = [next((one[key] for key in _LABELS if one.get(key) is not None), None) for one in said]
    if all(value is None for value in given):
        return None
    numbers = []
    for at, value in enumerate(given, 1):
        if isinstance(value, str) and value in classes:
            numbers.append(classes.index(value))
        elif isinstance(value, int) and not isinstance(value, bool) and (0 <= value < len(classes) or not classes):
            numbers.append(value)
        elif value is None:
            numbers.append(PADDING)  # does not count
        else:
            raise InputError(
                f"{label}: utterance {at} has the unknown label {value!r}",
                expected="one of " + ", ".join(classes) if classes else "the number of a class",
            )
    return np.array(numbers, np.int64)

"""Samples of a model with several inputs in JSON: every input by its name, or a dialogue as its utterances."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.dialogues import dialogue_of, is_dialogue
from neurokit.data.found import PATHS
from neurokit.data.images import image_sample
from neurokit.data.kinds import IMAGES, kind_of
from neurokit.data.labelled import Labelled
from neurokit.data.numbers import numbers_of
from neurokit.errors import InputError
from neurokit.feeds import given_ports
from neurokit.plain import is_file, parse_json, text_of

if TYPE_CHECKING:
    from neurokit.spec import ModelSpec, TensorSpec

SUFFIXES = (".json", ".jsonl")


@dataclass(frozen=True)
class JsonSample:
    """One sample of a JSON file.

    Attributes:
        name: What to call it in a message.
        inputs: An array for each input, by its name.
        labels: What is right for it, or None where nobody said.
        note: What a reader should know of it, "" for nothing.
    """

    name: str
    inputs: Mapping[str, np.ndarray]
    labels: np.ndarray | None = None
    note: str = ""

    @property
    def file(self) -> str:
        """What a file that is written of it is called by: that of the sample, with its place in it."""
        file, _, entry = self.name.partition(": entry ")
        return f"{Path(file).stem}-{entry}.json" if entry else Path(file).name


def holds_samples(path: Path) -> bool:
    """Returns whether a JSON file holds samples themselves, and no list of paths and labels."""
    if path.suffix.lower() not in SUFFIXES:
        return False
    return _holds_lists(_entries(path))


def json_samples(path: Path, spec: ModelSpec) -> list[JsonSample]:
    """Reads the samples of a .json file (one object, or a list) or a .jsonl file (one object a line).

    Args:
        path: The file. An object holds every input by its name: numbers, lists of numbers, or paths beside the file, of
            pictures or .npy arrays; where an input is several pictures, a list of paths. For a model whose task has
            the setting `dialogue`, an object is a dialogue (see `neurokit.data.dialogues`).
        spec: The model.

    Raises:
        InputError: If there is none, or one does not fit; says which entry.
    """
    return _samples(_entries(path), path, spec)


def samples_in(path: Path, spec: ModelSpec) -> list[JsonSample] | None:
    """Reads the samples of a JSON file of a model's inputs; None where it is a list of files, or no JSON file."""
    if path.suffix.lower() not in SUFFIXES or not is_file(path):
        return None
    entries = _entries(path)
    return _samples(entries, path, spec) if _are_inputs(entries, spec) else None


def _samples(entries: list[Any], path: Path, spec: ModelSpec) -> list[JsonSample]:
    if not entries:
        raise InputError(f"{path} is empty", expected=_expected(spec))
    roles = spec.task.settings.get("dialogue") if spec.task is not None else None
    if roles and all(isinstance(entry, Mapping) and "speaker" in entry for entry in entries):
        entries = [{"utterances": entries}]  # the utterances of one dialogue
    found = []
    for number, entry in enumerate(entries, 1):
        label = str(path) if len(entries) == 1 else f"{path}: entry {number}"
        found.append(sample_of(entry, spec, label, path.parent))
    return found


def stacked_json(path: Path, spec: ModelSpec) -> dict[str, np.ndarray] | None:
    """Returns the inputs of all samples of a JSON file, `[N, *shape]` by name, or None where it is no such file."""
    samples = samples_in(path, spec)
    return None if samples is None else _stacked(samples)


def labelled_json(path: Path, spec: ModelSpec) -> Labelled | None:
    """Returns the samples of a JSON file with what is right for each, or None where it is no such file.

    Raises:
        InputError: If a sample has no label.
    """
    samples = samples_in(path, spec)
    if samples is None:
        return None
    labels = [sample.labels for sample in samples]
    if any(label is None for label in labels):
        at = next(at for at, label in enumerate(labels, 1) if label is None)
        raise InputError(f"{path}: entry {at} has no label", expected="a label for every sample")
    return Labelled(_stacked(samples), np.stack([label for label in labels if label is not None]), path.name)


def _stacked(samples: Sequence[JsonSample]) -> dict[str, np.ndarray]:
    return {name: np.stack([sample.inputs[name] for sample in samples]) for name in samples[0].inputs}


def sample_of(entry: Any, spec: ModelSpec, label: str, folder: Path) -> JsonSample:
    """Returns one object as a sample.

    Args:
        entry: The object.
        spec: The model.
        label: What to call it in a message.
        folder: From where paths count.

    Raises:
        InputError: If it does not fit.
    """
    settings = spec.task.settings if spec.task is not None else {}
    if settings.get("dialogue") and is_dialogue(entry):
        inputs, labels, note = dialogue_of(entry, spec, label, folder)
        return JsonSample(label, inputs, labels, note)
    ports = {port.name: port for port in given_ports(spec.inputs)}
    if not isinstance(entry, Mapping) or set(entry) != set(ports):
        held = ", ".join(map(str, entry)) if isinstance(entry, Mapping) else type(entry).__name__
        raise InputError(f"{label} holds {held[:160] or 'nothing'}", expected=_expected(spec))
    values = {name: _value(entry[name], port, f"{label}: {name}", folder) for name, port in ports.items()}
    return JsonSample(label, values)


def _entries(path: Path) -> list[Any]:
    """Returns the objects of a file."""
    try:
        text = text_of(path)
        if path.suffix.lower() == ".jsonl":
            return [parse_json(line) for line in text.splitlines() if line.strip()]
        data = parse_json(text)
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}", expected="an object, or a list of them") from error
    if isinstance(data, Mapping) and set(data) == {"dialogues"}:
        data = data["dialogues"]
    return data if isinstance(data, list) else [data]


def _holds_lists(entries: Sequence[Any]) -> bool:
    """Returns whether an entry holds more than texts and numbers."""
    values = (value for entry in entries if isinstance(entry, Mapping) for value in entry.values())
    return any(isinstance(value, list | dict) for value in values)


def _are_inputs(entries: Sequence[Any], spec: ModelSpec) -> bool:
    """Returns whether entries are samples of a model: of several inputs, or of one by its name."""
    names = {port.name for port in given_ports(spec.inputs)}
    by_name = bool(entries) and all(isinstance(entry, Mapping) and set(entry) == names for entry in entries)
    if len(names) > 1:
        return by_name or _holds_lists(entries) or any(_names_no_file(entry) for entry in entries)
    return by_name and not names & set(PATHS)  # there it is a list of files


def _names_no_file(entry: Any) -> bool:
    """Returns whether an entry is an object that lists no file, neither under a key nor as one: a sample, then."""
    if not isinstance(entry, Mapping) or not entry or set(entry) & set(PATHS):
        return False
    return not any(Path(str(key)).suffix for key in entry)


def _expected(spec: ModelSpec) -> str:
    settings = spec.task.settings if spec.task is not None else {}
    names = ", ".join(port.name for port in given_ports(spec.inputs))
    return f"an object with the inputs {names}" + (", or with utterances" if settings.get("dialogue") else "")


def _value(value: Any, port: TensorSpec, label: str, folder: Path) -> np.ndarray:
    """Returns what JSON says of one input as an array of its own shape."""
    if isinstance(value, list) and value and all(isinstance(part, str) for part in value):
        array = _pictures(value, port, label, folder)
    elif isinstance(value, str):
        array = _of_file(value, port, label, folder)
    else:
        array = numbers_of(value, label, folder)
    sizes = tuple(size if isinstance(size, int) else None for size in port.sizes)
    fits = array.ndim == len(sizes) and all(w is None or w == n for w, n in zip(sizes, array.shape, strict=True))
    whole = "int" not in port.dtype or bool((array == np.rint(array)).all())
    if not fits or not whole:
        expected = f"{port.dtype} {list(map(str, port.sizes))}".replace("'", "") if sizes else f"one {port.dtype}"
        what = f"{label} is {list(array.shape) if array.shape else array.item()}"
        raise InputError(what, expected=expected)
    return array.astype(port.dtype)


def _of_file(name: str, port: TensorSpec, label: str, folder: Path) -> np.ndarray:
    """Reads one picture or .npy file beside the JSON file."""
    file = folder / name
    if kind_of(file) not in IMAGES:
        return numbers_of(name, label, folder)
    if not is_file(file):
        raise InputError(f"{label}: there is no file {file}", expected="a path beside the JSON file")
    return _picture(file, port, label)


def _pictures(names: Sequence[str], port: TensorSpec, label: str, folder: Path) -> np.ndarray:
    """Reads the pictures of an input whose first axis counts them."""
    one = replace(port, shape=tuple(port.shape[1:]), layout=port.layout[1:])
    if isinstance(port.shape[0], int) and len(names) != port.shape[0]:
        raise InputError(f"{label} names {len(names)} pictures", expected=f"{port.shape[0]}")
    return np.stack([_of_file(name, one, label, folder) for name in names])


def _picture(file: Path, port: TensorSpec, label: str) -> np.ndarray:
    """Reads a picture into an input of three axes, in the order of its layout."""
    order = port.layout
    if len(port.shape) != 3 or sorted(order) != ["C", "H", "W"]:
        raise InputError(f"{label}: {file} is a picture, the input is {list(port.shape)}", expected="numbers")
    sizes = dict(zip(order, port.shape, strict=True))
    as_picture = replace(port, shape=tuple(sizes[letter] for letter in "CHW"), layout="CHW")
    return image_sample(file, as_picture, {}).transpose(["CHW".index(letter) for letter in order])

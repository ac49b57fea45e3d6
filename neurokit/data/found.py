"""What samples lie at a place, with their labels: class folders, a list of paths, COCO, a flat folder or one file."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from neurokit.data.coco import coco_items, is_coco
from neurokit.data.kinds import KINDS, is_readable, kind_of
from neurokit.data.looked import Look
from neurokit.errors import InputError
from neurokit.plain import is_file, is_folder, parse_json, text_of

EXPECTED = "class folders, a folder of samples, a CSV or JSON of paths and labels, COCO, or a file of arrays"
PATHS = ("path", "file", "file_name", "filename", "image", "sample", "input", "audio")
_LABELS = ("label", "class", "target", "y", "category", "mask")


@dataclass(frozen=True)
class Item:
    """One file, or one sample of a data set in memory, with what is right for it.

    Attributes:
        value: Path of the file, or the sample.
        label: Name or number of a class, path of a mask, `CocoLabel`, or None where nobody said.
        name: What it is called in reports.
    """

    value: Any
    label: Any = None
    name: str = ""


@dataclass(frozen=True)
class Found:
    """The samples at a place.

    Attributes:
        items: One entry a file, in order.
        classes: Names of the classes where labels are names, in the order of their numbers.
        kind: What the place is, in words.
        looked: Whether a folder was looked through, so that nobody named its files one by one.
        unreadable: Path and reason of each picture of a folder that was left out.
    """

    items: tuple[Item, ...]
    classes: tuple[str, ...] = ()
    kind: str = "a folder"
    looked: bool = False
    unreadable: tuple[tuple[str, str], ...] = ()

    @property
    def labelled(self) -> bool:
        """Whether every sample has a label beside it."""
        return all(item.label is not None for item in self.items)


def find(place: str | Path) -> Found:
    """Looks what samples are at a place.

    Args:
        place: A folder with one folder a class (numbers by the order of their names, as torchvision's ImageFolder
            gives them); a folder of samples; a folder or file of COCO annotations; a .csv, .tsv, .json or .jsonl of
            paths (relative to its folder) and labels; or one file of samples.

    Raises:
        InputError: If there is none of these; says what was found.
    """
    path = Path(place)
    if is_folder(path):
        return _in_folder(path)
    if not is_file(path):
        raise InputError(f"there are no data at {path}", expected=EXPECTED)
    suffix = path.suffix.lower()
    if suffix in (".csv", ".tsv"):
        return _listed(path, _rows_of_csv(path))
    if suffix in (".json", ".jsonl"):
        return _of_json(path)
    if not is_readable(path):
        raise InputError(
            f"input file {path} is of an unknown kind {kind_of(path)!r}",
            expected=", ".join(sorted(KINDS)) + ", or a .csv or .json of paths and labels",
            fix="convert events to a .npz with t, x, y, p",
        )
    return Found((Item(path, None, path.name),), kind="a file")


def _in_folder(folder: Path) -> Found:
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith("."))
    for entry in entries:
        if entry.suffix.lower() == ".json" and entry.is_file() and is_coco(_json(entry)):
            return _of_json(entry)
    inner = [entry for entry in entries if entry.is_dir()]
    own = [entry for entry in entries if is_readable(entry) and not entry.is_dir()]
    look = Look(folder)
    by_class = {entry.name: sorted(look.below(entry, is_readable)) for entry in inner}
    if own:
        if any(by_class.values()):
            raise InputError(
                f"folder {folder} holds samples both beside and in its folders ({own[0].name}, {inner[0].name})",
                expected="one folder a class, or samples alone",
            )
        return Found(tuple(Item(entry, None, entry.name) for entry in own), kind="a folder of samples", looked=True)
    filled = {name: files for name, files in by_class.items() if files}
    if not filled:
        kinds = ", ".join(sorted(KINDS))
        raise InputError(
            f"folder {folder} holds no readable sample", expected=f"class folders or files of a kind among {kinds}"
        )
    empty = sorted(set(by_class) - set(filled))
    if empty:
        raise InputError(
            f"class folder {folder / empty[0]} holds no readable sample",
            expected="at least one sample in every class folder: their order numbers the classes",
            fix="remove the folder, or fill it",
        )
    items = tuple(Item(f, name, f"{name}/{f.name}") for name, files in filled.items() for f in files)
    return Found(items, tuple(filled), f"{len(filled)} class folders", looked=True)


def _json(path: Path) -> Any:
    try:
        return parse_json(text_of(path))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(f"{path} cannot be read as JSON: {error}", expected="paths and labels, or COCO") from error


def _of_json(path: Path) -> Found:
    if path.suffix.lower() == ".jsonl":
        try:
            rows = [parse_json(line) for line in text_of(path).splitlines() if line.strip()]
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read: {error}", expected="one JSON object a line") from error
        return _listed(path, rows)
    data = _json(path)
    if is_coco(data):
        classes, entries = coco_items(data, path)
        return Found(tuple(Item(file, label, file.name) for file, label in entries), classes, "COCO annotations")
    if isinstance(data, Mapping):
        data = [{"path": name, "label": label} for name, label in data.items()]
    if not isinstance(data, list):
        raise InputError(f"{path} holds no list", expected="a list of objects with path and label, or COCO")
    return _listed(path, data)


def _rows_of_csv(path: Path) -> list[dict[str, str]]:
    try:
        text = text_of(path, encoding="utf-8-sig")
        rows = [row for row in csv.reader(text.splitlines(), delimiter="\t" if path.suffix == ".tsv" else ",") if row]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a table of paths and labels") from error
    if not rows:
        raise InputError(f"{path} is empty", expected="a table of paths and labels")
    head = [cell.strip().lower() for cell in rows[0]]
    if not set(head) & set(PATHS):  # no header: the path first, the label behind it
        head = ["path", "label"][: len(head)]
    else:
        rows = rows[1:]
    return [dict(zip(head, (cell.strip() for cell in row), strict=False)) for row in rows]


def _listed(path: Path, rows: Sequence[Any]) -> Found:
    """Returns the files of a list of paths and labels."""
    if not rows:
        raise InputError(f"{path} lists no sample", expected="paths and labels")
    items = []
    for number, row in enumerate(rows, 1):
        if not isinstance(row, Mapping):
            raise InputError(f"{path}: entry {number} is {row!r}", expected="an object with path and label")
        row = {str(key).lower(): value for key, value in row.items()}
        name = next((row[key] for key in PATHS if row.get(key)), None)
        if not isinstance(name, str):
            raise InputError(f"{path}: entry {number} names no file", expected="a column among " + ", ".join(PATHS))
        file = path.parent / name
        if not is_file(file):
            raise InputError(f"{path}: entry {number}: there is no file {file}", expected="paths beside the list")
        label = next((row[key] for key in _LABELS if row.get(key) not in (None, "")), None)
        items.append(Item(file, _label(label, path.parent), name))
    bare = [item.name for item in items if item.label is None]
    if bare and len(bare) < len(items):
        raise InputError(
            f"{path}: {bare[0]} has no label, others have", expected="a label for every sample, or for none"
        )
    names = sorted({item.label for item in items if isinstance(item.label, str)})
    return Found(tuple(items), tuple(names), f"a list of {len(items)} files")


def _label(label: Any, folder: Path) -> Any:
    """Returns a label: a whole number, the path of a mask, or the name of a class."""
    if isinstance(label, str):
        if label.lstrip("-").isdigit() and label.isascii() and len(label) < 10:
            return int(label)
        if is_readable(Path(label)) and is_file(folder / label):
            return folder / label
    return label

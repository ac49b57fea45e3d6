"""The one reader of data: how many samples there are at a place, one after the other, and all of them with labels."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.data.files import Sample, as_sample, read_arrays, read_file
from neurokit.data.found import Found, Item, find
from neurokit.data.kinds import IMAGES, kind_of
from neurokit.data.labelled import Labelled
from neurokit.data.labels import labels_of
from neurokit.data.readable import DECODED, without_damaged
from neurokit.errors import InputError

if TYPE_CHECKING:
    import torch

    from neurokit.spec import ModelSpec

_EARLY_BYTES = 16 << 20  # of a recording that is read once more to see whether it is whole
_MOST_BYTES = 4 << 30  # of a set that is held in memory at once


@dataclass(frozen=True)
class SampleFiles:
    """The samples at a place, in order.

    Attributes:
        found: Files, or samples of a data set in memory, with their labels.
        counts: Number of samples in each.
        spec: The model.
        time_steps: T, or None.
        name: Where they are from.
    """

    found: Found
    counts: tuple[int, ...]
    spec: ModelSpec
    time_steps: int | None
    name: str = ""

    @classmethod
    def find(cls, source: Any, spec: ModelSpec, time_steps: int | None) -> SampleFiles:
        """Looks through a place, or takes a data set in memory.

        Args:
            source: A path (see `neurokit.data.found.find`), or a data set with a length that gives samples, or pairs of
                sample and label, by their number (tonic's, torchvision's).
            spec: The model.
            time_steps: T, or None.

        Raises:
            InputError: If there is no readable sample, or arrays of different shapes, or a file is damaged; pictures of
                a folder are left out then (see `neurokit.data.readable`).
        """
        named = isinstance(source, str | Path)
        found = without_damaged(find(source), str(source)) if named else in_memory(source)
        shapes: dict[tuple[int, ...], str] = {}
        early = len(found.items) <= DECODED
        counts = [_samples_in(item, spec, time_steps, shapes, early) for item in found.items]
        if len(shapes) > 1:
            unlike = " and ".join(f"{list(shape)} ({name})" for shape, name in list(shapes.items())[:2])
            raise InputError(f"{source} holds samples of different shapes: {unlike}", expected="one shape")
        return cls(found, tuple(counts), spec, time_steps, Path(source).name if named else type(source).__name__)

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(self.counts)

    @property
    def description(self) -> str:
        """How the first file was understood; of several, how many there are."""
        first = self.found.items[0]
        if not isinstance(first.value, Path):
            return f"{self.count} samples of {self.name}, a data set in memory"
        read = read_file(first.value, self.spec, self.time_steps).description
        lost = f"; {len(self.found.unreadable)} unreadable files left out" if self.found.unreadable else ""
        return (read if len(self.counts) == 1 else f"{self.count} samples in {len(self.counts)} files; {read}") + lost

    def limited(self, samples: int | None) -> int:
        """Returns how many samples to run: all, or as many as were asked for.

        Raises:
            InputError: If there are fewer.
        """
        if samples is not None and samples > self.count:
            raise InputError(f"--samples is {samples}, the input holds {self.count}", fix=f"--samples {self.count}")
        return self.count if samples is None else samples

    def chosen(self, samples: int | None) -> list[int]:
        """Returns which samples stand for the set: all, or as many as were asked for, spread evenly over it."""
        return [int(at) for at in np.linspace(0, self.count - 1, self.limited(samples))]

    def read(self, start: int, stop: int) -> Iterator[tuple[str, Sample]]:
        """Yields samples `start` to `stop` with their names, reading one file at a time."""
        for name, part, _ in self.arrays(start, stop):
            yield name, as_sample(part, self.spec, self.time_steps)

    def arrays(self, start: int = 0, stop: int | None = None) -> Iterator[tuple[str, Any, Any]]:
        """Yields name, arrays and label of samples `start` to `stop`; a label is as it was found, or None."""
        stop, at = self.count if stop is None else stop, 0
        for item, many in zip(self.found.items, self.counts, strict=True):
            if at >= stop:
                return
            if at + many > start:
                inner = _inner_labels(item, many)
                for place, part in enumerate(read_arrays(item.value, self.spec, self.time_steps)):
                    if start <= at + place < stop:
                        name = f"{item.name} [{place}]" if many > 1 else item.name
                        yield name, part, item.label if inner is None else inner[place]
            at += many

    def labelled(self, samples: int | None = None) -> Labelled:
        """Returns all samples, or some spread evenly over the set, with their labels.

        Raises:
            InputError: If a sample has no label, they are of different shapes, or there are too many for the memory.
        """
        parts, labels = self._gathered(self.chosen(samples))
        if any(label is None for label in labels):
            raise InputError(
                f"{self.name} has no labels",
                expected="one folder a class, a list with labels, COCO annotations, or an .npz file with x and y",
            )
        return Labelled(_stacked(parts, self.name), labels_of(labels, self.found.classes, self.spec), self.name)

    def inputs(self, samples: int | None = None) -> torch.Tensor | dict[str, torch.Tensor]:
        """Returns samples as one batch of tensors, `[T, N, *shape]` or `[N, *shape]`: what calibrates.

        Raises:
            InputError: If they are of different shapes, or there are too many for the memory.
        """
        import torch

        batches = [as_sample(part, self.spec, self.time_steps) for part in self._gathered(self.chosen(samples))[0]]
        axis = 0 if self.time_steps is None or self.spec.time_input == "image" else 1
        if isinstance(batches[0], Mapping):
            return {name: torch.cat([each[name] for each in batches], axis) for name in batches[0]}  # type: ignore[index]
        return torch.cat(batches, axis)  # type: ignore[arg-type]

    def digest(self, samples: int | None = None) -> str:
        """Returns what tells this set from another: a sum over the chosen samples as the model sees them and labels."""
        total = hashlib.sha256(repr((samples, self.found.classes)).encode())
        for part, label in zip(*self._gathered(self.chosen(samples)), strict=True):
            arrays = sorted(part.items()) if isinstance(part, Mapping) else [("x", part)]
            for name, array in arrays:
                total.update(f"{name} {array.dtype} {array.shape}".encode() + np.ascontiguousarray(array).tobytes())
            total.update(repr(label).encode())
        return total.hexdigest()

    def _gathered(self, chosen: Sequence[int]) -> tuple[list[Any], list[Any]]:
        wanted, parts, labels, held = set(chosen), [], [], 0
        for at, (_, part, label) in enumerate(self.arrays()):
            if at in wanted:
                parts.append(part)
                labels.append(label)
                held += sum(a.nbytes for a in (part.values() if isinstance(part, Mapping) else (part,)))
                if held > _MOST_BYTES:
                    raise InputError(
                        f"{self.name} holds more than {_MOST_BYTES >> 30} GiB of samples",
                        expected="what fits the memory",
                        fix=f"--samples {max(len(parts) // 2, 1)}",
                    )
        return parts, labels


def in_memory(source: Any) -> Found:
    """Returns the samples of a data set in memory.

    Raises:
        InputError: If it is none, or empty.
    """
    try:
        entries = [source[at] for at in range(len(source))]
    except Exception as error:  # a data set's own exceptions have no common base
        raise InputError(
            f"a {type(source).__name__} is no data set: {type(error).__name__}: {str(error)[:120]}",
            expected="a path, or a data set with a length that gives (sample, label) by number",
        ) from error
    if not entries:
        raise InputError("the data set is empty", expected="at least one sample")
    pairs = [entry if isinstance(entry, tuple) and len(entry) == 2 else (entry, None) for entry in entries]
    items = tuple(Item(sample, _plain(label), f"sample {n}") for n, (sample, label) in enumerate(pairs))
    named = sorted({item.label for item in items if isinstance(item.label, str)})
    return Found(items, tuple(named), f"the data set {type(source).__name__}")


def _plain(label: Any) -> Any:
    """Returns a label that is one number in an array or tensor as a number."""
    return label.item() if hasattr(label, "item") and np.ndim(label) == 0 else label


def _inner_labels(item: Item, many: int) -> np.ndarray | None:
    """Returns the labels that an .npz file holds itself, as `y`; None for any other file."""
    if not isinstance(item.value, Path) or kind_of(item.value) != ".npz":
        return None
    with np.load(item.value, allow_pickle=False) as data:
        if "y" not in data.files or {"t", "p"} <= set(data.files):
            return None
        y = np.asarray(data["y"])
    if y.ndim and len(y) == many:
        return y
    raise InputError(f"{item.value}: y is {list(y.shape)}", expected=f"as many labels as samples ({many})")


def _stacked(parts: Sequence[Any], name: str) -> Any:
    if isinstance(parts[0], Mapping):
        return {key: _stacked([part[key] for part in parts], name) for key in parts[0]}
    shapes = sorted({part.shape for part in parts})
    if len(shapes) > 1:
        raise InputError(
            f"{name} holds samples of shapes {list(shapes[0])} and {list(shapes[1])}", expected="one shape"
        )
    return np.stack(parts)


def _samples_in(
    item: Item, spec: ModelSpec, time_steps: int | None, shapes: dict[tuple[int, ...], str], early: bool
) -> int:
    """Returns how many samples a file holds: of an array from its head, of anything else one.

    Where there are few files (`early`) recordings are read, so that a damaged one is named before work begins.
    """
    value = item.value
    if not isinstance(value, Path):
        return 1
    kind = kind_of(value)
    if len(spec.inputs) > 1 or kind in (".npz", ".nii", ".nii.gz"):
        return len(read_arrays(value, spec, time_steps))
    if kind != ".npy":
        if early and kind not in IMAGES and value.stat().st_size <= _EARLY_BYTES:
            read_arrays(value, spec, time_steps)
        return 1
    try:
        array = np.load(value, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's reader of heads has exceptions of its own
        raise InputError(f"input file {value} cannot be read: {error}", expected="an undamaged .npy file") from error
    if array.dtype.names or not array.ndim:
        return 1
    extra = array.ndim - len(spec.inputs[0].shape)
    sequences = spec.time_input != "image" and array.shape[0] == time_steps
    several = extra == 2 or (extra == 1 and not sequences)
    if extra >= 0:  # plain lists of events have any length
        shapes.setdefault(tuple(array.shape[1:] if several else array.shape), item.name)
    return int(array.shape[0]) if several else 1

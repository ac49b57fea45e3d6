"""A test set from a folder or a file: how many samples there are, and one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from neurokit.data.files import READABLE, Sample, read_file, read_samples
from neurokit.errors import InputError

if TYPE_CHECKING:
    from neurokit.spec import ModelSpec


@dataclass(frozen=True)
class SampleFiles:
    """The files of a test set, in order.

    Attributes:
        files: Each file with the number of samples in it.
        spec: The model.
        time_steps: T, or None.
    """

    files: tuple[tuple[Path, int], ...]
    spec: ModelSpec
    time_steps: int | None

    @classmethod
    def find(cls, path: str | Path, spec: ModelSpec, time_steps: int | None) -> SampleFiles:
        """Looks through a folder (its own files, by name), or takes one file.

        Raises:
            InputError: If there is no readable sample, or arrays of different shapes.
        """
        path = Path(path)
        if path.is_file():
            return cls(((path, len(read_samples(path, spec, time_steps))),), spec, time_steps)
        if not path.is_dir():
            raise InputError(f"there is no input file or folder {path}", expected="samples")
        files = [file for file in sorted(path.iterdir()) if file.suffix.lower() in READABLE and file.is_file()]
        if not files:
            kinds = ", ".join(sorted(READABLE))
            raise InputError(f"folder {path} holds no readable sample", expected=f"files of a kind among {kinds}")
        shapes: dict[tuple[int, ...], Path] = {}
        counted = [(file, _samples_in(file, spec, time_steps, shapes)) for file in files]
        if len(shapes) > 1:
            unlike = " and ".join(f"{list(shape)} ({file.name})" for shape, file in list(shapes.items())[:2])
            raise InputError(f"folder {path} holds samples of different shapes: {unlike}", expected="one shape")
        return cls(tuple(counted), spec, time_steps)

    @property
    def count(self) -> int:
        """The number of samples."""
        return sum(many for _, many in self.files)

    @property
    def description(self) -> str:
        """How the first file was understood; of a folder, how many files there are."""
        read = read_file(self.files[0][0], self.spec, self.time_steps).description
        return read if len(self.files) == 1 else f"{self.count} samples in {len(self.files)} files; {read}"

    def limited(self, samples: int | None) -> int:
        """Returns how many samples to run: all, or as many as were asked for.

        Raises:
            InputError: If there are fewer.
        """
        if samples is not None and samples > self.count:
            raise InputError(f"--samples is {samples}, the input holds {self.count}", fix=f"--samples {self.count}")
        return self.count if samples is None else samples

    def read(self, start: int, stop: int) -> Iterator[tuple[str, Sample]]:
        """Yields samples `start` to `stop` with their names, reading one file at a time."""
        at = 0
        for file, many in self.files:
            if at >= stop:
                return
            if at + many > start:
                for place, x in enumerate(read_samples(file, self.spec, self.time_steps)):
                    if start <= at + place < stop:
                        yield (f"{file.name} [{place}]" if many > 1 else file.name), x
            at += many


def _samples_in(file: Path, spec: ModelSpec, time_steps: int | None, shapes: dict[tuple[int, ...], Path]) -> int:
    """Returns how many samples a file holds: of an array from its head, of anything else one."""
    if len(spec.inputs) > 1:
        return len(read_samples(file, spec, time_steps))
    if file.suffix.lower() != ".npy":
        return 1
    try:
        array = np.load(file, mmap_mode="r", allow_pickle=False)
    except Exception as error:  # numpy's reader of heads has exceptions of its own
        raise InputError(f"input file {file} cannot be read: {error}", expected="an undamaged .npy file") from error
    if array.dtype.names or not array.ndim:
        return 1
    extra = array.ndim - len(spec.inputs[0].shape)
    sequences = spec.time_input != "image" and array.shape[0] == time_steps
    several = extra == 2 or (extra == 1 and not sequences)
    shapes.setdefault(tuple(array.shape[1:] if several else array.shape), file)
    return int(array.shape[0]) if several else 1

"""Labelled data: inputs and the right answers, from arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neurokit.errors import InputError


@dataclass(frozen=True)
class Labelled:
    """Inputs and the right answers.

    Attributes:
        x: `[N, *shape]`, or `[N, T, *shape]` for sequences; of several inputs by name.
        y: Labels of the task, `[N]` whole numbers, or `[N, ...]` (masks, sequences, boxes, fixations); what they mean
            is checked by the task.
        name: Where it is from.
    """

    x: np.ndarray | Mapping[str, np.ndarray]
    y: np.ndarray
    name: str = ""

    def __post_init__(self) -> None:
        label = self.name or "labelled data"
        arrays = dict(self.x) if isinstance(self.x, Mapping) else {"x": self.x}
        rows = self.y.dtype.kind == "f" and self.y.ndim > 1
        if not (self.y.dtype.kind in "iu" or rows) or any(x.dtype.kind not in "fiub" for x in arrays.values()):
            held = ", ".join(f"{name} holds {x.dtype}" for name, x in arrays.items())
            raise InputError(
                f"{label}: {held}, y holds {self.y.dtype}",
                expected="numbers, and as labels whole numbers or rows of numbers",
            )
        if not arrays:
            raise InputError(f"{label} has no input", expected="x, or every input by its name")
        for name, x in arrays.items():
            if x.dtype.kind == "f" and not np.isfinite(x).all():
                raise InputError(f"{label}: {name} holds NaN or infinity", expected="finite numbers")
            if self.y.ndim < 1 or len(x) != len(self.y) or not len(x):
                raise InputError(
                    f"{label}: {name} is {list(x.shape)}, y is {list(self.y.shape)}",
                    expected="as many labels as inputs",
                )
        if self.y.dtype.kind == "f" and not np.isfinite(self.y).all():
            raise InputError(f"{label}: y holds NaN or infinity", expected="finite numbers")

    def named(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """Returns the inputs by the names of a model's.

        Raises:
            InputError: If one is missing or unknown.
        """
        if not isinstance(self.x, Mapping):
            if len(names) == 1:
                return {names[0]: self.x}
            raise InputError(
                f"{self.name or 'labelled data'} holds one input x, and there are {len(names)}: {', '.join(names)}",
                expected="every input by its name",
            )
        wrong = sorted(set(names) ^ set(self.x))
        if wrong:
            what = f"has no input {wrong[0]!r}" if wrong[0] in names else f"has an array {wrong[0]!r} that is no input"
            raise InputError(
                f"{self.name or 'labelled data'} {what}", expected=f"the inputs {', '.join(names)}, and the labels y"
            )
        return dict(self.x)


def read_labelled(path: Path) -> Labelled:
    """Reads an .npz file with `x`, or every input by its name, and the labels `y`.

    Raises:
        InputError: If it is no such file.
    """
    try:
        if not path.is_file():
            raise OSError("it is no regular file")
        with np.load(path, allow_pickle=False) as data:
            arrays = {name: data[name] for name in data.files}
            y = arrays.pop("y")
    except Exception as error:  # numpy and zipfile have exceptions of their own
        raise InputError(f"{path} holds no labelled data: {error}", expected="an .npz file with x and y") from error
    return Labelled(arrays["x"] if set(arrays) == {"x"} else arrays, y, path.name)

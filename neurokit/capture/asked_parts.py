"""What a forward of one argument asks it for: parts of nested dicts, lists and objects, each of which is an input."""

from __future__ import annotations

import types
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from neurokit.capture.time_input import quiet_copy
from neurokit.spec import TensorSpec

# Where an input stands: keys, places and names of attributes, with what is asked: "dict", "list" or "object".
Path = tuple[tuple[Any, str], ...]
_LEADS = ((2,), (2, 2))  # axes before those of a sample: the batch, and time before it


@dataclass
class _Notes:
    """Parts that a forward asked for, and those that it took for tensors."""

    asked: list[Path] = field(default_factory=list)
    used: list[Path] = field(default_factory=list)


class _Asked:
    """Stands for the argument, or a part of it: notes what is asked of it, and gives the inputs that are known."""

    def __init__(self, path: Path, known: dict[Path, Tensor], notes: _Notes, names: Sequence[str]) -> None:
        self._path, self._known, self._notes, self._names = path, known, notes, names

    def _part(self, key: Any, kind: str) -> Any:
        path = (*self._path, (key, kind))
        if path in self._known:
            return self._known[path]
        self._notes.asked.append(path)
        return _Asked(path, self._known, self._notes, self._names)

    @classmethod
    def __torch_function__(cls, _function: Any, _types: Any, args: Any = (), kwargs: Any = None) -> Any:
        parts = [part for part in tree_leaves((args, kwargs or {})) if isinstance(part, _Asked)]
        for part in parts:
            part._notes.used.append(part._path)
        raise TypeError("a part of the argument is no tensor yet")

    def __call__(self, *_args: Any, **_kwargs: Any) -> Any:
        """Is a method of a tensor, `batch["x"].float()`."""
        self._notes.used.append(self._path[:-1])
        raise TypeError("a part of the argument is no tensor yet")

    def __getitem__(self, key: Any) -> Any:
        return self._part(key, "list" if isinstance(key, int) else "dict")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return self._part(name, "object")

    def __iter__(self) -> Iterator[Any]:
        return (self._part(at, "list") for at in range(len(self._names)))

    def __contains__(self, key: Any) -> bool:
        return key in self._names

    def get(self, key: Any, default: Any = None) -> Any:
        """Returns what a dict holds under a name that is given."""
        return self._part(key, "dict") if key in self._names else default

    def keys(self) -> list[str]:
        """Returns the names of the inputs, for a forward that hands them on as keywords."""
        return list(self._names)

    def items(self) -> list[tuple[str, Any]]:
        """Returns the inputs by name."""
        return [(name, self._part(name, "dict")) for name in self._names]

    def values(self) -> list[Any]:
        """Returns the inputs."""
        return [self._part(name, "dict") for name in self._names]


def asked_parts(module: nn.Module, inputs: Sequence[TensorSpec]) -> dict[str, Path] | None:
    """Returns where in its one argument a forward looks for each input, by name, or None if it does not run so.

    A part is the input that has the name of its last key, or of all of them joined by "." or "_"; of a list it is the
    input at that place. An input that the forward does not ask for is left out.

    Args:
        module: The module, in evaluation mode; copies of it are run.
        inputs: Its inputs.
    """
    for lead in _LEADS:
        values = {port.name: torch.ones((*lead, *port.numbers), dtype=getattr(torch, port.dtype)) for port in inputs}
        found: dict[str, Path] = {}
        for _ in range(len(inputs) + 1):
            known = {path: values[name] for name, path in found.items()}
            notes = _Notes()
            try:
                with torch.no_grad(), warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    quiet_copy(module)(_Asked((), known, notes, list(values)))
            except Exception:  # of a part that is no tensor yet
                before = len(found)
                for path in notes.used or _leaves(notes.asked):
                    _place(path, found, list(values))
                if len(found) == before:
                    break
            else:
                return found
    return None


def _leaves(paths: Sequence[Path]) -> list[Path]:
    """Returns the paths that lead to no other one."""
    return [path for path in paths if not any(other[: len(path)] == path != other for other in paths)]


def _place(path: Path, found: dict[str, Path], names: Sequence[str]) -> None:
    """Notes a path as that of the input that it names, if it names one that is not placed."""
    parts = [str(part) for part, _ in path]
    meant = {*parts[-1:], ".".join(parts), "_".join(parts), *(name for name in names if name.split(".") == parts[1:])}
    place = path[0][0] if path and path[0][1] == "list" else -1
    if 0 <= place < len(names):  # a tuple of inputs in their order, one of which may be a dict
        meant.add(names[place])
    free = [name for name in names if name in meant and name not in found]
    if path and free and path not in found.values():
        found[free[0]] = path


def arranged(paths: Sequence[Path], values: Sequence[Any]) -> Any:
    """Returns the one argument that holds the values at the paths."""
    if paths[0] == ():
        return values[0]
    parts: dict[Any, tuple[list[Path], list[Any]]] = {}
    for path, value in zip(paths, values, strict=True):
        inner = parts.setdefault(path[0][0], ([], []))
        inner[0].append(path[1:])
        inner[1].append(value)
    made = {key: arranged(*inner) for key, inner in parts.items()}
    kind = paths[0][0][1]
    if kind == "list":
        return [made.get(at) for at in range(max(made) + 1)]
    return made if kind == "dict" else types.SimpleNamespace(**made)

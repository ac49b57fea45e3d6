"""Lists, tuples and dicts in a module's attributes: what they hold, by name, and how they are made again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.utils._pytree import TreeSpec, keystr, tree_flatten_with_path, tree_map, tree_unflatten


@dataclass(frozen=True)
class Parts:
    """What a list, tuple or dict holds.

    Attributes:
        names: A name a leaf, "0" or "hidden_v".
        leaves: Tensors, numbers and None.
        structure: How they are nested.
    """

    names: tuple[str, ...]
    leaves: tuple[Any, ...]
    structure: TreeSpec

    def filled(self, leaves: Sequence[Any]) -> Any:
        """Returns such a container with other leaves."""
        return tree_unflatten(list(leaves), self.structure)

    def same(self, other: Any) -> bool:
        """Returns whether it holds the very objects of another."""
        if not isinstance(other, Parts) or self.names != other.names:
            return False
        return all(a is b for a, b in zip(self.leaves, other.leaves, strict=True))


def parts_of(value: Any) -> Parts | None:
    """Returns what a container of tensors, numbers and None holds, or None if it is none."""
    if not isinstance(value, list | tuple | dict | deque) or isinstance(value, nn.Module):
        return None
    entries, structure = tree_flatten_with_path(value)
    if not all(leaf is None or isinstance(leaf, Tensor | int | float) for _, leaf in entries):
        return None
    names = tuple("".join(c if c.isalnum() else "_" for c in keystr(path)).strip("_") for path, _ in entries)
    return Parts(names, tuple(leaf for _, leaf in entries), structure)


def anew(value: Any) -> Any:
    """Returns a container of the same leaves, which a forward may write into; anything else as it is."""
    return tree_map(lambda leaf: leaf, value)

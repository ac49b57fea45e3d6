"""Parts of PyTorch's compiler that stand in another's place for as long as a package is compiled."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def replaced(owner: Any, name: str, new: Any) -> Iterator[None]:
    """Puts an attribute of a class or module in the place of its own one, and that back at the end.

    Args:
        owner: The class or module that has the attribute itself (not by inheritance).
        name: The attribute.
        new: What stands there meanwhile.

    Raises:
        KeyError: If the owner has no attribute of that name: PyTorch is of a release that keeps it elsewhere.
    """
    usual = vars(owner)[name]
    setattr(owner, name, new)
    try:
        yield
    finally:
        setattr(owner, name, usual)

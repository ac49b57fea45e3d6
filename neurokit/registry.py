"""Named things found by decorator, by folder and by entry point, with near-miss suggestions."""

from __future__ import annotations

import difflib
import importlib
import pkgutil
import threading
from collections.abc import Iterator
from importlib.metadata import entry_points
from typing import Generic, TypeVar

from neurokit.errors import DuplicateNameError, UnknownNameError

T = TypeVar("T")


class Registry(Generic[T]):
    """A table of named things that fills itself when it is first asked.

    Every module of `package` is imported on the first look-up; such a module must be light (it imports
    its heavy libraries inside functions). A module that fails to import is kept in `broken` and does not
    take the others with it.

    Args:
        noun: What is registered, for messages: "model", "target".
        package: Dotted name of the package whose modules register things, or "" for none.
        group: Entry-point group through which other distributions add things, or "" for none.
        command: Command that lists them, or "" for none.
    """

    def __init__(self, noun: str, package: str = "", group: str = "", *, command: str = "") -> None:
        self.noun = noun
        self.package = package
        self.group = group
        self.command = command
        self.broken: dict[str, str] = {}
        self._items: dict[str, T] = {}
        self._discovered = False
        self._discovering = False
        self._lock = threading.RLock()

    def add(self, name: str, item: T) -> T:
        """Registers `item` under `name`.

        Raises:
            DuplicateNameError: If another item has that name already.
        """
        if name in self._items and self._items[name] is not item:
            raise DuplicateNameError(f"{self.noun} {name!r} is registered twice", fix="rename one of the two")
        self._items[name] = item
        return item

    def get(self, name: str) -> T:
        """Returns the item called `name`.

        Raises:
            UnknownNameError: If there is none; the message names the nearest ones.
        """
        self._discover()
        if not isinstance(name, str):  # one of several that was given alone, a thing in the place of its name
            raise UnknownNameError(f"a {self.noun} is named {name!r}", expected="its name", fix=self._listing())
        if name in self._items:
            return self._items[name]
        if name in self.broken:
            raise UnknownNameError(f"{self.noun} {name!r} failed to load: {self.broken[name]}")
        near = difflib.get_close_matches(name, self._items, n=3, cutoff=0.5)
        raise UnknownNameError(
            f"unknown {self.noun} {name!r}",
            expected=f"one of {', '.join(sorted(self._items)) or '(none registered)'}",
            fix=f"did you mean {' or '.join(near)}?" if near else self._listing(),
        )

    def registered(self, name: str) -> T | None:
        """Returns the item called `name` if something in this process has registered it so far; imports nothing."""
        return self._items.get(name)

    def _listing(self) -> str:
        return f"list them with: {self.command}" if self.command else ""

    def names(self) -> list[str]:
        """Returns every registered name, sorted."""
        self._discover()
        return sorted(self._items)

    def items(self) -> Iterator[tuple[str, T]]:
        """Iterates over (name, item) in the order of names."""
        for name in self.names():
            yield name, self._items[name]

    def _discover(self) -> None:
        if self._discovered:
            return
        with self._lock:  # another thread waits until the table is whole; the same one is inside an import of ours
            if self._discovered or self._discovering:
                return
            self._discovering = True
            try:
                self._load_all()
                self._discovered = True
            finally:
                self._discovering = False

    def _load_all(self) -> None:
        if self.package:
            root = importlib.import_module(self.package)
            for module in pkgutil.iter_modules(root.__path__, prefix=f"{self.package}."):
                self._load(module.name.rsplit(".", 1)[-1], lambda name=module.name: importlib.import_module(name))
        for point in entry_points(group=self.group) if self.group else ():
            self._load(point.name, point.load)

    def _load(self, name: str, load: object) -> None:
        try:
            load()  # type: ignore[operator]
        except DuplicateNameError:
            raise
        except Exception as error:  # a third party's broken plug-in must not hide the rest
            self.broken[name] = f"{type(error).__name__}: {error}"

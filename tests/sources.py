"""What a Python file imports and how it opens, read once a process."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple


class Source(NamedTuple):
    """A module's docstring, and the full names of what it imports anywhere in it."""

    docstring: str | None
    imports: tuple[str, ...]


@functools.cache
def read(path: Path) -> Source:
    tree, names = ast.parse(path.read_text()), []
    for node in _statements(tree):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.append(node.module)
    return Source(ast.get_docstring(tree), tuple(names))


def _statements(node: ast.AST) -> Iterator[ast.AST]:
    """Yields statements however deep; expressions, most of a tree, hold no import."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.stmt | ast.ExceptHandler | ast.match_case):
            yield child
            yield from _statements(child)

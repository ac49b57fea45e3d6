"""`.pt2` files: refused, because reading one can run code that it holds."""

from __future__ import annotations

from pathlib import Path
from typing import NoReturn

from neurokit.errors import ModelLoadError


def spec_from_pt2(path: Path) -> NoReturn:
    """Refuses the file; it is not opened.

    torch.export.load (2.11) unpickles payloads that the archive marks as pickled, without weights_only, and evaluates
    the text of symbolic expressions. Nothing in the archive can be looked at first that would rule both out.

    Raises:
        ModelLoadError: Always; says how to load a file that is trusted.
    """
    raise ModelLoadError(
        f"{path.name} is not loaded: torch.export.load can run code that a .pt2 file holds",
        expected="a file without code (.nir, .onnx)",
        fix=f"if you trust it, return torch.export.load({path.name!r}).module() from a factory: path/file.py:factory",
    )

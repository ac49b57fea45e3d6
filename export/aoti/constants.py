"""Weights of a package beside those of its probing twin: what is shown of the twin's is said of the package's."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Any

from neurokit.scratch import scratch


def other_weights(package: Path, model: str, beside: Path, twin: str) -> list[str]:
    """Returns the names of weights that both hold under one name and shape, with other bits, on a CPU.

    A weight that a compiler folded into another, or of which one of both has no copy, is in no such pair.

    Args:
        package: A package.
        model: Name of its model.
        beside: Another package.
        twin: Name of the model in there.
    """
    mine, theirs = _constants(package, model), _constants(beside, twin)
    return sorted(name for name in mine.keys() & theirs.keys() if _differ(mine[name], theirs[name]))


def _constants(package: Path, model: str) -> dict[str, Any]:
    import torch

    runner = getattr(torch._C._aoti, "AOTIModelContainerRunnerCpu", None)  # type: ignore[attr-defined]
    if not hasattr(runner, "extract_constants_map"):
        return {}
    with zipfile.ZipFile(package) as archive, scratch("aoti") as folder:
        found = [name for name in archive.namelist() if f"/{model}/" in name and name.endswith(".so")]
        if len(found) != 1:
            return {}
        opened = runner(archive.extract(found[0], folder), 1)  # what it gives lies in its memory
        held = {name: value.clone() for name, value in opened.extract_constants_map(False).items()}
        del opened
        return held


def _differ(a: Any, b: Any) -> bool:
    import torch

    return bool(a.shape == b.shape and a.dtype == b.dtype and not torch.equal(_bits(a), _bits(b)))


def _bits(value: Any) -> Any:
    import torch

    return value.contiguous().reshape(-1).view(torch.uint8)

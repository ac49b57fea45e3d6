"""What `neurokit demo` runs: digits and hand-shadow puppets from training to verified artifacts."""

from __future__ import annotations

import shutil
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from neurokit.demo import digits, puppets
from neurokit.demo.digits import Step


def run(out: str | Path = "build/demo", seed: int = 0, progress: Step | None = None) -> dict[str, Any]:
    """Runs the demo.

    Args:
        out: Folder for the artifacts; those of an earlier demo are replaced.
        seed: Seed of the training.
        progress: Called with what is being done; returns a context manager around the doing.

    Returns:
        A JSON object: what `digits.run` returns, "puppets" (what `puppets.run` returns), "folder" and "seconds".

    Raises:
        MissingRuntimeError: If Lightning, scikit-learn or ONNX Runtime is missing.
    """
    doing = progress or (lambda text: nullcontext())
    start = time.perf_counter()
    folder = Path(out)
    _clear(folder)
    found = digits.run(folder, seed, doing)
    found["puppets"] = puppets.run(folder / "puppets", seed, doing)
    return {**found, "folder": str(folder), "seconds": time.perf_counter() - start}


def _clear(folder: Path) -> None:
    """Removes the artifacts of an earlier demo, and nothing that is not one."""
    for name in (*digits.FORMS, *(f"puppets/{form}" for form in puppets.FORMS)):
        old = folder / name
        if (old / "manifest.json").is_file():
            shutil.rmtree(old)

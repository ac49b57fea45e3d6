"""What the models of a pack say of files, on a device that has only ONNX Runtime and numpy."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from neurokit.answering import Answering, in_words, samples_at
from neurokit.bench.folder import Folder
from neurokit.errors import InputError, NeurokitError
from neurokit.export.ort import OnnxRunner

MODELS = "models"


def main(arguments: Sequence[str] | None = None, here: Path = Path()) -> int:
    """Answers for files with the models of a pack, as `neurokit run` does where neurokit is installed.

    Args:
        arguments: The command line.
        here: The pack's folder.
    """
    parser = argparse.ArgumentParser(prog="run.py", description="Say what the packed models make of files.")
    parser.add_argument("files", nargs="+", type=Path, help="pictures, recordings, arrays, folders or lists of them")
    parser.add_argument("--model", help="one of the folders in models; default all of them")
    parser.add_argument("--seed", type=int, default=0, help="of the draws of random inputs")
    parser.add_argument("--threads", type=int, default=0, help="threads within an operator")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    given = parser.parse_args(arguments)
    try:
        found = {name: _answers(here / MODELS / name, given) for name in _chosen(here / MODELS, given.model)}
    except NeurokitError as error:
        return _failed(error.what, error.expected, error.fix, error.exit_code)
    except ImportError as error:  # Pillow for pictures, nibabel for volumes
        name = (error.name or "").partition(".")[0]
        package = {"PIL": "pillow"}.get(name, name)
        return _failed(str(error), f"the package {package}", f"python3 -m pip install {package}", 1)
    if given.json:
        rows = [{"model": name, "answers": answers} for name, answers in found.items()]
        sys.stdout.write(json.dumps({"schema_version": 1, "models": rows}) + "\n")
        return 0
    for name, answers in found.items():
        start = f"{name}: " if len(found) > 1 else ""
        sys.stdout.writelines(f"{start}{row['file']}: {in_words(row['answer'])}\n" for row in answers)
    return 0


def _chosen(models: Path, name: str | None) -> list[str]:
    there = sorted(path.name for path in models.iterdir() if path.is_dir()) if models.is_dir() else []
    if not there or (name is not None and name not in there):
        raise InputError(
            f"there is no model {name!r} in {models}" if there else f"{models} holds no models",
            expected=", ".join(there) or "a folder that neurokit bench --pack wrote",
        )
    return there if name is None else [name]


def _answers(folder: Path, given: Any) -> list[dict[str, Any]]:
    artifact: Any = Folder.load(folder)  # what a runner needs of an artifact
    samples = [sample for file in given.files for sample in samples_at(artifact, file)]
    asked = Answering(artifact, [sample for _, sample in samples], given.seed)
    with OnnxRunner(artifact, threads=given.threads) as runner:
        said = asked.by(runner)
    return [{"file": name, "answer": answer} for (name, _), answer in zip(samples, said, strict=True)]


def _failed(what: str, expected: str, fix: str, status: int) -> int:
    lines = [f"error: {what}", *([f"expected: {expected}"] if expected else []), *([f"fix: {fix}"] if fix else [])]
    sys.stderr.write("\n".join(lines) + "\n")
    return status

"""The environment of litert-torch: what it depends on clashes with neurokit's own, so it is made beside it, once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from neurokit.errors import MissingRuntimeError, UnsupportedError

PYTHON = "NEUROKIT_LITERT_PYTHON"  # an interpreter that has litert-torch; no environment is made then
# The versions that the tests ran with.
REQUIREMENTS = ("litert-torch==0.10.0", "ai-edge-litert==2.3.0")
_WORKER = Path(__file__).with_name("worker.py")


def interpreter() -> Path:
    """Returns the Python of an environment that has litert-torch, and makes the environment where there is none.

    Raises:
        MissingRuntimeError: If it cannot be made: without a network, or without room.
    """
    given = os.environ.get(PYTHON)
    if given:
        if shutil.which(given) is None:
            raise MissingRuntimeError(f"{PYTHON} is {given!r}, which does not run", fix=f"unset {PYTHON}")
        return Path(given)
    home = place()
    python = home / "bin" / "python"
    if not python.is_file():
        _make(home)
    return python


def is_made() -> bool:
    """Returns whether converting would install nothing."""
    return bool(os.environ.get(PYTHON)) or (place() / "bin" / "python").is_file()


def place() -> Path:
    """Returns the folder of the environment, named by what is in it."""
    from platformdirs import user_cache_path

    version = REQUIREMENTS[0].rpartition("=")[2]
    return user_cache_path("neurokit") / f"litert-torch-{version}-py{sys.version_info[0]}{sys.version_info[1]}"


def _make(home: Path) -> None:
    said = f"making an environment for litert-torch in {home}: some minutes, once, PyTorch with it"
    print(said, file=sys.stderr)
    home.parent.mkdir(parents=True, exist_ok=True)
    unfinished = home / "bin" / "python-unfinished"
    try:
        # An environment knows its own folder, so it is made in its place; it has a `python` when it is whole.
        shutil.rmtree(home, ignore_errors=True)
        _run([sys.executable, "-m", "venv", str(home)])
        (home / "bin" / "python").rename(unfinished)
        _run([str(unfinished), "-m", "pip", "install", "--quiet", *REQUIREMENTS])
        unfinished.rename(home / "bin" / "python")
    except BaseException:  # Ctrl-C, too
        shutil.rmtree(home, ignore_errors=True)
        raise


def _run(command: list[str]) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True, env=_outside())
    except (OSError, subprocess.CalledProcessError) as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines() or ["it failed"]
        raise MissingRuntimeError(
            f"no environment for litert-torch could be made: {said[-1][:200]}",
            expected="pip that reaches PyPI, and 7 GB of room",
            fix=f"make one with {' '.join(REQUIREMENTS)} and name its python in {PYTHON}",
        ) from error


def _outside() -> dict[str, str]:
    """Returns variables without what shows the way into this process's own environment, or to a GPU."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL_ENV"))}
    return {**kept, "CUDA_VISIBLE_DEVICES": ""}


def convert(files: Mapping[Path, Path], model: str) -> str:
    """Converts traced programs (.pt2) to LiteRT files, in that environment; returns the version of litert-torch.

    Args:
        files: What to write, by what it is converted from.
        model: The model's name, for messages.

    Raises:
        UnsupportedError: If litert-torch refuses a program.
        MissingRuntimeError: If the environment does not run.
    """
    words = [str(interpreter()), str(_WORKER), *(str(path) for pair in files.items() for path in pair)]
    done = subprocess.run(words, capture_output=True, text=True, env=_outside())
    lines = done.stdout.strip().splitlines()
    try:
        said = json.loads(lines[-1]) if lines else {}
    except ValueError:
        said = {}
    if "version" in said:
        return str(said["version"])
    if "refused" in said:
        raise UnsupportedError(f"litert-torch does not convert model {model!r}: {said['refused']}", [])
    last = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
    raise MissingRuntimeError(f"litert-torch does not run: {last[:200]}", fix=f"delete {place()} to make it anew")

"""A folder that measures and answers on a device with nothing but Python, numpy and ONNX Runtime.

It holds the artifacts with their test vectors, the jobs, two scripts, and beside them the few modules of neurokit
that measuring takes, as they are: the figures of a device and those of this machine come from the same code.
"""

from __future__ import annotations

import ast
import importlib.util
import json
import pkgutil
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from neurokit import atomic
from neurokit.artifact import MANIFEST, Artifact
from neurokit.bench.device import JOBS
from neurokit.bench.job import Job
from neurokit.bench.subject import refuse_mismatch
from neurokit.errors import InputError
from neurokit.tasks.task import TASKS

SCRIPT = "bench.py"
RUN = "run.py"
OLDEST_PYTHON = (3, 10)
_ROOTS = {SCRIPT: "neurokit.bench.device", RUN: "neurokit.bench.answers_there"}
_DOES = {
    SCRIPT: "Measures the models of this folder on this device",
    RUN: "Says what the models of this folder make of files",
}
_TASKS = "neurokit.tasks"
_SCRIPT_TEXT = '''\
"""{does}; needs Python 3.10 or newer, numpy and onnxruntime."""

import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

if __name__ == "__main__":
    if sys.version_info < (3, 10):
        sys.exit("error: this is Python %d.%d\\nexpected: 3.10 or newer" % sys.version_info[:2])
    for name in ("numpy", "onnxruntime"):
        try:
            __import__(name)
        except ImportError as error:
            sys.exit("error: %s\\nexpected: numpy and onnxruntime\\nfix: python3 -m pip install %s" % (error, name))
    from pathlib import Path

    from {module} import main

    sys.exit(main(here=Path(HERE)))
'''
_README = """\
Run `python3 bench.py` on the device. It needs Python 3.10 or newer, numpy and onnxruntime, and writes result.json.
Carry result.json back, then: neurokit report result.json --html page.html

`python3 run.py FILE...` says what the models make of pictures (with Pillow), recordings or arrays; they are prepared as
the models declare.
"""


def write_pack(out: Path, jobs: Sequence[Job], *, force: bool = False) -> Path:
    """Writes a pack.

    Args:
        out: Folder to make; it appears whole or not at all.
        jobs: What to measure: jobs on ONNX artifacts.
        force: Whether a pack that is there may be replaced.

    Returns:
        The folder.

    Raises:
        InputError: If a job is for something else than an ONNX artifact.
        ArtifactError: If an artifact is damaged.
        ParityError: If an artifact's verification failed and its job does not allow that.
        OutputError: If the folder exists or cannot be written.
    """
    sources = _checked(jobs)
    with atomic.new_folder(out, force=force, replaceable=_is_pack) as (folder, target):
        placed = []
        for number, (source, name) in enumerate(sources.items()):
            _copy_artifact(source, folder / "models" / name)
            for job in (job for job in jobs if Path(job.source).resolve() == source):
                data = _copy_data(job, folder, number)
                placed.append(replace(job, source=f"models/{name}", data=data).to_json())
        (folder / JOBS).write_text(json.dumps(placed, indent=1) + "\n", encoding="utf-8")
        for script, module in _ROOTS.items():
            text = _SCRIPT_TEXT.replace("{does}", _DOES[script]).replace("{module}", module)
            (folder / script).write_text(text, encoding="utf-8")
        (folder / "README.txt").write_text(_README, encoding="utf-8")
        for name, path in modules().items():
            place = folder.joinpath(*name.split("."))
            place = place / "__init__.py" if path.name == "__init__.py" else place.with_suffix(".py")
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, place)
    return target


def _checked(jobs: Sequence[Job]) -> dict[Path, str]:
    """Returns every artifact's folder and its name in the pack."""
    found: dict[Path, str] = {}
    for job in jobs:
        artifact = Artifact.load(job.source)
        if job.subject != "artifact" or artifact.manifest.runtime != "onnxruntime":
            raise InputError(
                f"{job.source} is for target {artifact.manifest.target!r}",
                expected="ONNX artifacts: a pack needs nothing but ONNX Runtime",
                fix="leave it out of --pack",
            )
        refuse_mismatch(artifact.manifest.parity, artifact.path, job.allow_mismatch)
        if job.data:
            _refuse_foreign(artifact)
        path = artifact.path.resolve()
        if path not in found:
            taken = f"{path.name}-{len(found)}" if path.name in found.values() else path.name
            found[path] = taken
    if not found:
        raise InputError("there is nothing to pack", expected="at least one ONNX artifact")
    return found


def _copy_artifact(source: Path, to: Path) -> None:
    """Copies what the manifest lists, and nothing that lies beside it: a pipe, or a link to another folder."""
    for name in (MANIFEST, *Artifact.load(source, check=False).manifest.files):
        place = to / name
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / name, place)


def _copy_data(job: Job, folder: Path, number: int) -> str:
    if not job.data:
        return ""
    name = f"data-{number}.npz"
    try:
        shutil.copy(job.data, folder / name)
    except OSError as error:
        raise InputError(f"{job.data} cannot be read: {error.strerror}", expected="an .npz file") from error
    return name


def modules() -> dict[str, Path]:
    """Returns the modules of neurokit that the scripts import when they start, with their files."""
    found: dict[str, Path] = {}
    waiting = [*_ROOTS.values(), *(module.name for module in _task_modules())]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            spec = importlib.util.find_spec(name)
        except ModuleNotFoundError:
            spec = None
        if spec is None or spec.origin is None:
            continue  # `from module import function`: no module of its own
        found[name] = Path(spec.origin)
        parents = name.rpartition(".")[0]
        waiting += [parents] if parents else []
        waiting += _imports(found[name])
    return found


def _task_modules() -> Iterator[pkgutil.ModuleInfo]:
    """Yields the modules that a look-up of a task imports."""
    package = importlib.util.find_spec(_TASKS)
    places = package.submodule_search_locations if package is not None else None
    return pkgutil.iter_modules(places, prefix=f"{_TASKS}.")


def _refuse_foreign(artifact: Artifact) -> None:
    """Refuses to score by a task that the device would not have.

    Raises:
        InputError: If so.
    """
    named = artifact.manifest.task
    if named is not None and not type(TASKS.get(named.name)).__module__.startswith(f"{_TASKS}."):
        raise InputError(
            f"task {named.name!r} of {artifact.path} is of another distribution, which is not in the pack",
            expected="one of neurokit's tasks beside --data",
            fix="leave --data away, and score it here",
        )


def _imports(path: Path) -> Iterator[str]:
    """Yields the neurokit modules that a file imports when it is imported itself, and what may be one."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "neurokit":
            yield str(node.module)
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.partition(".")[0] == "neurokit")


def _is_pack(folder: Path) -> bool:
    return (folder / JOBS).is_file() and (folder / SCRIPT).is_file()

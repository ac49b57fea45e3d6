"""Puts artifacts, the page and ONNX Runtime's WebAssembly into one folder that any file server can serve."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.artifact import Artifact
from neurokit.errors import InputError, MissingRuntimeError, UnsupportedError
from neurokit.manifest import StateInfo

HERE = Path(__file__).parent
PAGE = HERE / "page"
RUNTIME = HERE / "node_modules" / "onnxruntime-web" / "dist"
RUNTIME_FILES = ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
TARGETS = ("onnx", "onnx-int8", "onnx-step")
_MARK = "page.json"  # a folder that holds it was written here, and may be replaced


def bundle(artifacts: Sequence[Artifact | str | Path], out: str | Path) -> list[dict[str, Any]]:
    """Writes the page.

    Args:
        artifacts: Image classifiers of the targets `TARGETS`; the first is shown first.
        out: Folder for the page; one that was written here before is replaced.

    Returns:
        What the page knows of each network: an entry of its models.json each.

    Raises:
        InputError: If there is no artifact, or `out` holds something else.
        UnsupportedError: If an artifact is of another target, or takes no image.
        MissingRuntimeError: If onnxruntime-web was not fetched.
    """
    folder = Path(out)
    taken = [each if isinstance(each, Artifact) else Artifact.load(each) for each in artifacts]
    if not taken:
        raise InputError("there is no artifact to show", expected="one artifact or more")
    cards = [_card(artifact, number) for number, artifact in enumerate(taken)]
    missing = [name for name in RUNTIME_FILES if not (RUNTIME / name).is_file()]
    if missing:
        raise MissingRuntimeError(
            f"onnxruntime-web is not here ({missing[0]})", fix=f"npm ci --ignore-scripts --prefix {HERE}"
        )
    _clear(folder)
    shutil.copytree(PAGE, folder)
    (folder / _MARK).write_text("{}\n")
    (folder / "ort").mkdir()
    for name in RUNTIME_FILES:
        shutil.copyfile(RUNTIME / name, folder / "ort" / name)
    for card, artifact in zip(cards, taken, strict=True):
        _write_model(card, artifact, folder)
    (folder / "models.json").write_text(json.dumps({"models": cards}, indent=1))
    _name_files(folder)
    return cards


def _clear(folder: Path) -> None:
    """Removes a page that was written here before, and nothing else."""
    if (folder / _MARK).is_file():
        shutil.rmtree(folder)
    elif folder.exists() and any(folder.iterdir()):
        raise InputError(f"{folder} holds something else", expected="a new folder, or a page from here")
    elif folder.exists():
        folder.rmdir()


def _card(artifact: Artifact, number: int) -> dict[str, Any]:
    """Returns what the page needs to know of an artifact."""
    manifest = artifact.manifest
    port = manifest.inputs[0]
    lead = 1 if port.time_axis is None else 2
    shape = port.shape[lead:]
    if manifest.target not in TARGETS:
        raise UnsupportedError(f"{artifact.path} is of the target {manifest.target}; expected {', '.join(TARGETS)}", [])
    ports = len(manifest.graphs), len(manifest.inputs), len(manifest.outputs)
    image = len(shape) == 3 and shape[0] in (1, 3) and all(isinstance(size, int) for size in shape)
    if ports != (1, 1, 1) or not image or port.dtype not in ("uint8", "float32"):
        what = f"{artifact.path} takes {port.dtype} {list(port.shape)}"
        raise UnsupportedError(f"{what}; expected one image of 1 or 3 channels and fixed size", [])
    settings = manifest.task.settings if manifest.task else {}
    steps = manifest.time_steps if isinstance(manifest.time_steps, int) else 1
    return {
        "id": f"{number}-{manifest.target}",
        "title": f"{manifest.model.name}, {manifest.target}",
        "about": _about(artifact, steps),
        "file": f"models/{number}/model.onnx",
        "input": {
            "name": port.name,
            "shape": list(shape),
            "dtype": port.dtype,
            "low": 0.0 if port.low is None else port.low,
            "high": 1.0 if port.high is None else port.high,
            "time": port.time_axis is not None,
        },
        "mean": _numbers(settings.get("mean")),
        "std": _numbers(settings.get("std")),
        "classes": list(settings.get("classes") or ()),
        "output": manifest.outputs[0].name,
        "timeSteps": steps,
        "timeOutput": manifest.target_info.get("time_output", ""),
        "streams": manifest.form == "step",
        "states": [_state(state, artifact) for state in manifest.states],
        "neurons": sum(int(np.prod(_sizes(state)[1:])) for state in manifest.states if state.neuron),
    }


def _about(artifact: Artifact, steps: int) -> str:
    manifest = artifact.manifest
    size = artifact.manifest.files["model.onnx"].bytes / 1e6
    text = f"{manifest.model.parameters:,} parameters, {size:.2f} MB."
    if manifest.form == "step":
        text += f" A camera frame is one step, the answer is over the last {steps}; a picture is shown for {steps}."
    elif manifest.time_steps is not None:
        text += f" Every picture is shown for {steps} time steps."
    return text


def _numbers(given: Any) -> list[float] | None:
    return None if given is None else [float(value) for value in np.asarray(given).reshape(-1)]


def _sizes(state: StateInfo) -> list[int]:
    """Returns a state's sizes for one stream."""
    return [1 if isinstance(size, str) else size for size in state.shape]


def _state(state: StateInfo, artifact: Artifact) -> dict[str, Any]:
    init: Any = state.init
    if isinstance(init, str):
        start = np.broadcast_to(np.load(artifact.file(init)), _sizes(state))
        init = start.astype(float).reshape(-1).tolist()
    return {
        "input": state.input,
        "output": state.output,
        "shape": _sizes(state),
        "dtype": state.dtype,
        "init": init,
    }


def _write_model(card: dict[str, Any], artifact: Artifact, folder: Path) -> None:
    """Writes a network with its class activation maps and spikes as outputs, and says on its card which it has."""
    import onnx

    from neurokit.export.onnx.observed import observed

    seen = observed(onnx.load(str(artifact.file("model.onnx"))))
    card |= {"maps": seen.maps, "why": seen.why, "spikes": seen.spikes}
    path = folder / card["file"]
    path.parent.mkdir(parents=True)
    onnx.save(seen.model, str(path))


def _name_files(folder: Path) -> None:
    """Writes into the service worker which files there are, and a sum that changes with any of them."""
    worker = folder / "sw.js"
    text, files, digest = worker.read_text(), ["./"], hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path != worker):
        name = path.relative_to(folder).as_posix()
        files += [name] if name != _MARK else []
        digest.update(name.encode() + path.read_bytes())
    text = text.replace('"unbuilt"', json.dumps(digest.hexdigest()[:16]))
    worker.write_text(text.replace("FILES = []", f"FILES = {json.dumps(files)}"))

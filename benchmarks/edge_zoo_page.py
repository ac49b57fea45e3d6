"""The edge zoo on one page: small twins, most of them taught a task, with metric, size, latency and joules of each.

    python benchmarks/edge_zoo_page.py build/edge-zoo [--steps 60] [NAME...]

Every twin is exported to `onnx` (with states to `onnx-step`) and verified, timed for a second, and its multiply-adds
priced on edge devices; the page is that of `neurokit report`. What is left of an earlier run is taken as it is. Who is
taught learns the task of `make test-slow` in few steps, so that a metric means something; a stream that looks back only
and images by denoising are taught nothing, and have none.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SEGMENTERS = (
    "ear_unet",
    "macmd_b0",
    "dsa_decoder",
    "para_trans_cnn_32",
    "trans_dae",
    "dae_former",
    "att_swin_unet",
)
UNTAUGHT = ("ecapa_tdnn_512_stream", "acdit_b", "acdit_b_blocks")


def finds_ellipses(spec: Any, module: Any, steps: int) -> Any:
    """Teaches a segmenter ellipses; returns labelled pictures of others."""
    from neurokit.data.labelled import Labelled
    from tests.neurokit.models import edge_tasks

    channels, side, _ = spec.inputs[0].numbers
    net = edge_tasks.EveryStep(module) if spec.spiking else module
    edge_tasks.find_ellipses(net, channels, side, steps, 5e-3 if spec.spiking else 2e-3)
    x, mask = edge_tasks.ellipses(32, 7, channels, side)
    return Labelled(x.numpy(), mask.numpy(), "ellipses")


def finds_ellipsoids(spec: Any, module: Any, steps: int) -> Any:
    """Teaches a segmenter of volumes ellipsoids, in fewer steps, which are longer; returns labelled volumes."""
    from neurokit.data.labelled import Labelled
    from tests.neurokit.models import edge_tasks

    sides = spec.inputs[0].numbers[1:]
    edge_tasks.find_ellipsoids(module, sides, max(1, steps // 3), 3e-3)
    x, regions = edge_tasks.ellipsoids(4, 7, sides)
    return Labelled(x.numpy(), regions.numpy(), "ellipsoids")


def knows_emotions(spec: Any, module: Any, steps: int) -> Any:
    """Teaches emotions that last; returns labelled dialogues."""
    import torch

    from neurokit.data.labelled import Labelled
    from tests.neurokit.models import edge_tasks

    prototypes = 0.3 * torch.randn(6, 32, generator=torch.Generator().manual_seed(1))
    edge_tasks.learn_emotions(module, prototypes, 8, steps)
    text, speaker, labels = edge_tasks.dialogues(100, 7, prototypes, 8)
    return Labelled({"text": text.numpy(), "speaker": speaker.numpy()}, labels.numpy(), "emotions that last")


def reads_in_order(spec: Any, module: Any, steps: int) -> Any:
    """Teaches reading order; returns labelled shelves."""
    import numpy as np

    from neurokit.data.labelled import Labelled
    from tests.neurokit.models import edge_tasks

    edge_tasks.learn_reading_order(module, 2 * steps)
    images, target = edge_tasks.shelves(24, 7, module)
    right = edge_tasks.read_in_order(target, np.array(spec.task.settings["places"]))
    return Labelled({"images": images.numpy(), "target": target.numpy()}, right, "reading order")


TEACHERS: dict[str, Callable[[Any, Any, int], Any]] = {
    **dict.fromkeys((*SEGMENTERS, "trans_dae_spiking"), finds_ellipses),
    "swin_unetr_12": finds_ellipsoids,
    "emotionic": knows_emotions,
    "oat": reads_in_order,
}
NAMES = (*TEACHERS, "ecapa_tdnn_512", *UNTAUGHT)


def taught(name: str, steps: int) -> tuple[Any, Any]:
    """Returns a twin, and labelled data of what it was taught, or None."""
    import torch

    from neurokit.spec import MODELS
    from tests.neurokit.models import edge_tasks

    spec = MODELS.get(name)().in_small()
    if not steps:
        return spec, None
    if name == "ecapa_tdnn_512":
        speakers, data, _ = edge_tasks.speakers_learnt(2 * steps)
        return replace(speakers, name=spec.name), replace(data, name="unheard speakers")
    if name not in TEACHERS:
        return spec, None
    torch.manual_seed(0)
    module = spec.build()
    data = TEACHERS[name](spec, module, steps)
    return replace(spec, build=lambda: module), data


def with_paths_scored(artifact: Any, spec: Any, data: Any) -> Any:
    """Scores the paths of torch's search and of the host's over the graphs, which no single call of them gives."""
    import numpy as np
    import torch

    import neurokit as nk
    from neurokit.tasks.scoring import scores, task_named
    from tests.neurokit.models import edge_tasks

    task, settings = task_named(spec.task.name, spec.task.settings)
    module, places = spec.build(), np.array(settings["places"], dtype=np.float64)
    shelves = [{name: x[at] for name, x in data.x.items()} for at in range(len(data.y))]
    with torch.no_grad():
        searched = [edge_tasks.path_of(module, torch.from_numpy(row["images"]), int(row["target"])) for row in shelves]
    said = [[(one["x"], one["y"]) for one in answer["fixations"]] for answer in nk.answer(artifact, shelves)]
    both = {}
    for name, paths in (("before", [places[path] for path in searched]), ("after", said)):
        found = np.full((len(shelves), 33, 3), -1.0)
        for row, path in zip(found, paths, strict=True):
            row[: len(path)] = np.c_[np.reshape(path, (-1, 2)), np.zeros(len(path))]
        both[name] = scores(task, settings, found, data)
    headline = {name: one["metrics"][task.info.headline]["value"] for name, one in both.items()}
    metrics = {name: one["metrics"] for name, one in both.items()}
    return artifact.with_target_info(accuracy={**both["after"], **headline, "agreement": None, "metrics": metrics})


def rows(name: str, steps: int, folder: Path) -> list[Path]:
    """Exports, times and prices a twin; returns the folder and files of it."""
    import neurokit as nk
    from neurokit import provenance
    from neurokit.bench.run import BenchRun

    spec, data = taught(name, steps)
    captured = nk.capture(spec)
    target = "onnx-step" if any(part.spec.states for part in captured.graphs) else "onnx"
    whole = len(captured.graphs) == 1
    artifact = nk.lower(captured, target, folder / spec.name, **({"data": data} if data is not None and whole else {}))
    if data is not None and not whole:
        artifact = with_paths_scored(artifact, spec, data)
    energy, notes = priced(spec, captured)
    places = [artifact.path]
    run = BenchRun((nk.benchmark(artifact, seconds=1.0),), notes=notes, provenance=provenance.collect())
    for kind, made in (("bench", run.to_json()), ("energy", energy)):
        if made is not None:
            places.append(folder / f"{spec.name}-{kind}.json")
            places[-1].write_text(json.dumps(made), encoding="utf-8")
    return places


def priced(spec: Any, captured: Any) -> tuple[Any, tuple[str, ...]]:
    """Returns an energy report, of half a second where a recording's length is free, or None and why there is none."""
    import neurokit as nk

    try:
        if not spec.graphs and [port.layout for port in spec.inputs] == ["L"]:
            captured = nk.capture(nk.load(spec, input_shape=(8000,)))
        return nk.simulate(captured).to_json(), ()
    except nk.errors.NeurokitError as error:
        return None, (f"no energy of {spec.name}: {'; '.join(map(str, getattr(error, 'reasons', ()))) or error}",)


def found_or_made(name: str, steps: int, folder: Path) -> list[Path]:
    """Returns a twin's folder and files, those of an earlier run if there are any."""
    note = folder / f"{name}.places.json"
    if not note.is_file():
        places = rows(name, steps, folder)
        note.write_text(json.dumps([place.name for place in places]), encoding="utf-8")
        print(f"{name}: {len(places)} parts", flush=True)
    return [folder / place for place in json.loads(note.read_text(encoding="utf-8"))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=NAMES)
    parser.add_argument("--steps", type=int, default=60, help="of training of each segmenter")
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from neurokit.page.build import build

    arguments.folder.mkdir(parents=True, exist_ok=True)
    places = [place for name in arguments.names for place in found_or_made(name, arguments.steps, arguments.folder)]
    content = build(places, arguments.folder / "zoo.html")
    print(f"{arguments.folder / 'zoo.html'}: {len(content.rows)} rows, {len(content.failures)} failures")


if __name__ == "__main__":
    main()

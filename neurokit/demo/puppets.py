"""Hand-shadow puppets: a small network is trained and deployed in float and int8, a spiking one is streamed."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit import pipeline
from neurokit.artifact import Artifact
from neurokit.demo.digits import Step
from neurokit.reports import ParityReport
from neurokit.tasks.choice import best_class

if TYPE_CHECKING:
    from neurokit.data.labelled import Labelled

MODEL = "puppets_mobilenet_v2_035"
FORMS = ("onnx", "onnx-int8", "onnx-step")
SPIKING = "puppets_ms_resnet34"  # trained beforehand, on a GPU: its weights are in the package
EPOCHS = 20  # of the recipe's 24, so that all of the demo takes less than three minutes on two cores
PER_CLASS, HELD_OUT = 200, 50
_CALIBRATED_ON, _BATCH = 1000, 50  # of 256 pictures int8 loses 0.7 points in the mean, of 1,000 half of that


def run(folder: Path, seed: int, doing: Step, *, epochs: int = EPOCHS, per_class: int = PER_CLASS) -> dict[str, Any]:
    """Runs the part on puppets.

    Args:
        folder: Folder for the artifacts, which are not there yet.
        seed: Seed of the training.
        doing: Called with what is being done; returns a context manager around the doing.
        epochs: Passes over the training pictures.
        per_class: Training pictures of each class.

    Returns:
        "training"; "forms": of each its accuracy on held-out pictures through ONNX Runtime, verdict and size; "stream":
        one picture, frame by frame through the spiking form.

    Raises:
        MissingRuntimeError: If Lightning, torchmetrics or ONNX Runtime is missing.
    """
    from neurokit.data.puppets import PuppetShapes
    from neurokit.loading import load
    from neurokit.training.api import train

    with doing(f"train {MODEL} on {15 * per_class:,} synthetic hand-shadow puppets"):
        report = train(
            MODEL, f"puppets:{per_class}", folder / "training", recipe="scratch", epochs=epochs, seed=seed, force=True
        )
    spec = load(MODEL, weights=folder / "training" / report.weights)
    train_set = PuppetShapes("train", per_class, seed=seed).labelled()
    held_out = PuppetShapes("test", HELD_OUT, seed=seed + 1).labelled()
    np.savez(folder / "heldout.npz", x=np.asarray(held_out.x), y=held_out.y)
    rows = []
    with doing("lower it to onnx and onnx-int8, and verify"):
        captured = pipeline.capture(spec)
        rows.append(_row(captured, "onnx", folder, held_out))
        order = np.random.default_rng(seed).permutation(len(train_set.y))[:_CALIBRATED_ON]
        rows.append(_row(captured, "onnx-int8", folder, held_out, calibration=_tensor(train_set, order)))
    with doing(f"lower the spiking {SPIKING} to onnx-step, and verify"):
        spiking = pipeline.capture(load(SPIKING, weights="pretrained"))
        rows.append(_row(spiking, "onnx-step", folder, held_out))
    return {
        "training": {
            "model": MODEL,
            "seconds": report.seconds,
            "epochs": report.epochs,
            "train_images": report.train_images,
            "held_out_images": len(held_out.y),
        },
        "forms": rows,
        "stream": _stream(Artifact.load(folder / "onnx-step"), held_out),
    }


def _tensor(data: Labelled, rows: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(np.asarray(data.x)[rows])


def _row(captured: Any, form: str, folder: Path, data: Labelled, **options: Any) -> dict[str, Any]:
    """Lowers to one form and returns what the demo says of it."""
    artifact = pipeline.lower(captured, form, folder / form, **options)
    report = ParityReport.from_json(artifact.manifest.parity or {})
    return {
        "target": form,
        "numerics": artifact.manifest.numerics,
        "verdict": report.verdict,
        "passed": report.passed,
        "bytes": artifact.manifest.files["model.onnx"].bytes,
        "accuracy": _accuracy(artifact, data),
    }


def _accuracy(artifact: Artifact, data: Labelled) -> float:
    """Returns the share of right answers of an artifact on ONNX Runtime, 0 to 1; over time a picture is every frame."""
    x, steps = np.asarray(data.x), artifact.manifest.time_steps
    scores = []
    with pipeline.open(artifact) as runner:
        for start in range(0, len(x), _BATCH):
            part = x[start : start + _BATCH]
            scores.append(runner(part if steps is None else np.repeat(part[None], int(steps), 0)))
    return float((best_class(np.concatenate(scores)) == data.y).mean())


def _stream(artifact: Artifact, data: Labelled) -> dict[str, Any]:
    """Shows one picture for T frames, and after each the answer so far and the spikes of all neurons."""
    from neurokit.export.onnx.spike_count import SpikeCounter

    image, total = np.asarray(data.x)[:1], np.zeros(1)
    answers, spikes, seconds = [], [], []
    with SpikeCounter(artifact) as counter:
        for _ in range(int(artifact.manifest.time_steps or 1)):
            start = time.perf_counter()
            scores, count = counter.step(image)
            seconds.append(time.perf_counter() - start)
            total = total + scores[0]
            answers.append(int(best_class(total)))
            spikes.append(count)
    names = artifact.manifest.task.settings["classes"] if artifact.manifest.task else []
    return {
        "model": SPIKING,
        "label": names[int(data.y[0])],
        "answer_after_each_step": [names[answer] for answer in answers],
        "spikes": spikes,
        "neurons": counter.neurons,
        "step_s": seconds,
    }

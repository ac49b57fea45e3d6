"""Handwritten digits: a spiking network is trained, lowered to three forms, verified, compared and streamed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import pipeline
from neurokit.artifact import Artifact
from neurokit.tasks.choice import best_class

FORMS = ("onnx", "onnx-scan", "onnx-step")

Step = Callable[[str], Any]


def run(folder: Path, seed: int, doing: Step) -> dict[str, Any]:
    """Runs the part on digits.

    Args:
        folder: Folder for the artifacts, which are not there yet.
        seed: Seed of the training.
        doing: Called with what is being done; returns a context manager around the doing.

    Returns:
        "training", "forms", "agreement", "accuracy" and "stream".

    Raises:
        MissingRuntimeError: If scikit-learn or ONNX Runtime is missing.
    """
    with doing("train spiking_cnn on handwritten digits"):
        module, digits, training = _train(seed)
    with doing("capture it: every neuron one operation with explicit state"):
        captured = pipeline.capture(_spec(module, digits))
    artifacts = []
    forms = []
    for form in FORMS:
        with doing(f"lower to {form}, and verify"):
            artifact, row = _lower(captured, form, folder / form)
            artifacts.append(artifact)
            forms.append(row)
    with doing("compare the three forms with each other"):
        agreement = pipeline.compare(artifacts)
    with doing("classify the held-out digits"):
        accuracy = _classify(module, digits, artifacts)
    with doing("stream one digit, step by step"):
        stream = _stream(artifacts[FORMS.index("onnx-step")], digits)
    return {"training": training, "forms": forms, "agreement": agreement, "accuracy": accuracy, "stream": stream}


def _train(seed: int) -> tuple[Any, Any, dict[str, Any]]:
    from neurokit.data.digits import load_digits
    from neurokit.models.spiking_cnn.train import train_digits

    start = time.perf_counter()
    module, accuracy = train_digits(seconds=60.0, seed=seed)
    digits = load_digits(seed)
    return (
        module,
        digits,
        {
            "seconds": time.perf_counter() - start,
            "held_out_accuracy": accuracy,
            "train_images": len(digits.train_labels),
            "held_out_images": len(digits.test_labels),
        },
    )


def _spec(module: Any, digits: Any) -> Any:
    """The zoo's spec with the trained module and with real digits as its test vectors."""
    from neurokit.data.digits import as_sequence
    from neurokit.loading import load

    return replace(
        load("spiking_cnn"),
        build=lambda: module,
        example=lambda batch, time_steps, seed: as_sequence(digits.test_images[seed : seed + batch], time_steps),
    )


def _lower(captured: Any, form: str, folder: Path) -> tuple[Artifact, dict[str, Any]]:
    artifact = pipeline.lower(captured, form, folder, verified=False)
    report = pipeline.verify(artifact)
    return artifact, {
        "target": form,
        "verdict": report.verdict,
        "passed": report.passed,
        "spikes_compared": report.spikes_compared,
        "spikes_flipped": report.spikes_flipped,
        "bytes": artifact.manifest.files["model.onnx"].bytes,
        "nodes": artifact.manifest.target_info["nodes"],
    }


def _classify(module: Any, digits: Any, artifacts: list[Artifact]) -> dict[str, Any]:
    """Accuracy on every held-out digit, with PyTorch and with each lowered form, and how many answers differ."""
    from neurokit.data.digits import as_sequence
    from neurokit.models.spiking_cnn.train import accuracy

    labels = digits.test_labels.numpy()
    result: dict[str, Any] = {"torch": accuracy(module, digits.test_images, digits.test_labels)}
    for artifact in artifacts:
        steps = int(artifact.manifest.time_steps) if isinstance(artifact.manifest.time_steps, int) else 4
        with pipeline.open(artifact) as runner:
            y = runner(as_sequence(digits.test_images, steps).numpy())
        result[artifact.manifest.target] = float((best_class(y) == labels).mean())
    return result


def _stream(artifact: Artifact, digits: Any) -> dict[str, Any]:
    """Feeds one digit step after step; the answer so far is the mean of the outputs so far."""
    image = digits.test_images[:1].numpy()
    total = np.zeros(10, dtype=np.float32)
    answers, step_s = [], []
    with pipeline.open(artifact, threads=1) as runner:
        runner.reset(batch=1)
        for _ in range(4):
            start = time.perf_counter()
            total += runner.step(image)[0]
            step_s.append(time.perf_counter() - start)
            answers.append(int(best_class(total)))
    return {"label": int(digits.test_labels[0]), "answer_after_each_step": answers, "step_s": step_s}

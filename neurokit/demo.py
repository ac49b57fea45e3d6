"""The whole pipeline on real input: train, capture, lower, verify, classify, stream; what `neurokit demo` runs."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import pipeline
from neurokit.artifact import Artifact
from neurokit.errors import MissingRuntimeError
from neurokit.tasks.choice import best_class

FORMS = ("onnx", "onnx-scan", "onnx-step")
PHOTOGRAPHS = ("astronaut", "chelsea", "coffee", "rocket")
_MEAN = np.array([0.485, 0.456, 0.406], dtype=np.float32)  # ImageNet's, as torchvision's models expect
_STD = np.array([0.229, 0.224, 0.225], dtype=np.float32)

Step = Callable[[str], Any]


def run(out: str | Path = "build/demo", seed: int = 0, progress: Step | None = None) -> dict[str, Any]:
    """Runs the demo.

    Args:
        out: Folder for the artifacts; those of an earlier demo are replaced.
        seed: Seed of the training.
        progress: Called with what is being done; returns a context manager around the doing.

    Returns:
        A JSON object: "training", "forms", "agreement", "accuracy", "stream", "photographs" and "seconds".

    Raises:
        MissingRuntimeError: If scikit-learn, scikit-image or ONNX Runtime is missing.
    """
    from contextlib import nullcontext

    doing = progress or (lambda text: nullcontext())
    start = time.perf_counter()
    folder = Path(out)
    _clear(folder)
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
    with doing("mobilenet_v2 on photographs"):
        photographs = _photographs(folder / "mobilenet_v2")
    return {
        "training": training,
        "forms": forms,
        "agreement": agreement,
        "accuracy": accuracy,
        "stream": stream,
        "photographs": photographs,
        "folder": str(folder),
        "seconds": time.perf_counter() - start,
    }


def _clear(folder: Path) -> None:
    """Removes the artifacts of an earlier demo, and nothing that is not one."""
    for name in (*FORMS, "mobilenet_v2"):
        old = folder / name
        if (old / "manifest.json").is_file():
            shutil.rmtree(old)


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


def _photographs(folder: Path) -> list[dict[str, Any]]:
    """Runs mobilenet_v2 (untrained here: weights are not shipped) on photographs with PyTorch and ONNX Runtime."""
    import torch

    from neurokit.loading import load

    spec = load("mobilenet_v2")
    captured = pipeline.capture(spec)
    artifact = pipeline.lower(captured, "onnx", folder)
    batch = np.stack([_photograph(name) for name in PHOTOGRAPHS])
    with pipeline.open(artifact) as runner:
        lowered = runner(batch)
    with torch.no_grad():
        reference = captured.program.module()(torch.from_numpy(batch))[0].numpy()
    return [
        {
            "photograph": name,
            "class": spec.classes[int(best_class(y))],
            "same_class_as_torch": bool(best_class(y) == best_class(r)),
            "relative_error": float(np.linalg.norm(y - r) / np.linalg.norm(r)),
        }
        for name, y, r in zip(PHOTOGRAPHS, lowered, reference, strict=True)
    ]


def _photograph(name: str) -> np.ndarray:
    """Returns one of scikit-image's sample photographs as mobilenet_v2 takes it: `[3, 224, 224]`."""
    try:
        from skimage import data, transform
    except ImportError as error:
        raise MissingRuntimeError(
            "the photographs come with scikit-image, which is not installed", fix='pip install "neurokit-edge[demo]"'
        ) from error
    image = transform.resize(getattr(data, name)(), (224, 224), anti_aliasing=True).astype(np.float32)
    return ((image - _MEAN) / _STD).transpose(2, 0, 1).astype(np.float32)

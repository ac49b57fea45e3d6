"""From synthetic silhouettes to an int8 file: `python benchmarks/puppets.py [MODEL] [--out FILE.json]`.

Trains a puppet network on 15 x 200 drawn silhouettes, exports it to ONNX and to int8, and asks both files, run by
ONNX Runtime, about 15 x 50 silhouettes of other seeds and poses, and about as many of the second renderer, whose
strokes were never learned from. Beside it stands what a linear model of the pixels gets. Everything is synthetic; the
figures say nothing of photographs. `--weights FILE` leaves the training out.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

TRAIN, TEST = 200, 50  # images a class
CALIBRATED_ON = 1000  # images; with 256 int8 loses 0.7 points in the mean of nine measurements, with 1,000 0.3
SETTINGS = {  # of the recipe "scratch"; a large network on a GPU takes larger steps of fewer epochs
    "puppets_mobilenet_v2_035": {},
    "puppets_mobilenet_v2": {"batch": 128, "lr": 2e-3, "epochs": 30},
    "puppets_resnet34": {"batch": 128, "lr": 1e-3, "epochs": 24},
}


def linear_probe(train: Any, test: Any) -> float:
    """Returns the accuracy of logistic regression on thresholded pixels."""
    from sklearn.linear_model import LogisticRegression

    def pixels(part: Any) -> np.ndarray:
        side = part.images.shape[-1] // 64
        small = part.images.float().unfold(2, side, side).unfold(3, side, side).mean((4, 5))
        return (small > 90).flatten(1).numpy().astype(np.float32)

    fitted = LogisticRegression(C=0.01, max_iter=60).fit(pixels(train), train.labels.numpy())
    return float(fitted.score(pixels(test), test.labels.numpy()))


def accuracy(runner: Any, part: Any) -> float:
    """Returns the share of right answers of an open artifact."""
    chosen = [runner(images.numpy()).argmax(1) for images in part.images.split(50)]
    return float((np.concatenate(chosen) == part.labels.numpy()).mean())


def measure(model: str, weights: Path | None, seed: int, folder: Path) -> dict[str, Any]:
    """Runs the whole way for one model and returns its record."""
    import torch

    import neurokit as nk
    from neurokit.data.puppets import PuppetShapes
    from neurokit.loading import load

    size = load(model).inputs[0].numbers[-1]
    train, test = (PuppetShapes(split, count, size, seed) for split, count in (("train", TRAIN), ("test", TEST)))
    transfer = PuppetShapes("test", TEST, size, seed, "cutouts")
    record: dict[str, Any] = {"model": model, "synthetic": True, "train": train.name, "test": test.name, "seed": seed}
    if weights is None:
        cpu, wall = time.process_time(), time.perf_counter()
        report = nk.train(model, (train, test), folder / "train", recipe="scratch", seed=seed, **SETTINGS[model])
        weights = folder / "train" / report.weights
        record |= {"cpu_s": time.process_time() - cpu, "wall_s": time.perf_counter() - wall, "devices": report.devices}
        record |= {"recipe": report.recipe, "metrics": {name: value.value for name, value in report.metrics.items()}}
        record["most_confused"] = report.most_confused
    captured = nk.capture(load(model, weights=weights))
    chosen = torch.randperm(len(train), generator=torch.Generator().manual_seed(seed))[:CALIBRATED_ON]
    for target, options in (("onnx", {}), ("onnx-int8", {"calibration": train.images[chosen]})):
        artifact = nk.lower(captured, target, folder / target, verified=False, **options)
        verdict = nk.verify(artifact).verdict
        with nk.open(artifact) as runner:
            found = {"top_1": accuracy(runner, test), "top_1_transfer": accuracy(runner, transfer)}
        record[target] = {**found, "bytes": artifact.file("model.onnx").stat().st_size, "verdict": verdict}
    record["int8_loss_points"] = 100 * (record["onnx"]["top_1"] - record["onnx-int8"]["top_1"])
    record["linear_probe"] = linear_probe(train, test)
    record["machine"] = platform.machine()
    return record


def main() -> None:
    """Reads the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("models", nargs="*", default=["puppets_mobilenet_v2_035"], metavar="MODEL")
    parser.add_argument("--weights", type=Path, help="weights of the one model, instead of training")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for weights and artifacts")
    parser.add_argument("--out", type=Path, help="JSON file to write")
    given = parser.parse_args()
    records = []
    for model in given.models:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (given.keep or Path(scratch)) / model
            records.append(measure(model, given.weights, given.seed, folder))
        print(json.dumps(records[-1], indent=1), flush=True)
    if given.out:
        given.out.write_text(json.dumps(records, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""What the puppets' spiking networks are worth: accuracy against T, joules on chips, and where int8 is overtaken.

    python benchmarks/puppets_spiking.py --weights DIR --out benchmarks/results/puppets_spiking.md

DIR is what `puppets_training.py` wrote. Accuracies are of 15 x 50 test pictures (synthetic, poses that training has not
seen), of the trained networks through their exact artifact and ONNX Runtime. Joules are simulated on chips, by counts
of events on the same pictures; a microcontroller's are its measured joules a multiply-accumulate times those of the
int8 network. The page's plot is written beside the record.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from puppets_training import DIRECT, FLOAT, accuracy, data
from spikingjelly.activation_based import functional

import neurokit as nk
from neurokit.data.labelled import Labelled
from neurokit.data.puppets import render
from neurokit.errors import UnsupportedError
from neurokit.loading import load
from neurokit.pipeline import compare
from neurokit.spec import ModelSpec
from neurokit.transforms import transform

STEPS = (1, 2, 4, 8, 16, 32)
TRAINED = (1, 2, 4, 8)
CHIPS = ("loihi2", "spinnaker2", "darwin3")
MICROCONTROLLER = "stm32u575"
FORMS = ("onnx", "onnx-scan", "onnx-step")
CALIBRATED_ON, FEW = 64, 150


def main() -> None:
    """Measures everything that has weights and writes the record, the JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/puppets_spiking.md"))
    parser.add_argument("--svg", type=Path, default=Path("docs/puppets-spiking.svg"))
    parser.add_argument("--only", nargs="*", help="parts: float trained direct forms untrained")
    parser.add_argument("--steps", nargs="*", type=int, help="other T for the parts trained and untrained")
    given = parser.parse_args()
    torch.set_num_threads(1)
    kept = given.out.with_suffix(".json")
    found: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() else {}
    parts: dict[str, Any] = {
        "float": plain,
        "trained": trained,
        "direct": direct,
        "forms": forms,
        "untrained": untrained,
    }
    for name, measure in parts.items():
        if given.only is None or name in given.only:
            more = {} if name not in ("trained", "untrained") or not given.steps else {"at": tuple(given.steps)}
            found.setdefault(name, {}).update(measure(given.weights, **more))
            kept.write_text(json.dumps(found, indent=1) + "\n")
            print(name, json.dumps(found[name]), flush=True)
    import puppets_report

    given.out.write_text(puppets_report.page(found, given.weights))
    puppets_report.plot(found, given.svg)


def source(weights: Path) -> ModelSpec:
    """Returns the trained float network."""
    return load(FLOAT, weights=weights / f"{FLOAT}.safetensors")


def labelled(strokes: str = "hands") -> Labelled:
    """Returns the test pictures, by the renderer that training used or by the second one."""
    x, y = render("test", 50, 64, strokes=strokes)
    return Labelled(x[:, None], y, f"synthetic puppets ({strokes}, test)")


def calibration(steps: int | None = None) -> torch.Tensor:
    """Returns training pictures to calibrate on, with T in front where asked."""
    x, _ = data("train")
    x = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(1))[:CALIBRATED_ON]]
    return x if steps is None else x.unsqueeze(0).repeat(steps, 1, 1, 1, 1)


def plain(weights: Path) -> dict[str, Any]:
    """Returns the float and the int8 network, by artifact and ONNX Runtime."""
    captured = nk.capture(source(weights))
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, target, options in (("float", "onnx", {}), ("int8", "onnx-int8", {"calibration": calibration()})):
            artifact = nk.lower(captured, target, Path(folder) / name, data=labelled(), **options)
            said = artifact.manifest.target_info["accuracy"]
            found[name] = {"accuracy": said["after"], "verdict": artifact.manifest.parity["verdict"]}
            found[name]["transfer"] = _of_artifact(artifact, labelled("cutouts"), None)
    return found


def _of_artifact(artifact: Any, test: Labelled, steps: int | None) -> float:
    x, right = np.asarray(test.x), 0
    with nk.open(artifact) as runner:
        for start in range(0, len(x), 50):
            part = x[start : start + 50]
            answers = runner(part if steps is None else np.repeat(part[None], steps, 0))
            right += int((np.asarray(answers).argmax(-1) == test.y[start : start + 50]).sum())
    return right / len(x)


def converted(weights: Path, steps: int) -> ModelSpec:
    """Returns the network that was trained for T steps, or where there are no weights of it the calibrated one."""
    if not (weights / f"qcfs-{steps}.safetensors").exists():
        with tempfile.TemporaryDirectory() as folder:
            np.save(Path(folder) / "x.npy", calibration().numpy())
            return transform(source(weights), [f"qcfs:time_steps={steps},calibration={folder}/x.npy"])
    return transform(source(weights), [f"qcfs:time_steps={steps},keep={weights / f'qcfs-{steps}.safetensors'}"])


def trained(weights: Path, at: tuple[int, ...] = TRAINED) -> dict[str, Any]:
    """Returns, for each T with weights, the exact form's accuracy through its artifact, and its joules."""
    found: dict[str, Any] = {}
    for steps in at:
        captured = nk.capture(converted(weights, steps))
        made = nk.exact(captured, calibration(steps))
        with tempfile.TemporaryDirectory() as folder:
            artifact = nk.lower(made, "onnx", Path(folder) / "a", data=labelled())
            said = artifact.manifest.target_info["accuracy"]
            entry = {
                "accuracy": said["after"],
                "trained": (weights / f"qcfs-{steps}.safetensors").exists(),
                "float_spiking": said["before"],
                "verdict": artifact.manifest.parity["verdict"],
                "spikes_compared": artifact.manifest.parity["spikes_compared"],
                "transfer": _of_artifact(artifact, labelled("cutouts"), steps),
            }
        x, _ = data("test")
        picked = x[torch.arange(25, len(x), 50)]  # one picture a class
        samples = [image.expand(steps, 1, *image.shape).contiguous() for image in picked]
        found[str(steps)] = entry | energy(made, samples)
    return found


def direct(weights: Path) -> dict[str, Any]:
    """Returns, for each network that was trained to spike from the start, its exact form's accuracy and joules."""
    found: dict[str, Any] = {}
    for name in DIRECT:
        if not (weights / f"{name}.safetensors").exists():
            continue
        spec = load(name, weights=weights / f"{name}.safetensors")
        steps = int(spec.time_steps or 1)
        made = nk.exact(nk.capture(spec), calibration(steps))
        with tempfile.TemporaryDirectory() as folder:
            artifact = nk.lower(made, "onnx", Path(folder) / "a", data=labelled())
            said = artifact.manifest.target_info["accuracy"]
            found[name] = {
                "time_steps": steps,
                "accuracy": said["after"],
                "float_spiking": said["before"],
                "verdict": artifact.manifest.parity["verdict"],
                "spikes_compared": artifact.manifest.parity["spikes_compared"],
                "transfer": _of_artifact(artifact, labelled("cutouts"), steps),
            }
        x, _ = data("test")
        samples = [image.expand(steps, 1, *image.shape).contiguous() for image in x[torch.arange(25, len(x), 50)]]
        found[name] |= energy(made, samples)
    return found


def energy(made: Any, samples: list[torch.Tensor]) -> dict[str, Any]:
    """Returns joules of a picture on each chip and of the dense pass on the microcontroller, and counts."""
    report = nk.simulate(made.captured, samples, list(CHIPS), devices=[MICROCONTROLLER])
    chips = {}
    for chip in report.chips:
        total = report.total_of(chip)
        chips[chip.chip] = {
            "joules": None if total is None else [total.value, total.low, total.high],
            "status": chip.status,
            "fits": chip.fits,
            "unpriced": list(chip.unpriced),
        }
    device = report.comparators[0]
    return {
        "chips": chips,
        "device": {"name": device.name, "joules": [device.total.value, device.total.low, device.total.high]},
        "totals": dict(report.totals),
        "rates": float(np.mean(made.rates)),
        "uncounted": [str(entry) for entry in report.uncounted],
    }


def forms(weights: Path) -> dict[str, Any]:
    """Returns how many spikes differ in exact form at T=4: every ONNX form, with each other, and events alone."""
    captured = nk.capture(converted(weights, 4))
    made = nk.exact(captured, calibration(4))
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        artifacts = []
        for form in FORMS:
            artifact = nk.lower(made, form, Path(folder) / form)
            said = artifact.manifest.parity
            found[form] = {name: said[name] for name in ("verdict", "spikes_compared", "spikes_flipped")}
            artifacts.append(artifact)
        found["between"] = compare(artifacts)
        try:
            nk.lower(made, "nir", Path(folder) / "nir")
            found["nir"] = "written"
        except UnsupportedError as error:
            found["nir"] = sorted({reason.why for reason in error.reasons})
    x, _ = data("test")
    samples = [image.expand(4, 1, *image.shape).contiguous() for image in x[torch.arange(25, len(x), 150)]]
    check = nk.simulate(made.captured, samples, [], check_events=True).event_check
    assert check is not None
    found["events"] = {"decisions": check.decisions, "differing": check.differing}
    return found


def untrained(weights: Path, at: tuple[int, ...] = STEPS) -> dict[str, Any]:
    """Returns accuracies of conversions without training, in float PyTorch, on every 5th test picture or fewer."""
    x, y = data("test")
    picked = torch.arange(len(x))[:: max(1, len(x) // FEW)]
    found: dict[str, Any] = {"pictures": len(picked)}
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "x.npy", calibration().numpy())
        ways = {
            "ann2snn": "ann2snn:mode=99.9%",
            "ann2snn channels": "ann2snn:mode=99.9%,channels=true",
            "qcfs": "qcfs:levels=0",
        }
        for name, step in ways.items():
            for steps in at:
                spec = transform(source(weights), [f"{step},time_steps={steps},calibration={folder}/x.npy"])
                net = spec.build()
                functional.reset_net(net)
                shown = lambda part, steps=steps: part.unsqueeze(0).expand(steps, *part.shape)  # noqa: E731
                found.setdefault(name, {})[str(steps)] = accuracy(net, x[picked], y[picked], shown)
                print(name, steps, found[name][str(steps)], flush=True)
    return found


if __name__ == "__main__":
    main()

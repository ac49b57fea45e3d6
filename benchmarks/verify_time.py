"""How long verifying takes beside the verifier of another commit: both in one run, alternating, CPU and wall seconds.

    git worktree add --detach ../before 05c94df
    python benchmarks/verify_time.py ../before

Each network is captured, lowered and verified by either tree in a process of its own; the first verification, which
loads libraries, is left out. Prints the rows of docs/verification.md; with --write they and what they were measured on
go to benchmarks/results/verify_time.json.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

FORMS = ("onnx", "onnx-step")
HERE = Path(__file__).resolve()
RECORD = HERE.parent / "results" / "verify_time.json"


def networks() -> dict:
    """Returns networks by name: how to build each, the shape of a sample, and T."""
    import torch
    from spikingjelly.activation_based import functional, layer, neuron
    from torch import nn

    def made(*parts: nn.Module) -> nn.Module:
        net = nn.Sequential(*parts)
        functional.set_step_mode(net, "m")
        with torch.no_grad():
            for part in net.modules():
                if isinstance(part, nn.Linear | nn.Conv2d):
                    part.weight.mul_(3.0)
        return net.eval()

    def perceptron() -> nn.Module:
        torch.manual_seed(0)
        hidden = [p for _ in range(2) for p in (layer.Linear(256, 256), neuron.LIFNode())]
        return made(layer.Linear(64, 256), neuron.LIFNode(), *hidden, layer.Linear(256, 10))

    def convolutions() -> nn.Module:
        torch.manual_seed(0)
        first = layer.Conv2d(2, 16, 3, padding=1), layer.BatchNorm2d(16), neuron.LIFNode(), layer.AvgPool2d(2)
        second = layer.Conv2d(16, 32, 3, padding=1), layer.BatchNorm2d(32), neuron.LIFNode(), layer.AvgPool2d(2)
        return made(*first, *second, layer.Flatten(), layer.Linear(32 * 64, 10))

    def deep() -> nn.Module:
        torch.manual_seed(0)
        more = [p for _ in range(6) for p in (layer.Conv2d(32, 32, 3, padding=1), neuron.IFNode())]
        return made(layer.Conv2d(3, 32, 3, padding=1), neuron.IFNode(), *more, layer.Flatten(), layer.Linear(8192, 10))

    def residual() -> nn.Module:
        torch.manual_seed(0)

        class Block(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.first = nn.Sequential(layer.Conv2d(16, 16, 3, padding=1), layer.BatchNorm2d(16), neuron.LIFNode())
                self.second = nn.Sequential(layer.Conv2d(16, 16, 3, padding=1), layer.BatchNorm2d(16), neuron.IFNode())

            def forward(self, x: torch.Tensor) -> torch.Tensor:
                return x + self.second(self.first(x))

        stem = layer.Conv2d(3, 16, 3, padding=1), layer.BatchNorm2d(16), neuron.LIFNode()
        end = layer.AdaptiveAvgPool2d(1), layer.Flatten(), layer.Linear(16, 10)
        return made(*stem, Block(), Block(), Block(), *end)

    def plain() -> nn.Module:
        torch.manual_seed(0)
        first = nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2)
        second = nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2)
        return nn.Sequential(*first, *second, nn.Flatten(), nn.Linear(32 * 64, 10)).eval()

    return {
        "perceptron, 3 layers of 256, T = 8": (perceptron, (64,), 8),
        "2 convolutions of 16 and 32 channels, 32 x 32, T = 4": (convolutions, (2, 32, 32), 4),
        "7 convolutions of 32 channels, 16 x 16, T = 4": (deep, (3, 16, 16), 4),
        "3 residual blocks of 16 channels, 16 x 16, T = 4": (residual, (3, 16, 16), 4),
        "2 convolutions without neurons, 32 x 32": (plain, (3, 32, 32), None),
    }


def worker(repeats: int) -> None:
    """Prints the CPU and wall seconds of every verification as JSON: by network and form."""
    import neurokit as nk
    from neurokit.spec import ModelSpec, TensorSpec

    found: dict[str, list[tuple[float, float]]] = {}
    for name, (build, shape, steps) in networks().items():
        captured = nk.capture(ModelSpec("net", build, (TensorSpec("x", shape),), time_steps=steps))
        for form in FORMS if steps else FORMS[:1]:
            with tempfile.TemporaryDirectory() as folder:
                artifact = nk.lower(captured, form, Path(folder) / "a")  # verifies once
                for _ in range(repeats):
                    begun, wall = time.process_time(), time.perf_counter()
                    report = nk.verify(artifact, record=False)
                    took = time.process_time() - begun, time.perf_counter() - wall
                    found.setdefault(f"{name} | {form}", []).append(took)
                    assert report.passed
    print(json.dumps(found))


def main() -> None:
    """Runs both trees in turns and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, nargs="?", help="a work tree of the commit to compare with")
    parser.add_argument("--rounds", type=int, default=3, help="turns of both trees")
    parser.add_argument("--repeats", type=int, default=5, help="verifications of each artifact in a turn")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/verify_time.json")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given.repeats)
        return
    trees = {"before": given.before.resolve(), "now": HERE.parents[1]}
    times: dict[str, dict[str, list[list[float]]]] = {name: {} for name in trees}
    command = [sys.executable, "-W", "ignore", str(HERE), "--worker", "--repeats", str(given.repeats)]
    for _ in range(given.rounds):
        for name, tree in trees.items():
            env = {**os.environ, "PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
            done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
            for key, values in json.loads(done.stdout.splitlines()[-1]).items():
                times[name].setdefault(key, []).extend(values)
    print("| network | form | before, CPU s | now | ratio | before, wall s | now | ratio |\n|---|---|" + "---|" * 6)
    rows: dict[str, dict[str, list[float]]] = {}
    for key in times["now"]:
        rows[key] = {
            tree: [statistics.median(each[at] for each in found[key]) for at in (0, 1)] for tree, found in times.items()
        }
        (old, old_wall), (new, new_wall) = rows[key]["before"], rows[key]["now"]
        cells = f"{old:.3f} | {new:.3f} | {new / old:.2f} | {old_wall:.3f} | {new_wall:.3f} | {new_wall / old_wall:.2f}"
        print(f"| {key} | {cells} |", flush=True)
    if given.write:
        from neurokit.provenance import collect

        kept = {"rounds": given.rounds, "repeats": given.repeats, "medians": rows, "provenance": collect()}
        RECORD.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

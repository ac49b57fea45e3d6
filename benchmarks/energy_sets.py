"""Energy of a test set before and after, in one run: `python benchmarks/energy_sets.py --before PATH --out FILE.md`.

PATH is another checkout of the project, such as a git worktree of an earlier commit. Each code runs in a process of its
own; capture is not counted, mapping is, and so is every sample. Seconds are those of all cores together (CPU time),
which other work on the machine does not stretch as it does seconds on the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

CASES = {"spiking_cnn": 1000, "sew_resnet18": 24, "eeg": 200}
CHIP, STEPS = "loihi1", 4


def eeg() -> object:
    """Returns EEGNet's shape with spikes: 22 electrodes x 256 samples, a filter in time, one over electrodes."""
    from spikingjelly.activation_based import functional, layer, neuron
    from torch import nn

    import neurokit as nk

    def build() -> nn.Module:
        parts = (
            layer.Conv2d(1, 8, (1, 32), padding=(0, 16), bias=False),
            neuron.LIFNode(v_threshold=0.2),
            layer.Conv2d(8, 16, (22, 1), groups=8, bias=False),
            neuron.LIFNode(v_threshold=0.2),
            layer.AvgPool2d((1, 4)),
            layer.Conv2d(16, 16, (1, 16), padding=(0, 8), bias=False),
            neuron.LIFNode(v_threshold=0.2),
            layer.AvgPool2d((1, 8)),
            layer.Flatten(),
            layer.Linear(16 * 8, 4),
        )
        net = nn.Sequential(*parts)
        functional.set_step_mode(net, "m")
        return net.eval()

    return nk.ModelSpec("eeg", build, (nk.TensorSpec("x", (1, 22, 256)),), time_steps=STEPS)


def measure(name: str, count: int) -> dict[str, float]:
    """Prices samples of one model in this process; returns seconds of CPU and of the wall."""
    import torch

    import neurokit as nk
    from neurokit.loading import load

    torch.manual_seed(0)
    spec = eeg() if name == "eeg" else load(name)
    captured = nk.capture(spec, time_steps=STEPS)
    generator = torch.Generator().manual_seed(0)
    shape = (STEPS, 1, *spec.inputs[0].shape)
    samples = [torch.rand(shape, generator=generator) for _ in range(count)]
    module = captured.program.module()
    with torch.no_grad():
        module(samples[0], *captured.initial_states(1))
        start = time.process_time()
        for x in samples:
            module(x, *captured.initial_states(1))
        forward = time.process_time() - start
    few = max(2, count // 4)
    nk.simulate(captured, samples[:2], [CHIP])  # what is done once a process is in neither figure
    start = time.process_time()
    nk.simulate(captured, samples[:few], [CHIP])
    part = time.process_time() - start
    start, wall = time.process_time(), time.perf_counter()
    report = nk.simulate(captured, samples, [CHIP])
    spent = time.process_time() - start
    return {
        "forward": forward,
        "part": part,
        "few": few,
        "cpu": spent,
        "wall": time.perf_counter() - wall,
        "joules": report.spread[CHIP].mean,
    }


def asked(tree: Path, name: str, count: int) -> dict[str, float]:
    """Runs `measure` with the code of a checkout."""
    environment = os.environ | {"PYTHONPATH": str(tree), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", __file__, "--worker", name, str(count)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tree)
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--before", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--samples", type=int, help="at most so many of each model")
    parser.add_argument("--worker", nargs=2)
    options = parser.parse_args()
    if options.worker:
        print(json.dumps(measure(options.worker[0], int(options.worker[1]))))
        return
    here = Path(__file__).resolve().parents[1]
    lines = [
        f"Samples of T = {STEPS} on {CHIP}; seconds of one core, one thread, capture left out, mapping in.",
        "",
        "| model | samples | code | plain forward passes | a quarter of them | all | one more over a forward pass |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, most in CASES.items():
        count = min(most, options.samples or most)
        for label, tree in (("before", options.before), ("after", here)):
            if tree is None:
                continue
            found = asked(tree.resolve(), name, count)
            each = (found["cpu"] - found["part"]) / max(1, count - found["few"])
            more = max(0.0, each) / (found["forward"] / count)
            lines.append(
                f"| {name} | {count} | {label} | {found['forward']:.2f} s | {found['part']:.2f} s "
                f"| {found['cpu']:.2f} s | {more:.2f} |"
            )
            print(lines[-1], flush=True)
    if options.out:
        options.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()

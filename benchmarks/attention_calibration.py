"""Calibrated decoders on a CPU, one thread: prompt and step against the same artifact without a transform.

    python benchmarks/attention_calibration.py [--out benchmarks/results/attention_calibration.json] [--layers 2]

Shapes: tiny_vlm's decoder, and Qwen3 0.6B's layers, `--layers` of them with a small vocabulary and drawn weights (a
whole one has 28 and a head of 151,936 rows, in whose time a calibration weighs less). Runs of all artifacts take
turns; a ratio is the median of the turns' ratios, and is held against its bar.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurokit import pipeline, provenance
from neurokit.models.decoder import QWEN3_0_6B, TINY_LM, decoder_spec
from neurokit.models.decoder.config import DecoderConfig
from neurokit.spec import ModelSpec

STEPS_A_TURN = 8
STEPS = {
    "plain": [],
    "zerotuning": ["zerotuning:gamma=4,layers=1,heads=0,3"],
    "zerotuning, all": ["zerotuning:gamma=4"],
    "act": ["act:layers=1,threshold=0.05"],
    "var": ["var:dims=3,5,tau=2,image=3-19,summ=0.05,layers=1"],
    "gift": ["gift:saliency=0,image=3-19,layers=1"],
}
BARS = {"zerotuning": (1.02, 1.02), "zerotuning, all": (1.02, 1.02), "act": (1.25, 1.1)}


def spec_of(name: str, config: DecoderConfig) -> ModelSpec:
    """Returns a decoder with drawn weights."""

    def build(config: DecoderConfig) -> torch.nn.Module:
        from neurokit.models.decoder.drawn import fill
        from neurokit.models.decoder.net import blank

        return fill(blank(config))

    return decoder_spec(name, config, build)


def measure(runners: dict[str, Any], prompt: int, seconds: float) -> dict[str, dict[str, float]]:
    """Returns, by artifact, milliseconds of a prompt and of a step behind it, and their ratios to the plain artifact.

    A turn runs every artifact once, each time in another order; a ratio is the median of the turns' ratios, by CPU
    seconds of the process, so that neither work beside nor a clock that drifts is in it.
    """
    ids, draw = np.random.default_rng(0).integers(3, 200, (1, prompt)), random.Random(0)
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runners}
    order, end = list(runners), time.monotonic() + seconds
    while len(times["plain"]) < 12 or time.monotonic() < end:
        draw.shuffle(order)
        for name in order:
            runner = runners[name]
            runner.reset(1)
            start = time.process_time()
            runner.step({"ids": ids})
            middle = time.process_time()
            for _ in range(STEPS_A_TURN):
                runner.step({"ids": ids[:, :1]})
            times[name].append((middle - start, (time.process_time() - middle) / STEPS_A_TURN))
    found = {}
    for name, turns in times.items():
        pairs = list(zip(turns[2:], times["plain"][2:], strict=True))  # the first ones allocate
        found[name] = {"turns": len(pairs)}
        for at, what in enumerate(("prompt", "step")):
            found[name][f"{what}_ms"] = 1e3 * statistics.median(own[at] for own, _ in pairs)
            ratios = sorted(own[at] / plain[at] for own, plain in pairs)
            found[name][f"{what}_ratio"] = statistics.median(ratios)
            found[name][f"{what}_ratio_quartiles"] = [ratios[len(ratios) // 4], ratios[3 * len(ratios) // 4]]
    return found


def main() -> None:
    """Measures, prints, and writes the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--form", default="standard")
    parser.add_argument("--only", nargs="*", default=["tiny_vlm's decoder", "0.6 B's layers"], help="shapes")
    parser.add_argument("--seconds", type=float, default=60.0, help="turns of a shape")
    given = parser.parse_args()
    wide = replace(QWEN3_0_6B, layers=given.layers, vocabulary=256, longest=1024, stop=())
    record: dict[str, Any] = {"form": given.form, "layers": given.layers, "provenance": provenance.collect()}
    with tempfile.TemporaryDirectory() as folder:
        shapes = {"tiny_vlm's decoder": (TINY_LM, 128), "0.6 B's layers": (wide, 256)}
        for label in given.only:
            config, prompt = shapes[label]
            runners = {}
            for name, steps in STEPS.items():
                captured = pipeline.capture(spec_of("lm", config), transforms=steps)
                out = Path(folder) / f"{label[:4]}-{name}"
                made = pipeline.lower(captured, "onnx-step", out, attention=given.form, verified=False)
                runners[name] = pipeline.open(made, threads=1)
            found = measure(runners, prompt, given.seconds)
            record[label] = {"prompt": prompt, "times": found}
            plain = found["plain"]
            print(f"{label}, prompt of {prompt}: {plain['prompt_ms']:.2f} ms, step {plain['step_ms']:.3f} ms")
            for name in STEPS:
                if name != "plain":
                    bars, own = BARS.get(name, (1.25, 1.1)), found[name]
                    said = [
                        f"{w} {own[f'{w}_ratio']:.3f} (bar {b})" for w, b in zip(("prompt", "step"), bars, strict=True)
                    ]
                    print(f"  {name}: {', '.join(said)}; {own['turns']} turns", flush=True)
            if given.out is not None:
                given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

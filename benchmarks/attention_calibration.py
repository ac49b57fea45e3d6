"""Calibrated decoders on a CPU, one thread: prompt and step against the same artifact without a transform.

    python benchmarks/attention_calibration.py [--out benchmarks/results/attention_calibration.json] [--layers 2]

Shapes: tiny_vlm's decoder, and Qwen3 0.6B's layers, `--layers` of them with a small vocabulary and drawn weights (a
whole one has 28 and a head of 151,936 rows, in whose time a calibration weighs less). Runs of all artifacts take
turns; times are medians, and ratios are held against the bars.
"""

from __future__ import annotations

import argparse
import json
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

RUNS = 15
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


def measure(runners: dict[str, Any], prompt: int) -> dict[str, dict[str, float]]:
    """Returns milliseconds of a prompt and of a step behind it, by artifact."""
    ids = np.random.default_rng(0).integers(3, 200, (1, prompt))
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in runners}
    for run in range(RUNS + 2):
        for name, runner in runners.items():
            runner.reset(1)
            start = time.perf_counter()
            runner.step({"ids": ids})
            middle = time.perf_counter()
            for _ in range(8):
                runner.step({"ids": ids[:, :1]})
            if run >= 2:
                times[name][0].append(middle - start)
                times[name][1].append((time.perf_counter() - middle) / 8)
    return {
        name: {"prompt_ms": 1e3 * statistics.median(one), "step_ms": 1e3 * statistics.median(many)}
        for name, (one, many) in times.items()
    }


def main() -> None:
    """Measures, prints, and writes the record."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--out", type=Path)
    parser.add_argument("--layers", type=int, default=2)
    parser.add_argument("--form", default="standard")
    given = parser.parse_args()
    wide = replace(QWEN3_0_6B, layers=given.layers, vocabulary=256, longest=1024, stop=())
    record: dict[str, Any] = {"form": given.form, "layers": given.layers, "provenance": provenance.collect()}
    with tempfile.TemporaryDirectory() as folder:
        for label, config, prompt in (("tiny_vlm's decoder", TINY_LM, 128), ("0.6 B's layers", wide, 256)):
            runners = {}
            for name, steps in STEPS.items():
                captured = pipeline.capture(spec_of("lm", config), transforms=steps)
                out = Path(folder) / f"{label[:4]}-{name}"
                made = pipeline.lower(captured, "onnx-step", out, attention=given.form, verified=False)
                runners[name] = pipeline.open(made, threads=1)
            found = measure(runners, prompt)
            record[label] = {"prompt": prompt, "times": found}
            plain = found["plain"]
            print(f"{label}, prompt of {prompt}: {plain['prompt_ms']:.2f} ms, step {plain['step_ms']:.3f} ms")
            for name in STEPS:
                if name != "plain":
                    bars = BARS.get(name, (1.25, 1.1))
                    ratios = [found[name][key] / plain[key] for key in ("prompt_ms", "step_ms")]
                    print(f"  {name}: prompt {ratios[0]:.3f} (bar {bars[0]}), step {ratios[1]:.3f} (bar {bars[1]})")
    if given.out is not None:
        given.out.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()

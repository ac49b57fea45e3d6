"""Language models on a CPU, one thread: nodes, export against torch's stock exporter, and the forms of attention.

    python benchmarks/decoder.py [--tokens 2048] [--out benchmarks/results/decoder.json]

Parity comes first: the forms' logits must agree before any is timed. Times are the least of several runs that take
turns; every ratio is printed with the bar it is held against.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurokit import pipeline, provenance
from neurokit.attention import Call
from neurokit.attention.graph import gathered
from neurokit.loading import load
from neurokit.models.decoder import TINY_LM, decoder_spec
from neurokit.models.decoder.config import DecoderConfig
from neurokit.spec import ModelSpec, TensorSpec

RUNS, BLOCK = 5, 64
WIDE = DecoderConfig(
    vocabulary=256, width=512, inner=512, layers=2, heads=8, kv_heads=8, head_size=64, longest=8192, stop=()
)


def wide(mixer: str) -> ModelSpec:
    """Returns a decoder whose time is that of its token mixer."""

    def build(config: DecoderConfig) -> torch.nn.Module:
        from neurokit.models.decoder.drawn import fill
        from neurokit.models.decoder.net import blank

        return fill(blank(config))

    return decoder_spec(f"wide_{mixer}", replace(WIDE, mixers=(mixer,) * WIDE.layers), build)


def stock_seconds(folder: Path) -> float:
    """Returns the time of torch's own exporter for the module of tiny_lm with its caches, at opset 23."""
    from torch.export import Dim

    module = load("tiny_lm").build()
    states = [torch.zeros(2, dtype=torch.int64), *[torch.zeros(2, 2, 5, 16)] * (2 * TINY_LM.layers)]
    batch, new, past = Dim("B", max=8), Dim("S", max=512), Dim("P", max=512)
    shapes = ({0: batch, 1: new}, ({0: batch}, *[{0: batch, 2: past}] * (2 * TINY_LM.layers)))
    ids = torch.ones(2, 7, dtype=torch.int64)
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (ids, *states), dynamic_shapes=shapes, dynamo=True, opset_version=23, verbose=False
        )
        program.save(str(folder / "stock.onnx"))
    return time.perf_counter() - start


def export(folder: Path, compare: bool) -> dict[str, Any]:
    """Exports tiny_lm in every form; the time is that of capture and lowering, without verification."""
    start = time.perf_counter()
    captured = pipeline.capture(load("tiny_lm"))
    captured_in = time.perf_counter() - start
    found: dict[str, Any] = {"capture_seconds": captured_in, "forms": {}}
    for form in ("decomposed", "standard", "ort"):
        start = time.perf_counter()
        made = pipeline.lower(captured, "onnx-step", folder / form, attention=form, verified=False)
        seconds = captured_in + time.perf_counter() - start
        nodes = made.manifest.target_info["nodes_inlined"]
        found["forms"][form] = {"seconds": seconds, "nodes": nodes, "opset": made.manifest.opset}
    found["bar: nodes of standard, at most 200"] = found["forms"]["standard"]["nodes"]
    if compare:
        found["stock_seconds"] = stock_seconds(folder)
        ours = found["forms"]["standard"]["seconds"]
        found["bar: export over stock exporter, at most 0.33"] = ours / found["stock_seconds"]
    return found


def prompt_seconds(folder: Path, tokens: int) -> dict[str, Any]:
    """Times a prompt in the forms of softmax attention, and linear attention, in turns."""
    ids = np.random.default_rng(0).integers(0, WIDE.vocabulary, (1, tokens))
    made = {}
    dense = pipeline.capture(wide("dense"))
    for form in ("standard", "ort"):
        made[form] = pipeline.lower(dense, "onnx-step", folder / f"wide_{form}", attention=form, verified=False)
    linear = pipeline.capture(wide("lightning"))
    made["linear"] = pipeline.lower(linear, "onnx-step", folder / "wide_linear", attention="ort", verified=False)
    runners = {name: pipeline.open(artifact, threads=1) for name, artifact in made.items()}

    def once(runner: Any) -> np.ndarray:
        runner.reset(1)
        return np.asarray(runner.step({"ids": ids})["logits"])

    a, b = once(runners["standard"]), once(runners["ort"])
    apart = float(np.abs(a - b).max() / np.abs(a).max())
    if apart > 1e-4:
        raise SystemExit(f"the forms differ by {apart:.2g} of the largest logit: nothing was timed")
    once(runners["linear"])
    seconds = {name: float("inf") for name in runners}
    for _ in range(RUNS):
        for name, runner in runners.items():
            seconds[name] = min(seconds[name], timed(lambda runner=runner: once(runner)))
    return {
        "tokens": tokens,
        "largest difference of logits, in parts of the largest": apart,
        "seconds": seconds,
        "bar: standard over ort, at least 1.5": seconds["standard"] / seconds["ort"],
        "bar: dense (ort) over linear attention, at least 2": seconds["ort"] / seconds["linear"],
    }


class Dense(torch.nn.Module):
    """Causal softmax attention of a whole prompt."""

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor) -> torch.Tensor:
        """Returns the output `[B, H, N, D]`."""
        mask = torch.ones(q.shape[2], q.shape[2], dtype=torch.bool).tril().expand(1, 1, -1, -1)
        return torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)


class Selected(torch.nn.Module):
    """The same over the listed blocks of 64 keys of each block of 64 queries, which come as a table."""

    def __init__(self, slots: int) -> None:
        super().__init__()
        self.slots = slots

    def forward(self, q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, table: torch.Tensor) -> torch.Tensor:
        """Returns the output `[B, H, N, D]`; `table` is bool `[B, H, N / 64, N / 64]`."""
        return gathered(Call(q, k, v), table, self.slots, BLOCK, BLOCK)


def selected_seconds(folder: Path, tokens: int, share: float = 0.25) -> dict[str, Any]:
    """Times attention to a quarter of the causal blocks, gathered, beside dense attention; selecting not included."""
    count, heads, rng = tokens // BLOCK, 8, np.random.default_rng(0)
    slots = max(1, round(share * (count + 1) / 2))
    table = np.zeros((1, heads, count, count), bool)
    for head, row in np.ndindex(heads, count):
        table[0, head, row, rng.choice(row + 1, min(slots, row + 1), replace=False)] = True
        table[0, head, row, row] = True
    table &= table.cumsum(-1) <= slots
    ports = tuple(TensorSpec(name, (heads, tokens, 64), layout="HLF") for name in "qkv")
    listed = TensorSpec("table", (heads, count, count), "bool", "HLF")
    feeds = {name: rng.standard_normal((1, heads, tokens, 64)).astype(np.float32) for name in "qkv"}
    sparse = ModelSpec("gathered", lambda: Selected(slots), (*ports, listed))
    made = {
        "dense": (ModelSpec("dense", Dense, ports), "standard", feeds),
        "gathered": (sparse, "decomposed", feeds | {"table": table}),
    }
    runs = {}
    for name, (spec, form, given) in made.items():
        artifact = pipeline.lower(
            pipeline.capture(spec, batch=1), "onnx", folder / name, attention=form, verified=False
        )
        runner = pipeline.open(artifact, threads=1)
        runs[name] = lambda runner=runner, given=given: runner(given)
        runs[name]()
    seconds = {name: min(timed(run) for _ in range(RUNS)) for name, run in runs.items()}
    density = float(table.sum() / (heads * count * (count + 1) / 2))
    return {
        "tokens": tokens,
        "density of the causal blocks": density,
        "seconds": seconds,
        "bar: dense over gathered, at least 1.5": seconds["dense"] / seconds["gathered"],
    }


def timed(run: Callable[[], Any]) -> float:
    """Returns the seconds of one run."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def main() -> None:
    """Runs all parts and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--without-stock", action="store_true", help="leave torch's exporter out")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {
            "export": export(Path(folder), not arguments.without_stock),
            "prompt": prompt_seconds(Path(folder), arguments.tokens),
            "selected": selected_seconds(Path(folder), 2 * arguments.tokens),
            "provenance": provenance.collect(),
        }
    text = json.dumps(found, indent=1)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Language models on a CPU, one thread: nodes, export against torch's stock exporter, and the forms of attention.

    python benchmarks/decoder.py [--tokens 2048] [--turns 5] [--write]

Parity comes first: the forms' logits must agree before any is timed. Figures are CPU seconds of one thread, so that
work beside them counts little; what is compared takes turns, and a ratio is the median of the turns' ratios. An export
is timed in a process of its own, of a module that is built already, and once more in it, when nothing is left to be
imported; garbage that was there before is searched for before the clock starts, by both. With --write the record goes
to benchmarks/results/decoder-cpu.json and its table to docs/language-models.md; --exports and --prompts measure the
exports or the forms of attention anew and keep the rest of the record, --page makes the table of the record.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
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

ROOT = Path(__file__).resolve().parents[1]
RECORD, PAGE = ROOT / "benchmarks" / "results" / "decoder-cpu.json", ROOT / "docs" / "language-models.md"
START, END = "<!-- table: benchmarks/decoder.py -->", "<!-- end -->"
RUNS, BLOCK = 5, 64
#: Sizes of tiny_lm, whose time at 2,048 tokens is that of its attention, and a network with wide projections.
TINY = replace(TINY_LM, longest=8192)
WIDE = DecoderConfig(
    vocabulary=256, width=512, inner=512, layers=2, heads=8, kv_heads=8, head_size=64, longest=8192, stop=()
)


def sized(sizes: DecoderConfig, mixer: str) -> ModelSpec:
    """Returns a decoder of such sizes, all layers with one token mixer."""

    def build(config: DecoderConfig) -> torch.nn.Module:
        from neurokit.models.decoder.drawn import fill
        from neurokit.models.decoder.net import blank

        return fill(blank(config))

    chosen = replace(sizes, mixers=(mixer,) * sizes.layers)
    if mixer == "lightning":
        chosen = replace(chosen, kv_heads=sizes.heads)
    return decoder_spec(f"sized_{mixer}", chosen, build)


def stock_seconds(folder: Path) -> dict[str, float]:
    """Returns the time of torch's own exporter for the module of tiny_lm with its caches, at opset 23."""
    from torch.export import Dim

    module = load("tiny_lm").build()
    states = [torch.zeros(2, dtype=torch.int64), *[torch.zeros(2, 2, 5, 16)] * (2 * TINY_LM.layers)]
    batch, new, past = Dim("B", max=8), Dim("S", max=512), Dim("P", max=512)
    shapes = ({0: batch, 1: new}, ({0: batch}, *[{0: batch, 2: past}] * (2 * TINY_LM.layers)))
    ids = torch.ones(2, 7, dtype=torch.int64)
    start = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            module, (ids, *states), dynamic_shapes=shapes, dynamo=True, opset_version=23, verbose=False
        )
        program.save(str(folder / "stock.onnx"))
    return {"seconds": time.process_time() - start}


def _built() -> ModelSpec:
    """Returns tiny_lm with its module built: that is no part of an export, here or of the stock exporter."""
    spec = load("tiny_lm")
    module = spec.build()
    return replace(spec, build=lambda: module)


def our_export(folder: Path) -> dict[str, Any]:
    """Exports tiny_lm to opset 23: capture and lowering, CPU seconds, and the nodes of every form."""
    import onnxruntime  # noqa: F401 - imports of runtimes are no part of an export

    spec = _built()
    start = time.process_time()
    captured = pipeline.capture(spec)
    captured_in = time.process_time() - start
    found: dict[str, Any] = {"capture": captured_in, "nodes": {}}
    for form in ("standard", "decomposed", "ort"):
        made = pipeline.lower(captured, "onnx-step", folder / form, attention=form, verified=False)
        found.setdefault("seconds", time.process_time() - start)
        found["nodes"][form] = made.manifest.target_info["nodes_inlined"]
    return found


def graph_seconds(folder: Path) -> dict[str, float]:
    """Returns the time of what the stock exporter does, by us: tiny_lm captured and its graph written.

    An export also holds the captured program against the module, and makes test vectors in float64.
    """
    from neurokit.capture import capture
    from neurokit.target import TARGETS, LowerOptions

    spec = _built()
    start = time.process_time()
    captured = capture(spec, compare=False)
    traced = time.process_time() - start
    TARGETS.get("onnx-step").lower(captured, folder, LowerOptions(extra={"attention": "standard"}))
    return {"capture": traced, "seconds": time.process_time() - start}


PARTS: dict[str, Callable[[Path], Any]] = {"ours": our_export, "graph": graph_seconds, "stock": stock_seconds}


def first_and_again(part: str, folder: Path) -> list[Any]:
    """Times the first export of this process, which loads half of torch and of onnxscript, and one more."""
    found = []
    for turn in ("first", "again"):
        (folder / turn).mkdir()
        gc.collect()  # what imports and an earlier export left is none of this one's, of either exporter
        found.append(PARTS[part](folder / turn))
    return found


def exports(rounds: int = RUNS) -> dict[str, Any]:
    """Times both exporters in turns, each time in a process of its own: CPU seconds of its second export, and first."""
    found: dict[str, list[Any]] = {part: [] for part in PARTS}
    for _ in range(rounds):
        for part, into in found.items():
            done = subprocess.run(
                [sys.executable, __file__, "--part", part], capture_output=True, text=True, check=True
            )
            into.append(json.loads(done.stdout.splitlines()[-1]))

    def seconds(part: str, turn: int, what: str = "seconds") -> list[float]:
        return [run[turn][what] for run in found[part]]

    def over_stock(part: str, turn: int) -> float:
        pairs = zip(seconds(part, turn), seconds("stock", turn), strict=True)
        return statistics.median(mine / theirs for mine, theirs in pairs)

    return {
        "seconds": seconds("ours", 1),
        "of_them_capture": seconds("ours", 1, "capture"),
        "graph_seconds": seconds("graph", 1),
        "graph_capture": seconds("graph", 1, "capture"),
        "stock_seconds": seconds("stock", 1),
        "first_seconds": {part: seconds(part, 0) for part in PARTS},
        "nodes": found["ours"][0][0]["nodes"],
        "ratio": over_stock("ours", 1),
        "graph_ratio": over_stock("graph", 1),
        "first_ratio": over_stock("ours", 0),
    }


def in_turns(runs: dict[str, Callable[[], Any]], rounds: int = RUNS) -> dict[str, list[float]]:
    """Returns the CPU seconds of several runs that take turns."""
    found: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.process_time()
            run()
            found[name].append(time.process_time() - start)
    return found


def ratio(slow: list[float], fast: list[float]) -> float:
    """Returns the median ratio of turns."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def prompt_seconds(folder: Path, sizes: DecoderConfig, tokens: int, turns: int = RUNS) -> dict[str, Any]:
    """Times a prompt in the forms of softmax attention, and linear attention, in turns."""
    ids = np.random.default_rng(0).integers(0, sizes.vocabulary, (1, tokens))
    dense, linear = pipeline.capture(sized(sizes, "dense")), pipeline.capture(sized(sizes, "lightning"))
    made = {
        name: pipeline.lower(captured, "onnx-step", folder / f"{sizes.width}{name}", attention=form, verified=False)
        for name, captured, form in (
            ("standard", dense, "standard"),
            ("ort", dense, "ort"),
            ("linear", linear, "ort"),
        )
    }
    runners = {name: pipeline.open(artifact, threads=1) for name, artifact in made.items()}

    def once(runner: Any) -> np.ndarray:
        runner.reset(1)
        return np.asarray(runner.step({"ids": ids})["logits"])

    a, b = once(runners["standard"]), once(runners["ort"])
    apart = float(np.abs(a - b).max() / np.abs(a).max())
    if apart > 1e-4:
        raise SystemExit(f"the forms differ by {apart:.2g} of the largest logit: nothing was timed")
    once(runners["linear"])
    seconds = in_turns({name: (lambda runner=runner: once(runner)) for name, runner in runners.items()}, turns)
    return {
        "tokens": tokens,
        "sizes": f"{sizes.layers} layers, width {sizes.width}, {sizes.heads} heads of {sizes.head_size}",
        "apart": apart,
        "seconds": seconds,
        "standard_over_ort": ratio(seconds["standard"], seconds["ort"]),
        "ort_over_linear": ratio(seconds["ort"], seconds["linear"]),
        "standard_over_linear": ratio(seconds["standard"], seconds["linear"]),
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
    seconds = in_turns(runs)
    return {
        "tokens": tokens,
        "density": float(table.sum() / (heads * count * (count + 1) / 2)),
        "seconds": seconds,
        "dense_over_gathered": ratio(seconds["dense"], seconds["gathered"]),
    }


def table(record: dict[str, Any]) -> str:
    """Returns the table of the page: what was measured, beside its bar."""
    export, selected = record["export"], record["selected"]
    both = [statistics.median(export[name]) for name in ("seconds", "stock_seconds", "of_them_capture")]
    rows = [
        ("nodes of `tiny_lm`, `standard`", f"{export['nodes']['standard']}", "at most 200"),
        (
            "export of `tiny_lm` against torch's exporter, CPU seconds",
            f"{both[0]:.1f} against {both[1]:.1f}: {export['ratio']:.2f} (its capture alone {both[2]:.1f})",
            "at most 0.33",
        ),
    ]
    if "graph_ratio" in export:
        alone = statistics.median(export["graph_seconds"])
        said = f"{alone:.1f} against {both[1]:.1f}: {export['graph_ratio']:.2f}"
        rows.append(("the graph alone, as torch's exporter writes it, without comparison and test vectors", said, ""))
    if "first_seconds" in export:
        first = [statistics.median(export["first_seconds"][part]) for part in ("ours", "stock")]
        said = f"{first[0]:.1f} against {first[1]:.1f}: {export['first_ratio']:.2f}"
        rows.append(("the first export of a process, with what both import", said, ""))
    for each in record["prompts"]:
        what = f"prompt of {each['tokens']:,} tokens, {each['sizes']}"
        rows += [
            (f"{what}: `standard` over `ort`", f"{each['standard_over_ort']:.2f}", "at least 1.5"),
            ("the same: `standard` over linear attention", f"{each['standard_over_linear']:.2f}", "at least 2"),
            ("the same: `ort` over linear attention", f"{each['ort_over_linear']:.2f}", "at least 2"),
        ]
    what = f"{selected['tokens']:,} tokens, {100 * selected['density']:.0f} % of the causal blocks of {BLOCK} gathered"
    rows.append((f"{what}: dense over it", f"{selected['dense_over_gathered']:.2f}", "at least 1.5"))
    lines = ["| what | seen | wanted |", "|---|---|---|", *(f"| {a} | {b} | {c} |" for a, b, c in rows)]
    return "\n".join([START, *lines, END])


def write_page(record: dict[str, Any]) -> None:
    """Puts the table into the page."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
    PAGE.write_text(before + table(record) + rest.partition(END)[2], encoding="utf-8")


def main() -> None:
    """Runs all parts and prints them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tokens", type=int, default=2048)
    parser.add_argument("--turns", type=int, default=RUNS, help="turns of exports and prompts")
    parser.add_argument("--write", action="store_true", help="write the record and the page")
    parser.add_argument("--page", action="store_true", help="write the page from the record")
    parser.add_argument("--exports", action="store_true", help="measure the exports anew, and keep the rest")
    parser.add_argument("--part", choices=tuple(PARTS), help=argparse.SUPPRESS)
    parser.add_argument(
        "--prompts", action="store_true", help="measure the prompts alone; with --write, into the record"
    )
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.page:
        return write_page(json.loads(RECORD.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.part:
            return print(json.dumps(first_and_again(given.part, folder)))
        if given.exports:
            found = json.loads(RECORD.read_text(encoding="utf-8")) | {"export": exports(given.turns)}
            RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
            return write_page(found)
        prompts = [prompt_seconds(folder, sizes, given.tokens, given.turns) for sizes in (TINY, WIDE)]
        found = {"prompts": prompts, "prompts_provenance": provenance.collect()}
        if given.prompts:
            found = json.loads(RECORD.read_text(encoding="utf-8")) | found
        else:
            found |= {"export": exports(given.turns), "selected": selected_seconds(folder, 2 * given.tokens)}
            found["provenance"] = provenance.collect()
    print(json.dumps(found, indent=1))
    if given.write:
        RECORD.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
        write_page(found)
    return None


if __name__ == "__main__":
    main()

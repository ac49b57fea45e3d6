"""Exports of the edge zoo at full size beside torch's stock exporter, CPU seconds, like for like and whole.

    python benchmarks/edge_zoo_exports.py [--small] [--alike] [--turns 2] [--out FILE] [--write] [NAME...]

Each model has a process of its own, one thread, with one export of another module by both exporters before any time is
taken. `stock` is torch.onnx.export(dynamo=True) as it is called by default, `graph` what of ours makes the same file:
the trace, lowering with every rewrite and check of the graph, and writing. `whole` is `neurokit export` without
`verify`: it also holds the program against the module and makes the test vectors; `--alike` leaves it out. They take
turns, forwards and backwards, and the smallest of each counts; after LONG_S seconds of a turn there is no other. Of a
model of several graphs, or with declared states, stock exports every graph from a module that calls it, with the axes
free that are free in ours. The record grows model by model. With --write the table of docs/export-speed.md is made.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import geometric_mean
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "results" / "edge_zoo_exports.json"
PAGE = ROOT / "docs" / "export-speed.md"
_START, _END = "<!-- table: benchmarks/edge_zoo_exports.py -->", "<!-- end -->"
NAMES = (
    "ecapa_tdnn_512",
    "ecapa_tdnn_1024",
    "ecapa_tdnn_512_stream",
    "ecapa_tdnn_1024_stream",
    "ear_unet",
    "para_trans_cnn_32",
    "macmd_b0",
    "dsa_decoder",
    "oat",
    "macmd_b2",
    "att_swin_unet",
    "dae_former",
    "trans_dae",
    "emotionic",
    "acdit_b_blocks",
    "swin_unetr_12",
    "para_trans_cnn_64",
    "para_trans_cnn_320",
    "acdit_b",
    "swin_unetr",
)
LONG_S = 120.0


def graph(spec: Any, folder: Path) -> float:
    """Makes what stock makes: traces, lowers and writes; returns CPU seconds."""
    from neurokit.capture import capture
    from neurokit.target import TARGETS, LowerOptions

    start = time.process_time()
    captured = capture(spec)
    TARGETS.get(_target(captured)).lower(captured, folder, LowerOptions())
    return time.process_time() - start


def whole(spec: Any, folder: Path) -> dict[str, float]:
    """Exports without verification; returns CPU seconds, of both stages too."""
    from neurokit import pipeline

    start = time.process_time()
    captured = pipeline.capture(spec)
    at = time.process_time()
    pipeline.lower(captured, _target(captured), folder / "whole", verified=False)
    end = time.process_time()
    return {"whole": end - start, "whole_capture": at - start, "whole_lower": end - at}


def stock(spec: Any, folder: Path) -> dict[str, Any]:
    """Exports with torch.onnx.export(dynamo=True) at its defaults; returns CPU seconds."""
    from edge_zoo_forms import stock as of_one_graph

    if not spec.graphs and not spec.states:
        found = of_one_graph(spec, folder)
        return {"stock": found["export_s"], "free": found["free_batch"]}
    return _stock_of_graphs(spec, folder)


def _stock_of_graphs(spec: Any, folder: Path) -> dict[str, Any]:
    import torch

    from neurokit.capture import capture
    from neurokit.capture.signature import Signature

    class Graph(torch.nn.Module):
        def __init__(self, of: Any, net: torch.nn.Module) -> None:
            super().__init__()
            self.net, self.signature = net, Signature(of, net)

        def forward(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
            return self.signature.call(values, self.net)

    seconds = 0.0
    for at, part in enumerate(capture(spec).graphs):
        of = spec.graphs[at] if spec.graphs else spec.as_graph()
        given = part.program.example_inputs[0]
        held = {node.name: node.meta["val"] for node in part.program.graph.nodes if node.op == "placeholder"}
        values = [held[name] for name in part.program.graph_signature.user_inputs]
        free = [
            {axis: torch.export.Dim.AUTO for axis, size in enumerate(value.shape) if not isinstance(size, int)}
            for value in values
        ]
        net = Graph(of, spec.build()).eval()
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            start = time.process_time()
            torch.onnx.export(
                net,
                given,
                folder / f"stock{at}.onnx",
                dynamo=True,
                dynamic_shapes={"values": tuple(free)},
                verbose=False,
                report=False,
            )
            seconds += time.process_time() - start
    return {"stock": seconds, "free": True}


def _target(captured: Any) -> str:
    return "onnx-step" if any(part.spec.states for part in captured.graphs) else "onnx"


def one(name: str, small: bool, alike: bool, turns: int) -> dict[str, Any]:
    """Measures one model here."""
    from dataclasses import replace

    import torch
    from edge_zoo_forms import _load_exporters

    from neurokit import provenance
    from neurokit.loading import load

    torch.set_num_threads(1)
    spec = load(name)
    spec = spec.in_small() if small else spec
    module = spec.build()
    spec = replace(spec, build=lambda: module)
    runs: dict[str, list[float]] = {}
    found: dict[str, Any] = {"model": spec.name}
    with tempfile.TemporaryDirectory() as temporary:
        _load_exporters(Path(temporary))
    work = (stock, graph) if alike else (stock, graph, whole)
    for turn in range(turns):
        begun = time.process_time()
        for part in work[::-1] if turn % 2 else work:
            torch.manual_seed(0)
            with tempfile.TemporaryDirectory() as temporary:
                try:
                    made = part(spec, Path(temporary))
                except Exception as error:  # what an exporter cannot do is an answer
                    found[f"{part.__name__}_failed"] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
                    continue
            if isinstance(made, float):
                made = {part.__name__: made}
            found["free"] = made.pop("free", found.get("free"))
            for key, seconds in made.items():
                runs.setdefault(key, []).append(seconds)
            print(json.dumps({"model": spec.name, **made}), file=sys.stderr, flush=True)
        if time.process_time() - begun > LONG_S:
            break
    return {
        **found,
        "turns": len(runs.get("stock", ())),
        **{key: min(each) for key, each in runs.items()},
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "provenance": provenance.collect(),
    }


def run(names: tuple[str, ...], flags: list[str], turns: int, out: Path) -> None:
    """Measures models, each in a process of its own, and adds each to the record at once."""
    for name in names:
        command = [sys.executable, "-W", "ignore", __file__, "--one", name, "--turns", str(turns)]
        done = subprocess.run([*command, *flags], stdout=subprocess.PIPE, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found = json.loads(lines[-1]) if lines else {"model": name, "stopped": f"ended with {done.returncode}"}
        record = json.loads(out.read_text(encoding="utf-8")) if out.is_file() else {"kind": "measured", "models": {}}
        kept = record["models"].get(found["model"], {}) if "--alike" in flags else {}
        record["models"][found["model"]] = {**kept, **found}
        out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
        print(_row(name, found), flush=True)


def table(record: dict[str, Any]) -> str:
    """Returns the record as Markdown."""
    models = record["models"]
    held = [(name, models[name]) for name in NAMES if name in models]
    machines = sorted({f"{m['cpu']}, {m['cpus']} cores" for _, f in held if (m := _machine(f))})
    lines = [
        f"CPU seconds of one thread, the smallest of one or two turns, on {'; '.join(machines)}, beside other work.",
        "",
        "| model | stock | graph | of stock | whole | of stock | turns | peak of all three |",
        "|---|---|---|---|---|---|---|---|",
        *(_row(name, found) for name, found in held),
    ]
    parts = [[f[key] / f["stock"] for _, f in held if key in f and "stock" in f] for key in ("graph", "whole")]
    if all(parts):
        (alike, every), (of, all_of) = (geometric_mean(part) for part in parts), (len(part) for part in parts)
        lines.append(f"| geometric mean of {of} and {all_of} | | | **{alike:.2f}** | | **{every:.2f}** | | |")
    return "\n".join(lines)


def _machine(found: dict[str, Any]) -> Any:
    return found.get("provenance", {}).get("machine")


def _row(name: str, found: dict[str, Any]) -> str:
    def said(key: str) -> str:
        return f"{found[key]:.1f}" if key in found else "-"

    def part(key: str) -> str:
        return f"{found[key] / found['stock']:.2f}" if key in found and "stock" in found else "-"

    named = f"`{name}`" + ("" if found.get("free", True) else " (stock with a batch of 1)")
    peak = f"{found['peak_gib']:.1f} GiB" if "peak_gib" in found else found.get("stopped", "-")
    cells = [named, said("stock"), said("graph"), part("graph"), said("whole"), part("whole")]
    return "| " + " | ".join([*cells, str(found.get("turns", "-")), peak]) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--small", action="store_true", help="the small twins instead")
    parser.add_argument("--alike", action="store_true", help="stock and graph alone, without `whole`")
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--one", metavar="NAME", help="measure one here and print its record")
    parser.add_argument("--out", type=Path, default=RECORD)
    parser.add_argument("--write", action="store_true", help="write the page's table, measuring the models named alone")
    given = parser.parse_args()
    if given.one:
        print(json.dumps(one(given.one, given.small, given.alike, given.turns), default=str))
        return
    if given.names or not given.write:
        flags = [f"--{name}" for name in ("small", "alike") if getattr(given, name)]
        run(tuple(given.names) or NAMES, flags, given.turns, given.out)
    made = table(json.loads(given.out.read_text(encoding="utf-8")))
    print(made)
    if given.write:
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(_START)
        PAGE.write_text(f"{head}{_START}\n{made}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()

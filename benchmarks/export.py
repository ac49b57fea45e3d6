"""Export of metaspikeformer_15m against torch's stock exporter: time, nodes and ONNX Runtime latency, in one run.

    python benchmarks/export.py [--model metaspikeformer_15m] [--out benchmarks/results/export.json]

The stock exporter gets the same module, wrapped so that it resets its neurons; without that it would bake a stale
membrane into the file. Latency is paired: the two graphs take turns, and the ratio is that of each pair.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from neurokit import pipeline, provenance
from neurokit.loading import load

PAIRS = 15


class Fresh(torch.nn.Module):
    """Runs a module from reset neurons, as the stock exporter needs it."""

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps a sequence to the module's output."""
        from spikingjelly.activation_based import functional

        functional.reset_net(self.module)
        return self.module(x)


def ours(name: str, folder: Path) -> dict[str, Any]:
    """Exports with neurokit; the time is that of capture and lowering, without verification."""
    spec = load(name)
    start = time.perf_counter()
    captured = pipeline.capture(spec)
    captured_at = time.perf_counter()
    from neurokit.export.onnx.convert import onnx_from_captured
    from neurokit.export.onnx.passes import node_count
    from neurokit.export.targets.onnx import save

    model = onnx_from_captured(captured)
    save(model, folder / "ours.onnx")
    end = time.perf_counter()
    return {
        "seconds": end - start,
        "capture_seconds": captured_at - start,
        "nodes": len(model.graph),
        "nodes_inlined": node_count(model),
        "bytes": (folder / "ours.onnx").stat().st_size,
    }


def stock(name: str, folder: Path) -> dict[str, Any]:
    """Exports with torch.onnx.export(dynamo=True) at its defaults."""
    import onnx_ir as ir

    from neurokit.export.onnx.passes import node_count

    spec = load(name)
    module = Fresh(spec.build())
    x = torch.zeros(spec.time_steps or 1, 1, *spec.inputs[0].shape)
    start = time.perf_counter()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(module, (x,), folder / "stock.onnx", dynamo=True, external_data=False, verbose=False)
    end = time.perf_counter()
    count = node_count(ir.load(folder / "stock.onnx"))
    return {
        "seconds": end - start,
        "nodes": count,
        "nodes_inlined": count,
        "bytes": (folder / "stock.onnx").stat().st_size,
    }


def latency(name: str, folder: Path) -> dict[str, Any]:
    """Times both graphs in turn on ONNX Runtime, all optimisations on, two threads."""
    from neurokit.export.ort import new_session

    spec = load(name)
    x = np.random.default_rng(0).random((spec.time_steps or 1, 1, *spec.inputs[0].shape), dtype=np.float32)
    sessions = {key: new_session(folder / f"{key}.onnx", threads=2) for key in ("ours", "stock")}
    inputs = {key: session.get_inputs()[0].name for key, session in sessions.items()}
    times: dict[str, list[float]] = {"ours": [], "stock": []}
    for turn in range(PAIRS + 2):
        for key in ("ours", "stock") if turn % 2 else ("stock", "ours"):
            start = time.perf_counter()
            sessions[key].run(None, {inputs[key]: x})
            if turn >= 2:  # the first two warm up
                times[key].append(time.perf_counter() - start)
    ratios = [a / b for a, b in zip(times["ours"], times["stock"], strict=True)]
    return {
        "pairs": PAIRS,
        "threads": 2,
        "ours_s": times["ours"],
        "stock_s": times["stock"],
        "ours_median_s": statistics.median(times["ours"]),
        "stock_median_s": statistics.median(times["stock"]),
        "ratio_median": statistics.median(ratios),
        "ratio_min": min(ratios),
        "ratio_max": max(ratios),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="metaspikeformer_15m")
    parser.add_argument("--out", type=Path, default=Path(__file__).parent / "results" / "export.json")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        record = {
            "benchmark": "export",
            "model": arguments.model,
            "kind": "measured",
            "ours": ours(arguments.model, folder),
            "stock": stock(arguments.model, folder),
            "latency": latency(arguments.model, folder),
            "provenance": provenance.collect(),
        }
    a, b, run = record["ours"], record["stock"], record["latency"]
    print(f"export    ours {a['seconds']:.1f} s, stock {b['seconds']:.1f} s: {a['seconds'] / b['seconds']:.2f} of it")
    print(f"nodes     ours {a['nodes']} ({a['nodes_inlined']} inlined), stock {b['nodes']}")
    print(
        f"latency   ours {run['ours_median_s'] * 1e3:.1f} ms, stock {run['stock_median_s'] * 1e3:.1f} ms, "
        f"paired ratio {run['ratio_median']:.3f} ({run['ratio_min']:.3f} to {run['ratio_max']:.3f})"
    )
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    arguments.out.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

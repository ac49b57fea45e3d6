"""What benchmarks/edge_zoo_forms.py measured of the edge zoo at full size, as sections of its page."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from pathlib import Path
from statistics import fmean, median
from typing import Any

RECORD = Path(__file__).parent / "results" / "edge_zoo_forms.json"
# Their rows are older than the translations that spare a second trace (docs/export-speed.md).
TRACED_TWICE = ("dsa_decoder", "ecapa_tdnn_1024", "macmd_b0", "macmd_b2", "swin_unetr_12")


def forms(names: Iterable[str]) -> list[str]:
    """Returns the section of what benchmarks/edge_zoo_forms.py has measured, nothing without its record."""
    if not RECORD.is_file():
        return []
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    cpu = f"{record['provenance']['machine']['cpu']}, {record['provenance']['machine']['cpus']} cores"
    rows = [_form(name, record["models"][name]) for name in names if name in record["models"]]
    faster = [found["latency"]["faster"] for found in record["models"].values() if "latency" in found]
    shorter = [
        found["onnx"]["export_s"] / found["stock"]["export_s"]
        for found in record["models"].values()
        if "stock" in found and "onnx" in found
    ]
    means = f"{math.exp(fmean(map(math.log, faster))):.2f} times as fast (the bar is 1.05),"
    longer = f"export in {median(shorter):.2f} of its time (median; the bar is 0.5)"
    return [
        "",
        "## At full size, through `onnx` and ONNX Runtime",
        "Made by `python benchmarks/edge_zoo_forms.py`, on a CPU that other work shared: times are CPU seconds of one",
        "thread, latencies wall time on two threads with batch 1, in turns with the graph of torch's own exporter. An",
        "export of ours holds capture, reference runs in float64 and lowering; parity is the largest relative error of",
        "`neurokit verify` and what is allowed. Over the models beside the stock graph the geometric mean is",
        f"{means} {longer}.",
        f"Single turns scatter by a factor of two there. Machine: {cpu}. Peak is the memory of the process that did",
        "all of it, stock's export too.",
        "",
        "| model | export | stock | verify | file | nodes | stock | parity | allowed | latency | stock | faster "
        "| peak |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        f"The rows of {', '.join(f'`{name}`' for name in TRACED_TWICE)}",
        "are older than translations that spare a second trace ([export speed](export-speed.md)): writing the ONNX",
        "model of `ecapa_tdnn_512` took 3.7 s of CPU, and takes 0.6. What is left is torch.export's own",
        "trace, which stock's export makes too, and what it does not make: runs in float32 and float64 that hold the",
        "program against the module and make the test vectors, the larger part of",
        "`trans_dae`'s row. Not exported at full size",
        "yet: " + ", ".join(f"`{name}`" for name in names if "onnx" not in record["models"].get(name, {})) + ";",
        "`swin_unetr` (322 G multiply-adds) did not fit: for its largest convolution (96 channels, 96 voxels a side)",
        "the reference run in float64 laid 17 GiB of patches side by side (computed; measured at 48 voxels: 2.2). Such",
        "convolutions are computed a slab at a time now (neurokit/capture/slabs.py): the run in float64 of one sample",
        "takes 4.1 GiB and 100 s of one core (measured, shared machine). The whole has not been exported since.",
    ]


def in_8_bits(names: Iterable[str]) -> list[str]:
    """Returns the section of what `edge_zoo_forms.py --int8` has measured, nothing without any of it."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {"models": {}}
    rows = []
    for name in names:
        found = record["models"].get(name, {}).get("onnx-int8")
        if not found:
            continue
        cells = [
            f"`{name}`",
            f"{found['bytes'] / 1e6:.1f} MB",
            f"{found['layers']}",
            f"{found['against_float']:.2g}",
            "passed" if found["passed"] else "refused: an output is off by " + f"{found['error']:.2g}",
            f"{found['float_ms']:.0f} ms",
            f"{found['int8_ms']:.0f} ms",
            f"{found['faster']:.2f}",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    if not rows:
        return []
    return [
        "",
        "## At full size in int8",
        "Made by `python benchmarks/edge_zoo_forms.py --int8`: `onnx-int8`, calibrated on four of a model's examples,",
        "weights random; float and int8 in turns on two threads, batch 1, on a CPU with VNNI. The bar is 1.5 for those",
        "that are convolutions. Where less is gained, `--option times=true` says why, by layer ([int8](int8.md)): what",
        "is not a convolution stays in float, and every way in and out of it is a rounding. `macmd_small` says so of",
        "its grouped, dilated convolutions: 0.015 ms in float and 0.033 as `QLinearConv`, each; 0.47 of 2.46 ms are",
        "roundings.",
        "",
        "| model | file | layers in 8 bits | error on its examples | verification | float | int8 | faster |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def _form(name: str, found: dict[str, Any]) -> str:
    ours, stock, run = (found.get(part, {}) for part in ("onnx", "stock", "latency"))

    def said(value: Any, form: str) -> str:
        return "-" if value is None else form.format(value)

    cells = [
        f"`{name}`",
        said(ours.get("export_s"), "{:.0f} s"),
        said(stock.get("export_s"), "{:.0f} s"),
        said(ours.get("verify_s"), "{:.0f} s"),
        said(ours.get("bytes") and ours["bytes"] / 1e6, "{:.0f} MB"),
        said(ours.get("nodes"), "{}"),
        said(stock.get("nodes"), "{}"),
        said(ours.get("error"), "{:.1e}") if ours.get("passed") else found.get("stopped", "failed"),
        said(ours.get("allowed"), "{:.1e}"),
        said(run.get("ours_ms"), "{:.0f} ms"),
        said(run.get("stock_ms"), "{:.0f} ms"),
        said(run.get("faster"), "{:.2f}"),
        said(found.get("peak_gib"), "{:.1f} GiB"),
    ]
    return "| " + " | ".join(cells) + " |"

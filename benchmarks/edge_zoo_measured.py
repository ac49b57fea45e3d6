"""What benchmarks/edge_zoo_forms.py measured of the edge zoo at full size, as sections of its page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from statistics import geometric_mean
from textwrap import wrap
from typing import Any

RECORD = Path(__file__).parent / "results" / "edge_zoo_forms.json"

# Whose export, verification and peak were measured on another machine, before exports were made faster.
EARLIER = (
    "acdit_b",
    "acdit_b_blocks",
    "ecapa_tdnn_512_stream",
    "ecapa_tdnn_1024_stream",
    "macmd_b2",
    "oat",
    "para_trans_cnn_64",
    "para_trans_cnn_320",
    "swin_unetr_12",
    "trans_dae",
)

SWIN_UNETR = (
    "",
    "`swin_unetr` at full size (feature size 48, 96 voxels a side, 62,191,941 parameters; measured, two threads",
    "beside other work): `neurokit export swin_unetr --target onnx` with its verification took 542 s of CPU and 16",
    "minutes; with the fewer batches that large inputs are verified in, 474 s and 14 minutes, runs of two windows",
    "included (tests/neurokit/models/test_full_size.py, slow); once more with the rewritten graph, one thread of",
    "another CPU (AMD EPYC), 419 s. Its peak is 14.7 GiB, and was 16.2 there. It is within tolerance (1.1e-5 of",
    "1e-4); the file has 258 MB. `neurokit run` of a volume of 110 x 96 x 96 voxels, two windows, took 21 s of CPU,",
    "32 s and 4.5 GiB, and wrote a mask of each region. `neurokit energy swin_unetr --chip loihi2` counts 322 G",
    "multiply-adds, attention inside windows among them: at least 77 mJ by the rule `ann-int8`, 1.5 J by",
    "`ann-fp32` (analytic); 102 s of CPU, 10.5 GiB.",
)


def forms(names: Iterable[str]) -> list[str]:
    """Returns the section of what benchmarks/edge_zoo_forms.py has measured, nothing without its record."""
    if not RECORD.is_file():
        return []
    record = json.loads(RECORD.read_text(encoding="utf-8"))
    held = {name: record["models"][name] for name in names if name in record["models"]}
    rows = [_form(name, found) for name, found in held.items()]
    beside = {name: found for name, found in held.items() if "latency" in found and "onnx" in found}
    now = {name: found for name, found in beside.items() if "provenance" in found["latency"]}
    older = [f"`{name}`" for name in beside if name not in now]
    earlier = [f"`{name}`" for name in held if name in EARLIER]
    machines = sorted({_machine(found["latency"]) for found in now.values()})
    slowest = min(now, key=lambda name: _faster(now[name]))
    return [
        "",
        "## At full size, through `onnx` and ONNX Runtime",
        "Made by `python benchmarks/edge_zoo_forms.py`, on a CPU that other work shared: times are CPU seconds of one",
        "thread, latencies wall time on two threads with batch 1, in turns with the graph of torch's own exporter. An",
        "export of ours holds capture, reference runs in float64 and lowering; parity is the largest relative error of",
        "`neurokit verify` and what is allowed. Peak is the memory of the process that did all of it, stock's export",
        "too. `faster` is the median over turns of stock's CPU time over ours, on threads that do not spin.",
        "",
        *wrap(
            f"Latencies, nodes and `faster` of {len(now)} models were measured once more (`--latency`) with the "
            f"rewrites of [export speed](export-speed.md), on {', '.join(machines)}, beside five times as much other "
            f"work as it has cores: the geometric mean is {_mean(now):.3f} times as fast (the bar is 1.05). The "
            f"smallest is `{slowest}` with {_faster(now[slowest]):.3f}: `ear_unet` and the `para_trans_cnn` are the "
            "kernels that stock's graph has, and scatter about 1 by 0.02. "
            + (f"Latencies of {', '.join(older)} are older, without the rewrites and of wall time. " if older else "")
            + "What exports take beside stock's was measured anew, like for like and whole, in [export "
            "speed](export-speed.md): the bar of 0.5 is met by what both make, and missed by the whole. The times of "
            f"exports here, with verification and peaks, are of {_machine(record)}; those of {', '.join(earlier)} are "
            "of an earlier day, another machine (AMD EPYC) and, in part, of exports that traced twice. Since these "
            "rows a second sample beyond the declared range is run in float64 (but for `para_trans_cnn_32`, whose row "
            "has it), and the masks of `swin_unetr_12` are constants. Parity of `att_swin_unet`, `emotionic`, "
            "`dae_former`, `dsa_decoder`, `macmd_b0` and `trans_dae` is that of the rewritten graphs.",
            118,
        ),
        "",
        "| model | export | stock | verify | file | nodes | stock | parity | allowed | latency | stock | faster "
        "| peak |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
        *rows,
        "",
        "What is left of an export is torch.export's own trace, which stock's export makes too, and what that does not",
        "make: runs in float32 and float64 that hold the program against the module and make the test vectors",
        "([export speed](export-speed.md)). Not in the table: "
        + ", ".join(f"`{name}`" for name in names if "onnx" not in record["models"].get(name, {}))
        + ".",
        *SWIN_UNETR,
    ]


def _machine(of: dict[str, Any]) -> str:
    machine = of["provenance"]["machine"]
    return f"{machine['cpu']}, {machine['cpus']} cores"


def _faster(found: dict[str, Any]) -> float:
    """Returns how much faster a graph runs than stock's, by CPU time where that was measured."""
    latency = found["latency"]
    return float(latency.get("faster_cpu", latency["faster"]))


def _mean(models: dict[str, Any]) -> float:
    """Returns the geometric mean of how much faster graphs run than stock's."""
    return geometric_mean(_faster(found) for found in models.values())


def in_8_bits(names: Iterable[str]) -> list[str]:
    """Returns the section of what `edge_zoo_forms.py --int8` has measured, nothing without any of it."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {"models": {}}
    rows = []
    for name in names:
        found = record["models"].get(name, {}).get("onnx-int8")
        if not found:
            continue
        cells = [
            f"`{name}`" if found.get("vnni", True) else f"`{name}` (no VNNI)",
            f"{found['bytes'] / 1e6:.1f} MB",
            f"{found['layers']}",
            f"{found['against_float']:.2g}",
            _verified(found),
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
        *wrap(
            "Made by `python benchmarks/edge_zoo_forms.py --int8`: `onnx-int8`, calibrated on four of a model's "
            "examples, weights random; float and int8 in turns on two threads, batch 1, on a CPU with VNNI where the "
            "row says nothing else. The bar is 1.5 for those that are convolutions. Where less is gained, `--option "
            "times=true` says why, by layer ([int8](int8.md)): what is not a convolution stays in float, and every way "
            "in and out of it is a rounding. Of the three below 1.5, kernels at full size on one thread of an AMD EPYC "
            "with VNNI, fastest of seven runs, float and int8: `ear_unet` 49.1 and 34.4 ms (convolutions 41.5 and "
            "15.0; SiLU and the products of gates 3.5 and 7.7, since SiLU is one kernel in float and two behind "
            "roundings; means 0.6 and 3.2; roundings 6.5), `dsa_decoder` 76.0 and 47.9 (products 36.5 and 15.6, "
            "convolutions 13.1 and 8.8; sums, GELU and normalisations 10.9 and 10.4; roundings 7.0), `macmd_b0` 24.1 "
            "and 21.7 (convolutions 7.9 and 6.6, of which each grouped, dilated one takes 0.25 and 0.42; products 5.8 "
            "and 2.9; roundings 3.1). "
            "Rows without VNNI are of an AMD "
            "EPYC with AVX2, whose /proc/cpuinfo has no avx512_vnni: weights have 7 bits there. Their float graph has "
            "none of the rewrites of [export speed](export-speed.md), which int8 goes without; beside today's float "
            "graph it is 1.30 (`dae_former`), 1.38 (`trans_dae`) and 1.29 (`emotionic`) times as fast, quotients of "
            "two measured ratios. Of `dae_former`'s layers on one thread, 1214 ms in float and 628 in int8, 846 ms of "
            "products are 324 in 8 bits and 21 that stay, 119 of convolutions are 57; what is left are normalisations "
            "(40 ms), Transposes (39), Gelu (28), sums (28), products of attention (22) and 50 of roundings. Of "
            "`acdit_b` reference runs alone take five minutes, so its file was not verified at full size; beside "
            "today's float graph (526 MB) it is 1.63 times as fast in CPU time, on another CPU with VNNI (AMD EPYC).",
            118,
        ),
        "",
        "| model | file | layers in 8 bits | error on its examples | verification | float | int8 | faster |",
        "|---|---|---|---|---|---|---|---|",
        *rows,
    ]


def _verified(found: dict[str, Any]) -> str:
    if "passed" not in found:
        return "not run"
    return "passed" if found["passed"] else f"refused: an output is off by {found['error']:.2g}"


def compiled(names: Iterable[str]) -> list[str]:
    """Returns the section of what `edge_zoo_forms.py --aoti` has measured, nothing without any of it."""
    record = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.is_file() else {"models": {}}
    held = {name: found for name in names if (found := record["models"].get(name, {}).get("aoti"))}
    if not held:
        return []
    machines = sorted({_machine(found) for found in held.values()})
    rows = []
    for name, found in held.items():
        cells = [
            f"`{name}`",
            f"{found['bytes'] / 1e6:.0f} MB",
            f"{found['error']:.1e}" if found["passed"] else "failed",
            f"{found['allowed']:.1e}",
            f"{found['lower_s']:.0f} s",
            f"{found['lower_wall_s']:.0f} s",
            f"{found['cpu_ms']:.0f} ms" if "cpu_ms" in found else "-",
            f"{found['peak_gib']:.1f} GiB" if "peak_gib" in found else "-",
        ]
        rows.append("| " + " | ".join(cells) + " |")
    return [
        "",
        "## At full size, through `aoti` for a CPU",
        *wrap(
            f"Made by `python benchmarks/edge_zoo_forms.py --aoti` on {', '.join(machines)}, beside other work: each "
            "is compiled in float32 with the batch free and verified from the package alone. `made` holds test vectors "
            "and generating the code in this process, `wall` the compiler's processes too; "
            "a run is CPU time of one sample on one thread, the median of five.",
            118,
        ),
        "",
        "| model | package | parity | allowed | made | wall | a run | peak |",
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
        said(run.get("nodes", ours.get("nodes")), "{}"),
        said(stock.get("nodes"), "{}"),
        said(ours.get("error"), "{:.1e}") if ours.get("passed") else found.get("stopped", "failed"),
        said(ours.get("allowed"), "{:.1e}"),
        said(run.get("ours_ms"), "{:.0f} ms"),
        said(run.get("stock_ms"), "{:.0f} ms"),
        said(run.get("faster_cpu", run.get("faster")), "{:.2f}"),
        said(found.get("peak_gib"), "{:.1f} GiB"),
    ]
    return "| " + " | ".join(cells) + " |"

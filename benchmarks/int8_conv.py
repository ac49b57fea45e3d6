"""Convolutions and products with the neuron inside against cuDNN and cuBLAS in float16 with `lif` behind them.

    python benchmarks/int8_conv.py --out $OUT/int8-conv.json --configs $OUT/configs.json --processes 14 --limit 140

For every 3x3 convolution of the three Meta-SpikeFormers and of SEW-ResNet-18 and 34 (`--part products`: every 1x1
product; `repconvs`: the 3x3 convolutions of the exact form's RepConvs; `shortcuts`: what ends a block, with residual
and current; `zoo`: other spiking networks; `puppets`: SEW-ResNet-34 on small pictures; `images8`, `images16`: exact
convolutional networks, of one step, whose numbers from 0 to 255 are int8 less 128: `--part images8 --network resnet34
--batch 32 1`): a
candidate must give the integer reference's bits before it is timed; the fastest is entered into the table of launch
parameters. Ours are in int8, or with `--type float16` in float16, whose weights are whole numbers here, so that its
sums are exact, too. Processes of their own compile first. Both files are written after every shape.
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from gpu_timing import graph_time
from kernel_parts import int8_shapes
from kernel_parts.int8_shapes import Shape
from kernel_parts.parity import definition

from neurokit.kernels import config, lif, spike_conv_lif, spike_linear_lif
from neurokit.kernels.spike_conv_lif import boxes, rows
from neurokit.kernels.spike_conv_lif.borders import corrections
from neurokit.kernels.spike_conv_lif.op import key_of as conv_key
from neurokit.kernels.spike_linear_lif.op import key_of as linear_key

Call = Callable[[], Any]
# NVIDIA H100 and H200 data sheets: dense operations a second of the SXM modules, by the bytes of a number.
SHEET = {1: 1.979e15, 2: 0.9895e15}
TYPES = {"int8": (1, torch.int8), "float16": (2, torch.float16)}


@dataclass(frozen=True)
class Work:
    """One shape's calls on random spikes at a rate of 0.15.

    Attributes:
        boxes: Ours by tensor descriptors.
        rows: Ours by rows that taps share, where a kernel takes them.
        pointers: Ours by pointers.
        rival: cuDNN's or cuBLAS's float16 with `lif` behind it; its spikes are float16, as the next layer wants them.
        key: Of the parameters by boxes.
        pointer_kernel: Name and key of the parameters by pointers.
    """

    boxes: Call
    rows: Call
    pointers: Call
    rival: Call
    key: tuple[Any, ...]
    pointer_kernel: tuple[str, tuple[Any, ...]]


def work_of(shape: Shape) -> Work:
    """Returns the calls of a shape."""
    size = (1, shape.size) if shape.flat else (shape.size, shape.size)
    form, dtype = next((name if of == 1 else "same", dtype) for name, (of, dtype) in TYPES.items() if of == shape.width)
    s = (torch.rand(shape.steps, shape.batch, *size, shape.inner, device="cuda") < 0.15).to(dtype)
    w = torch.randint(-127, 128, (shape.cols, shape.kernel, shape.kernel, shape.inner), device="cuda").to(dtype)
    scale = torch.full((shape.cols,), 2.0 ** -(6 + shape.inner.bit_length() // 2), device="cuda")
    if shape.kernel == 1:
        scale *= 2
    bias = (torch.randn(shape.cols, device="cuda") * 64).round() / 256
    given: dict[str, Any] = {"scale": scale, "bias": bias, "form": form}
    beside: dict[str, Any] = {"bias": bias, "want_v": False}  # the rival's
    product = shape.kernel == 1 and not shape.picture
    rows = (shape.size,) if product else (1, 1, shape.size) if shape.flat else (shape.batch, shape.out, shape.out)
    out = (shape.steps, *rows, shape.cols)
    if shape.shortcut:
        residual = (torch.randn(out, device="cuda") * 64).round() / 256
        given |= {"residual": residual if shape.width == 1 else residual.half(), "want_current": True}
        if shape.width == 1:
            given |= {"grid": 2.0**-8, "low": -16.0, "high": 16.0, "rounds": True}
        beside |= {"residual": residual.half(), "want_current": True}
    if product:
        rows, flat = s.flatten(1, 3), w.flatten(1)
        half, plain = rows.half(), flat.half() * scale.half()[:, None]
        call = lambda path: lambda: spike_linear_lif(rows, flat, path=path, **given)[0]  # noqa: E731
        key = boxes.key_of(s, w, 1, s.new_empty(shape.steps, 1, 1, shape.size, shape.cols, device="meta"))
        rival = lambda: lif(F.linear(half, plain), spikes="same", **beside)[0]  # noqa: E731
        named = ("spike_linear_lif", linear_key(rows, flat, shape.shortcut))
        return Work(call("boxes"), call("rows"), call("fused"), rival, key, named)
    place = {"stride": shape.stride, "padding": shape.kernel // 2}
    image = s.half().flatten(0, 1).permute(0, 3, 1, 2)
    plain = (w.half() * scale.half()[:, None, None, None]).permute(0, 3, 1, 2)

    def rival() -> Any:
        y = F.conv2d(image, plain, **place).permute(0, 2, 3, 1).unflatten(0, s.shape[:2])
        return lif(y, spikes="same", **beside)[0]

    if shape.numbers:
        s = torch.randint(-128, 128, s.shape, device="cuda", dtype=torch.int8)
        given |= {"corrections": corrections(w, shape.stride, shape.kernel // 2, shape.size, shape.size)}
        # The spread of a sum is about half of the largest number.
        spread = torch.full_like(scale, 2.0 ** -round(math.log2(74.0 * 148.0 * shape.taps**0.5 / 128.0)))
        given |= {"scale": spread, "form": "bytes", "grid": 1.0, "low": 0.0, "high": 255.0, "tau": None}
    call = lambda path: lambda: spike_conv_lif(s, w, path=path, **given, **place)[0]  # noqa: E731
    key = boxes.key_of(s, w, shape.stride, s.new_empty(out, device="meta"))
    named = ("spike_conv_lif", (*conv_key(s, w, shape.stride), boxes.crowd(shape.pixels * shape.cols)))
    return Work(call("boxes"), call("rows"), call("fused"), rival, key, named)


def tries(shape: Shape, work: Work) -> list[tuple[str, config.Config, Call]]:
    """Returns what is tried: the kernel whose parameters they are, the parameters, the call."""
    found = [(boxes.NAME, c, work.boxes) for c in int8_shapes.candidates(shape)]
    found += [(rows.NAME, c, work.rows) for c in int8_shapes.row_candidates(shape)]
    return found + [(work.pointer_kernel[0], c, work.pointers) for c in int8_shapes.pointer_candidates(shape)]


def attempt(kernel: str, candidate: config.Config, run: Call) -> Any:
    """Runs with a candidate's parameters; one that needs more than the GPU has gives None."""
    with config.override(kernel, candidate):
        try:
            return run()
        except Exception as error:
            torch.cuda.synchronize()
            print(f"  {candidate}: {type(error).__name__} {str(error)[:90]}", flush=True)
            return None


def compile_share(listed: list[Shape], share: int, of: int) -> None:
    """Runs every candidate of this process's shapes once, so that Triton's cache has them."""
    count = 0
    for shape in listed:
        listed_of = (int8_shapes.candidates, int8_shapes.row_candidates, int8_shapes.pointer_candidates)
        number = sum(len(candidates(shape)) for candidates in listed_of)
        if any((count + i) % of == share for i in range(number)):
            for i, (kernel, candidate, call) in enumerate(tries(shape, work_of(shape))):
                if (count + i) % of == share:
                    attempt(kernel, candidate, lambda call=call: (call(), torch.cuda.synchronize()))
        count += number


def measure(shape: Shape, ceilings: dict[str, float], tables: dict[str, dict[str, config.Config]]) -> dict[str, Any]:
    """Returns the row of a shape, and enters the best parameters of either path into the tables."""
    work = work_of(shape)
    bits = definition(work.boxes)
    row: dict[str, Any] = {"shape": shape.label, "network": shape.network, "rate": float(bits.float().mean())}
    timed: list[tuple[float, str, config.Config, Call]] = []
    row["wrong_candidates"] = 0
    for kernel, candidate, call in tries(shape, work):
        got = attempt(kernel, candidate, call)
        if got is not None and not torch.equal(got, bits):
            row["wrong_candidates"] += 1
            print(f"  WRONG {shape.label} {candidate}: {int((got != bits).sum())} of {bits.numel()}", flush=True)
        elif got is not None:
            seconds = attempt(kernel, candidate, lambda call=call: graph_time(call, target_ms=3.0, replays=5))
            if seconds is not None:
                timed.append((seconds, kernel, candidate, call))
    timed.sort(key=lambda one: one[0])
    if not timed:
        return row
    seconds, kernel, best, call = timed[0]
    seconds = attempt(kernel, best, lambda: graph_time(call, target_ms=8.0, replays=9))
    rival = graph_time(work.rival, target_ms=8.0, replays=9)
    path = {boxes.NAME: "boxes", rows.NAME: "rows"}.get(kernel, "fused")
    vendor = shape.width > 1 and work.pointer_kernel[0] == "spike_linear_lif" and rival < seconds
    first = next((c for _, name, c, _ in timed if name == boxes.NAME), {})
    tables.setdefault(boxes.NAME, {})[",".join(map(str, work.key))] = {**first, "path": "fused" if vendor else path}
    if path == "rows":
        tables.setdefault(kernel, {})[",".join(map(str, work.key))] = best
    if path == "fused" or vendor:
        named, key = work.pointer_kernel
        pointers = next((c for _, name, c, _ in timed if name == named), {})
        tables.setdefault(named, {})[",".join(map(str, key))] = {**pointers, "path": "gemm" if vendor else "fused"}
    row |= {
        "seconds": seconds,
        "float16_then_lif": rival,
        "ratio": rival / seconds,
        "arithmetic_floor": shape.operations / SHEET[shape.width],
        "byte_floor": shape.moved / ceilings["copy_bytes_per_s"],
        "tera_operations_per_s": shape.operations / seconds / 1e12,
        "decisions": bits.numel(),
        "different_decisions": 0,
        "path": path,
        "chosen": best,
        "tried": [[round(t * 1e6, 1), n, "/".join(map(str, c.values()))] for t, n, c, _ in timed],
    }
    tried = " ".join(f"{t}:{'' if n == boxes.NAME else 'pointers '}{c}" for t, n, c in row["tried"][:4])
    print(
        f"{shape.label:34s} ours {seconds * 1e6:7.1f} us, float16 + lif {rival * 1e6:7.1f}, ratio {row['ratio']:.2f}, "
        f"floors {row['arithmetic_floor'] * 1e6:.0f} and {row['byte_floor'] * 1e6:.0f} us, "
        f"{row['tera_operations_per_s']:.0f} TOP/s | {tried}",
        flush=True,
    )
    return row


def ceilings(width: int) -> dict[str, float]:
    """Returns what this GPU reaches: bytes a second of a copy, operations a second of the vendor's product."""
    x = torch.randn(2**28, device="cuda")
    y = torch.empty_like(x)
    a = torch.randint(-127, 127, (8192, 8192), device="cuda", dtype=torch.int8)
    return {
        "copy_bytes_per_s": 2 * x.numel() * 4 / graph_time(lambda: torch.add(x, 1.0, out=y)),
        "int8_op_per_s_vendor": 2 * 8192**3 / graph_time(lambda: torch._int_mm(a, a.t())),
        "op_per_s_sheet": SHEET[width],
    }


def page(data: dict[str, Any]) -> str:
    """Returns the table of a run's rows."""
    about, measured = data["about"], [row for row in data["rows"] if "ratio" in row]
    ratios = sorted(row["ratio"] for row in measured) or [float("nan")]
    rates = data["ceilings"]["op_per_s_sheet"] / 1e12, data["ceilings"]["copy_bytes_per_s"] / 1e12
    lines = [
        f"# {about['type']} with the neuron inside, {about['gpu']}",
        "",
        f"Made by benchmarks/int8_conv.py (torch {about['torch']}, Triton {about['triton']}): medians of CUDA-graph",
        "replays in microseconds, T = 4 (1 of `mobilenet_v2` and `resnet34`). The opponent is cuDNN's or cuBLAS's",
        "product in float16, channels last,",
        "with `lif` behind it. What was timed gave the integer reference's bits:",
        f"{sum(row['decisions'] for row in measured)} decisions, 0 different. Sets of parameters that gave others, and",
        f"were dropped: {sum(row['wrong_candidates'] for row in data['rows'])}.",
        "",
        f"Ratio: least {ratios[0]:.2f}, median {ratios[len(ratios) // 2]:.2f} of {len(measured)} shapes. Floors:",
        f"operations over {rates[0]:.0f} TOP/s (data sheet), bytes over {rates[1]:.2f} TB/s (a copy in the same run).",
        "",
        "| shape | network | ours | float16 + lif | ratio | arithmetic floor | byte floor | TOP/s | path |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in measured:
        times = [row[name] * 1e6 for name in ("seconds", "float16_then_lif", "arithmetic_floor", "byte_floor")]
        lines.append(
            f"| {row['shape']} | {row['network']} | {times[0]:.1f} | {times[1]:.1f} | {row['ratio']:.2f} "
            f"| {times[2]:.0f} | {times[3]:.0f} | {row['tera_operations_per_s']:.0f} | {row['path']} |"
        )
    return "\n".join(lines) + "\n"


def enter(record: dict[str, Any], file: Path) -> None:
    """Enters tables of launch parameters into a file, over those of the same kernel and key."""
    held = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {**record, "kernels": {}}
    if held["gpu"] != record["gpu"]:
        raise SystemExit(f"{file} is of {held['gpu']}, not of {record['gpu']}")
    for kernel, table in record["kernels"].items():
        held["kernels"].setdefault(kernel, {}).update(table)
    file.write_text(json.dumps(held, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def prepare(arguments: argparse.Namespace) -> None:
    """Compiles in processes side by side, for at most half of the time."""
    command = [sys.executable, *sys.argv, "--share"]
    helpers = [subprocess.Popen([*command, str(i)], stdout=subprocess.DEVNULL) for i in range(arguments.processes)]
    until = time.monotonic() + 0.5 * arguments.limit
    for helper in helpers:
        try:
            helper.wait(max(0.5, until - time.monotonic()))
        except subprocess.TimeoutExpired:  # what is missing is compiled when it is measured
            helper.terminate()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--configs", type=Path, help="where the table of launch parameters is written")
    parser.add_argument("--limit", type=float, default=140.0, help="seconds after which no shape is begun")
    parts = ["convolutions", "products", "repconvs", "shortcuts", "zoo", "puppets", "images8", "images16"]
    parser.add_argument("--part", nargs="*", default=parts[:1], choices=parts)
    parser.add_argument("--type", default="int8", choices=TYPES, help="of our spikes and weights")
    parser.add_argument("--network", nargs="*", default=[""], help="only networks with one of these in their name")
    parser.add_argument("--kernel", type=int, nargs="*", default=[1, 3], help="only kernels of so many pixels across")
    parser.add_argument("--stride", type=int, nargs="*", default=[1, 2], help="only convolutions of these strides")
    parser.add_argument("--rows", action="store_true", help="only shapes that the kernel by rows is tried at")
    parser.add_argument("--batch", type=int, nargs="*", default=[32])
    parser.add_argument("--processes", type=int, default=1, help="processes that compile")
    parser.add_argument("--share", type=int, help="only compile this share (what --processes starts)")
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    made = [getattr(int8_shapes, kind)(batch) for kind in arguments.part for batch in arguments.batch]
    width = TYPES[arguments.type][0]
    wanted = (shape for shapes in made for shape in shapes if any(one in shape.network for one in arguments.network))
    listed = [replace(shape, width=width) for shape in wanted]
    listed = [shape for shape in listed if shape.kernel in arguments.kernel and shape.stride in arguments.stride]
    listed = [shape for shape in listed if not arguments.rows or int8_shapes.row_candidates(shape)]
    if arguments.share is not None:
        compile_share(listed, arguments.share, arguments.processes)
        return
    begun = time.monotonic()
    if arguments.processes > 1:
        prepare(arguments)
    print(f"compiled after {time.monotonic() - begun:.0f} s", flush=True)
    name, capability = config.gpu_at(torch.cuda.current_device())
    about = {"gpu": name, "torch": torch.__version__, "triton": __import__("triton").__version__, "unit": "s"}
    about["type"] = arguments.type
    data: dict[str, Any] = {"about": about, "ceilings": ceilings(width), "rows": []}
    tables: dict[str, dict[str, config.Config]] = {}
    print(data["ceilings"], flush=True)
    for shape in listed:
        if time.monotonic() - begun > arguments.limit:
            data.setdefault("not_reached", []).append(shape.label)
            continue
        data["rows"].append(measure(shape, data["ceilings"], tables))
        torch.cuda.empty_cache()
        ratios = sorted(row["ratio"] for row in data["rows"] if "ratio" in row)
        if ratios:
            data["summary"] = {"shapes": len(ratios), "least": ratios[0], "median": ratios[len(ratios) // 2]}
        arguments.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        arguments.out.with_suffix(".md").write_text(page(data), encoding="utf-8")
        if arguments.configs:
            enter({"gpu": name, "compute_capability": capability, "kernels": tables}, arguments.configs)
    print(data.get("summary"), "not reached:", data.get("not_reached", []), flush=True)


if __name__ == "__main__":
    main()

"""The int8 convolution with the neuron inside against cuDNN in float16 with `lif` behind it, shape by shape.

    python benchmarks/int8_conv.py --out $OUT/int8-conv.json --configs $OUT/configs.json --processes 14 --limit 140

For every 3x3 convolution of the three Meta-SpikeFormers and of SEW-ResNet-18 and 34: every candidate must give the
integer reference's bits before it is timed; the fastest is entered into the table of launch parameters. Processes of
their own compile first. Both files are written after every shape.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from gpu_timing import graph_time
from kernel_parts import int8_shapes
from kernel_parts.int8_shapes import Shape
from kernel_parts.parity import definition

from neurokit.kernels import config, lif, spike_conv_lif
from neurokit.kernels.spike_conv_lif import boxes

Call = Callable[[], Any]
# NVIDIA H100 and H200 data sheets: dense int8 operations a second of the SXM modules.
SHEET = 1.979e15


def calls(shape: Shape) -> tuple[Call, Call, tuple[Any, ...]]:
    """Returns ours, the opponent, and the key of ours; inputs are random, spikes at a rate of 0.15."""
    s = (torch.rand(shape.steps, shape.batch, shape.size, shape.size, shape.inner, device="cuda") < 0.15).to(torch.int8)
    w = torch.randint(-127, 128, (shape.cols, shape.kernel, shape.kernel, shape.inner), device="cuda", dtype=torch.int8)
    scale = torch.full((shape.cols,), 2.0 ** -(6 + shape.inner.bit_length() // 2), device="cuda")
    bias = (torch.randn(shape.cols, device="cuda") * 64).round() / 256
    given = {"stride": shape.stride, "padding": shape.kernel // 2}

    def ours() -> Any:
        return spike_conv_lif(s, w, scale=scale, bias=bias, form="int8", path="boxes", **given)[0]

    image = s.half().flatten(0, 1).permute(0, 3, 1, 2)
    plain = (w.half() * scale.half()[:, None, None, None]).permute(0, 3, 1, 2)

    def theirs() -> Any:
        y = F.conv2d(image, plain, **given).permute(0, 2, 3, 1).unflatten(0, s.shape[:2])
        return lif(y, bias=bias, spikes="same", want_v=False)[0]

    out = torch.empty((shape.steps, shape.batch, shape.out, shape.out, shape.cols), device="meta")
    return ours, theirs, boxes.key_of(s, w, shape.stride, out)


def attempt(candidate: config.Config, run: Call) -> Any:
    """Runs with a candidate's parameters; one that needs more than the GPU has gives None."""
    with config.override(boxes.NAME, candidate):
        try:
            return run()
        except Exception as error:
            torch.cuda.synchronize()
            print(f"  {candidate}: {type(error).__name__} {str(error)[:90]}", flush=True)
            return None


def compile_share(shapes: list[Shape], share: int, of: int) -> None:
    """Runs this process's candidates once on few images, so that Triton's cache has them."""
    pairs = [(shape, c) for shape in shapes for c in int8_shapes.candidates(shape)]
    for shape, candidate in pairs[share::of]:
        ours, _, _ = calls(shape)
        attempt(candidate, lambda ours=ours: (ours(), torch.cuda.synchronize()))


def measure(shape: Shape, ceilings: dict[str, float]) -> tuple[dict[str, Any], tuple[Any, ...], config.Config | None]:
    """Returns the row of a shape, the key of its parameters, and the best."""
    ours, theirs, key = calls(shape)
    bits = definition(ours)
    row: dict[str, Any] = {"shape": shape.label, "network": shape.network, "rate": float(bits.float().mean())}
    timed: list[tuple[float, config.Config]] = []
    wrong = 0
    for candidate in int8_shapes.candidates(shape):
        got = attempt(candidate, ours)
        if got is None:
            continue
        if not torch.equal(got, bits):
            wrong += 1
            print(f"  WRONG {shape.label} {candidate}: {int((got != bits).sum())} of {bits.numel()}", flush=True)
            continue
        seconds = attempt(candidate, lambda: graph_time(ours, target_ms=3.0, replays=5))
        if seconds is not None:
            timed.append((seconds, candidate))
    row["wrong_candidates"] = wrong
    timed.sort(key=lambda pair: pair[0])
    if not timed:
        return row, key, None
    best = timed[0][1]
    seconds = attempt(best, lambda: graph_time(ours, target_ms=8.0, replays=9))
    rival = graph_time(theirs, target_ms=8.0, replays=9)
    row |= {
        "seconds": seconds,
        "cudnn_fp16_then_lif": rival,
        "ratio": rival / seconds,
        "arithmetic_floor": shape.operations / SHEET,
        "byte_floor": shape.moved / ceilings["copy_bytes_per_s"],
        "tera_operations_per_s": shape.operations / seconds / 1e12,
        "decisions": bits.numel(),
        "different_decisions": 0,
        "chosen": best,
        "tried": [[round(t * 1e6, 1), "/".join(map(str, c.values()))] for t, c in timed],
    }
    print(
        f"{shape.label:34s} ours {seconds * 1e6:7.1f} us, cuDNN + lif {rival * 1e6:7.1f}, ratio {rival / seconds:.2f}, "
        f"floors {row['arithmetic_floor'] * 1e6:.0f} and {row['byte_floor'] * 1e6:.0f} us, "
        f"{row['tera_operations_per_s']:.0f} TOP/s | " + " ".join(f"{t}:{c}" for t, c in row["tried"][:4]),
        flush=True,
    )
    return row, key, best


def ceilings() -> dict[str, float]:
    """Returns what this GPU reaches: bytes a second of a copy, int8 operations a second of the vendor's product."""
    x = torch.randn(2**28, device="cuda")
    y = torch.empty_like(x)
    a = torch.randint(-127, 127, (8192, 8192), device="cuda", dtype=torch.int8)
    return {
        "copy_bytes_per_s": 2 * x.numel() * 4 / graph_time(lambda: torch.add(x, 1.0, out=y)),
        "int8_op_per_s_vendor": 2 * 8192**3 / graph_time(lambda: torch._int_mm(a, a.t())),
        "int8_op_per_s_sheet": SHEET,
    }


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
    parser.add_argument("--batch", type=int, nargs="*", default=[32])
    parser.add_argument("--processes", type=int, default=1, help="processes that compile")
    parser.add_argument("--share", type=int, help="only compile this share (what --processes starts)")
    arguments = parser.parse_args()
    torch.backends.cudnn.benchmark = True
    shapes = [shape for batch in arguments.batch for shape in int8_shapes.convolutions(batch)]
    if arguments.share is not None:
        compile_share(shapes, arguments.share, arguments.processes)
        return
    begun = time.monotonic()
    if arguments.processes > 1:
        prepare(arguments)
    print(f"compiled after {time.monotonic() - begun:.0f} s", flush=True)
    name, capability = config.gpu_at(torch.cuda.current_device())
    about = {"gpu": name, "torch": torch.__version__, "triton": __import__("triton").__version__, "unit": "s"}
    data: dict[str, Any] = {"about": about, "ceilings": ceilings(), "rows": []}
    table: dict[str, config.Config] = {}
    print(data["ceilings"], flush=True)
    for shape in shapes:
        if time.monotonic() - begun > arguments.limit:
            data.setdefault("not_reached", []).append(shape.label)
            continue
        row, key, best = measure(shape, data["ceilings"])
        data["rows"].append(row)
        if best is not None:
            table[",".join(map(str, key))] = best
        torch.cuda.empty_cache()
        ratios = sorted(row["ratio"] for row in data["rows"] if "ratio" in row)
        if ratios:
            data["summary"] = {"shapes": len(ratios), "least": ratios[0], "median": ratios[len(ratios) // 2]}
        arguments.out.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        if arguments.configs:
            record = {"gpu": name, "compute_capability": capability, "kernels": {boxes.NAME: table}}
            arguments.configs.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(data.get("summary"), "not reached:", data.get("not_reached", []), flush=True)


if __name__ == "__main__":
    main()

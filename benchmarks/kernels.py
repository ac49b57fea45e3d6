"""Measures the fused kernels against their roofline bounds and their strongest opponents, parity first.

    python benchmarks/kernels.py --out benchmarks/results/kernels-h200.json --processes 12 [--part lif linear ...]

Every figure is a median of CUDA-graph replays (benchmarks/gpu_timing.py) unless it says otherwise. Opponents run in
the same process: SpikingJelly 2.0, torch.compile of the unrolled neuron, eager PyTorch, cuBLAS and cuDNN. Compiling the
opponents takes most of the time: --processes lets that many processes do it first, side by side, into the compilers'
caches. On a machine with several GPUs, --devices lets each of them measure a part. A page of Markdown is written beside
the JSON.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from kernel_parts import neurons, parity, products, roofline, spread
from kernel_parts.record import Record, page

PARTS = {
    "registered": roofline.measure,
    "attention": products.measure_attention,
    "linear": products.measure_linear,
    "lif": neurons.measure,
    "batch_one": products.measure_batch_one,
    "convolution": products.measure_convolution,
    "depthwise": products.measure_depthwise,
    "words": neurons.measure_words,
}


def compile_first(arguments: argparse.Namespace) -> None:
    """Starts the processes that compile, and waits for them as long as --prepare-limit says."""
    shares = range(arguments.processes) if set(arguments.part) & set(PARTS) else ()
    start = time.monotonic()
    running = [
        subprocess.Popen(
            [sys.executable, *sys.argv, "--share", str(index)],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "TORCHINDUCTOR_COMPILE_THREADS": "2"},
        )
        for index in shares
    ]
    for process in running:
        try:
            process.wait(max(1.0, arguments.prepare_limit - (time.monotonic() - start)))
        except subprocess.TimeoutExpired:  # what is missing is compiled when it is measured
            process.terminate()
    print(f"compiled after {time.monotonic() - start:.0f} s", flush=True)


def fail_if_wrong(data: dict[str, Any]) -> None:
    """Ends the program if a kernel gave other numbers than its definition."""
    wrong = [name for result in data.get("parity", {}).values() for name in result["wrong"]]
    wrong += [f"{row['kernel']} {row['shape']}" for row in data["rows"] if row.get("equal") is False]
    if wrong:
        sys.exit(f"a kernel is wrong on this GPU: {'; '.join(wrong)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("kernels.json"))
    parser.add_argument("--limit", type=float, default=3600.0, help="seconds after which nothing more is started")
    parser.add_argument("--part", nargs="*", default=["parity", *PARTS])
    parser.add_argument("--processes", type=int, default=0, help="processes that compile before anything is timed")
    parser.add_argument("--devices", type=int, default=1, help="GPUs of one kind that share the work")
    parser.add_argument("--prepare-limit", type=float, default=600.0, help="seconds that they may take")
    parser.add_argument("--compile-only", action="store_true", help="stop when --processes have compiled")
    parser.add_argument("--share", type=int, help="only compile this share of the rows")
    arguments = parser.parse_args()
    if arguments.devices > 1:
        fail_if_wrong(spread.run(arguments, page))
        return
    share = None if arguments.share is None else (arguments.share, max(1, arguments.processes))
    if share is None and arguments.processes:
        compile_first(arguments)
        if arguments.compile_only:
            return
    arguments.out.parent.mkdir(parents=True, exist_ok=True)
    record = Record(arguments.out, arguments.limit, share)
    if share is None:
        record.ceilings()
        if "parity" in arguments.part:
            parity.measure(record)
            fail_if_wrong(record.data)
    for name, part in PARTS.items():
        if name in arguments.part and record.left() > 0:
            part(record)
    if share is None:
        record.write()
        arguments.out.with_suffix(".md").write_text(page(record.data), encoding="utf-8")
        fail_if_wrong(record.data)


if __name__ == "__main__":
    main()

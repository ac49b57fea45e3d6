"""The record of one run: ceilings, rows of times, and the page that shows them."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from gpu_timing import graph_time

from .parity import definition, same_bits

Times = dict[str, float | str]


def about() -> dict[str, Any]:
    """Returns what a reader needs in order to repeat the run."""
    import spikingjelly
    import triton

    return {
        "run": uuid.uuid4().hex[:8],
        "started": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "triton": triton.__version__,
        "spikingjelly": getattr(spikingjelly, "__version__", "2.0.0"),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "kind": "measured",
        "unit": "s",
        "timing": "medians of CUDA-graph replays (benchmarks/gpu_timing.py); what fits into the L2 is read from it",
    }


class Record:
    """The figures measured so far, written after every one, so that an interrupted run keeps them.

    Args:
        path: The JSON file.
        limit: Seconds after which nothing more is started.
        share: (index, count) of a process that only compiles this share of the rows, or None to measure.
    """

    def __init__(self, path: Path, limit: float, share: tuple[int, int] | None = None) -> None:
        self.path = path
        self.deadline = time.monotonic() + limit
        self.share = share
        self.count = 0
        self.bandwidth, self.brain, self.integer, self.fma = 4.0e12, 8.0e14, 9.0e14, 3.3e13
        self.data: dict[str, Any] = {"about": {} if share else about(), "rows": []}

    def left(self) -> float:
        """Returns the seconds left."""
        return self.deadline - time.monotonic()

    def write(self) -> None:
        """Writes the record."""
        if self.share is None:
            self.path.write_text(json.dumps(self.data, indent=1) + "\n", encoding="utf-8")

    def ceilings(self) -> None:
        """Measures what this GPU reaches: bytes a second of a copy, operations a second of a large product."""
        x = torch.randn(2**30, device="cuda", dtype=torch.bfloat16)
        y = torch.empty_like(x)
        # By events: a copy in a graph becomes a memcpy node, which is slower than the copy kernel.
        self.bandwidth = 2 * x.numel() * 2 / event_time(lambda: y.copy_(x))
        a = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
        self.brain = 2 * 8192**3 / graph_time(lambda: a @ a)
        i = torch.randint(-127, 127, (8192, 8192), device="cuda", dtype=torch.int8)
        self.integer = 2 * 8192**3 / graph_time(lambda: torch._int_mm(i, i.t()))
        chip = torch.cuda.get_device_properties()
        lanes = 64 if (chip.major, chip.minor) == (8, 0) else 128  # CUDA C programming guide, arithmetic throughput
        self.fma = chip.multi_processor_count * lanes * chip.clock_rate * 1e3
        self.data["ceilings"] = {
            "copy_bytes_per_s": self.bandwidth,
            "bf16_flop_per_s": self.brain,
            "int8_op_per_s": self.integer,
            "float32_fma_per_s_analytic": self.fma,
        }
        print(self.data["ceilings"], flush=True)

    def add(
        self,
        kernel: str,
        shape: str,
        ours: Callable[[], Any],
        bound: float | None = None,
        note: str = "",
        exact: bool = False,
        **opponents: Callable[[], Any],
    ) -> None:
        """Times a kernel and its opponents.

        Args:
            kernel: Name of the kernel.
            shape: What it ran on.
            ours: The call.
            bound: Roofline time in seconds.
            note: Shown beside it.
            exact: Whether the kernel must give the definition's bits here; whether it does is noted.
            opponents: Calls that do the same.
        """
        self.count += 1
        if self.left() < 0:
            self.data.setdefault("not_reached", []).append(f"{kernel} {shape}")
            self.write()
            return
        work = {"ours": ours, **opponents}
        if self.share is not None:
            if self.count % self.share[1] == self.share[0]:
                # What tunes itself is left to the process that measures: it needs the GPU to itself.
                for name, call in work.items():
                    if not name.startswith("max_autotune"):
                        _once(call)
            return
        times: Times = {name: _timed(call) for name, call in work.items()}
        row: dict[str, Any] = {"kernel": kernel, "shape": shape, "seconds": times, "note": note}
        mine = times["ours"]
        if exact and isinstance(mine, float):
            row["equal"] = same_bits(ours(), definition(ours))
        if isinstance(mine, float):
            row["bound_seconds"] = bound
            row["share_of_bound"] = None if bound is None else bound / mine
            row["speedup"] = {n: t / mine for n, t in times.items() if n != "ours" and isinstance(t, float)}
        self.data["rows"].append(row)
        self.write()
        print(f"{kernel} {shape}: {text(row)}", flush=True)
        torch.cuda.empty_cache()


def _once(call: Callable[[], Any]) -> None:
    try:
        call()
        torch.cuda.synchronize()
    except Exception as error:  # reported where it is measured
        print(f"{type(error).__name__}: {str(error)[:160]}", flush=True)


def _timed(call: Callable[[], Any]) -> float | str:
    """Returns a call's time, or what went wrong: one opponent that fails must not lose the others."""
    try:
        return graph_time(call, 8.0, 5)
    except Exception as error:
        torch.cuda.synchronize()
        return f"{type(error).__name__}: {str(error)[:160]}"


def event_time(work: Callable[[], Any], repeats: int = 20) -> float:
    """Returns the median time of one call by events, in seconds."""
    times = []
    for _ in range(repeats):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        work()
        last.record()
        torch.cuda.synchronize()
        times.append(first.elapsed_time(last) * 1e-3)
    return sorted(times)[len(times) // 2]


def micro(seconds: float | str) -> str:
    """Returns a time in microseconds."""
    return f"{seconds * 1e6:.1f}" if isinstance(seconds, float) else "failed"


def text(row: dict[str, Any]) -> str:
    """Returns a row on one line, for the terminal."""
    shown = " ".join(f"{n}={micro(t)}us" if isinstance(t, float) else f"{n}={t}" for n, t in row["seconds"].items())
    share = f" {row['share_of_bound']:.0%} of bound" if row.get("share_of_bound") else ""
    return f"{shown}{share}{_bits(row)} {row['note']}"


def _bits(row: dict[str, Any]) -> str:
    return "" if "equal" not in row else ("; same bits as the definition" if row["equal"] else "; WRONG BITS")


def page(data: dict[str, Any]) -> str:
    """Returns the record as a page of Markdown."""
    info, top = data["about"], data.get("ceilings", {})
    lines = [
        f"# Fused kernels on an {info['gpu']}",
        "",
        f"Measured in one run ({info['run']}, {info['started']}); torch {info['torch']}, Triton {info['triton']}, "
        f"SpikingJelly {info['spikingjelly']}, cuDNN {info['cudnn']}. Made by `benchmarks/kernels.py`; raw figures "
        "beside this file.",
        "",
        f"Times are {info['timing']}.",
    ]
    if info.get("gpus", 1) > 1:
        lines += [
            "",
            f"Its parts ran side by side on {info['gpus']} such GPUs, every row beside its opponents on one of them.",
        ]
    if top:
        lines += [
            "",
            f"Ceilings, measured in the same run: copy {top['copy_bytes_per_s'] / 1e12:.2f} TB/s, bf16 "
            f"{top['bf16_flop_per_s'] / 1e12:.0f} TFLOP/s, int8 (`torch._int_mm`) "
            f"{top['int8_op_per_s'] / 1e12:.0f} TOP/s. A bound is the longer of bytes over the first and "
            "operations over the second or third.",
        ]
        if "float32_fma_per_s_analytic" in top:
            lines[-1] += (
                f" That of `depthwise` counts {top['float32_fma_per_s_analytic'] / 1e12:.1f} T float32 "
                "multiply-adds/s (analytic: lanes times the highest clock)."
            )
    if "parity" in data:
        cases = sum(p["cases"] for p in data["parity"].values())
        wrong = [w for p in data["parity"].values() for w in p["wrong"]]
        lines += [
            "",
            f"Parity with the definitions, in the same run: {cases} cases in float32, float16 and bfloat16, "
            f"{len(wrong)} wrong{': ' + '; '.join(wrong[:8]) if wrong else ''}.",
        ]
    compared = [row["equal"] for row in data["rows"] if "equal" in row]
    if compared:
        lines += [
            "",
            f"At the shapes below, `lif` and `sdsa_lif` gave the definition's bits in {sum(compared)} of "
            f"{len(compared)} rows.",
        ]
    for kernel in dict.fromkeys(row["kernel"] for row in data["rows"]):
        lines += [
            "",
            f"## {kernel}",
            "",
            "| shape | ours, us | of the bound | opponents, us (how many times ours) |",
            "|---|---|---|---|",
        ]
        for row in data["rows"]:
            if row["kernel"] == kernel:
                lines.append(_line(row))
    if data.get("not_reached"):
        lines += ["", "## Not reached in the time of this run", "", *(f"- {name}" for name in data["not_reached"])]
    return "\n".join(lines) + "\n"


def _line(row: dict[str, Any]) -> str:
    faster = row.get("speedup", {})
    others = [
        f"{name} {micro(t)} ({faster[name]:.2f})" if name in faster else f"{name} {micro(t)}"
        for name, t in row["seconds"].items()
        if name != "ours"
    ]
    share = f"{row['share_of_bound']:.0%}" if row.get("share_of_bound") else ""
    note = (f"; {row['note']}" if row["note"] else "") + ("; WRONG BITS" if row.get("equal") is False else "")
    return f"| {row['shape']}{note} | {micro(row['seconds']['ours'])} | {share} | {', '.join(others)} |"

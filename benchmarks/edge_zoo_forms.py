"""The edge zoo through `onnx` at full size: parity, time, size, and ONNX Runtime beside torch's own exporter.

    python benchmarks/edge_zoo_forms.py [--small] [--int8 | --aoti | --latency] [--out FILE] [NAME...]

Each model has a process of its own, and the record grows model by model, so that a run that is stopped keeps what it
has. Export times are CPU seconds of both exporters in one process, after one export of another module has loaded
what they import. Latency is paired: the two graphs take turns on two threads, and the ratio is the median of the turns'
ratios, once of wall time and once of the process's CPU time, which other work on the machine disturbs less. With
`--int8` each is exported to `onnx-int8`, calibrated on four of its own examples, verified, and timed in turns with its
float graph; with `--aoti` it is compiled for this CPU and verified (edge_zoo_other_forms.py). With `--latency` both
graphs are made once more and timed, and nothing else of a row is changed.
`python benchmarks/edge_zoo.py docs/edge-zoo.md` makes the page's table of the record.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
RECORD = ROOT / "benchmarks" / "results" / "edge_zoo_forms.json"
# In the order of their work, so that a run that is stopped has most of them.
NAMES = (
    "emotionic",
    "macmd_b0",
    "oat",
    "ear_unet",
    "ecapa_tdnn_512",
    "ecapa_tdnn_1024",
    "dsa_decoder",
    "para_trans_cnn_32",
    "macmd_b2",
    "att_swin_unet",
    "swin_unetr_12",
    "trans_dae",
    "dae_former",
    "ecapa_tdnn_512_stream",
    "ecapa_tdnn_1024_stream",
    "para_trans_cnn_64",
    "acdit_b_blocks",
    "acdit_b",
    "swin_unetr",
    "para_trans_cnn_320",
)
PAIRS, MANY, SHORT_S, LONGEST_S = 60, 400, 4.0, 60.0  # turns, more of them up to 4 s, and none begun after 60 s


def exported(spec: Any, folder: Path) -> tuple[Any, dict[str, Any]]:
    """Exports and verifies with neurokit.

    Returns:
        The artifact; its CPU seconds (build, capture, lowering, verification), bytes, nodes and verdict.
    """
    from neurokit import pipeline

    times, start = {}, time.process_time()

    def lap(name: str) -> None:
        nonlocal start
        now = time.process_time()
        times[name], start = now - start, now

    module = spec.build()
    lap("build_s")
    captured = pipeline.capture(spec)
    lap("capture_s")
    target = "onnx-step" if any(part.spec.states for part in captured.graphs) else "onnx"
    artifact = pipeline.lower(captured, target, folder / "ours", verified=False)
    lap("lower_s")
    report = pipeline.verify(artifact)
    lap("verify_s")
    size = sum(file.stat().st_size for file in artifact.path.iterdir() if file.suffix in (".onnx", ".data"))
    return artifact, {
        "target": target,
        "parameters": sum(p.numel() for p in module.parameters()),
        **times,
        "export_s": times["capture_s"] + times["lower_s"] - times["build_s"],  # capture builds the module once more
        "bytes": size,
        "nodes": artifact.manifest.target_info.get("nodes_inlined"),
        "passed": report.passed,
        "notes": [] if report.passed else list(report.notes),
        "verdict": report.verdict,
        "error": report.output_error_free,
        "allowed": report.output_tolerance,
    }


def stock(spec: Any, folder: Path) -> dict[str, Any]:
    """Exports the first graph's module with torch.onnx.export(dynamo=True), its batch free too where it can be."""
    import onnx_ir as ir
    import torch

    from neurokit.export.onnx.passes import node_count

    module, examples = spec.build(), spec.example(2, 1, 0)
    given = tuple(examples.values()) if isinstance(examples, dict) else (examples,)
    start = time.process_time()
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        shapes = tuple({0: torch.export.Dim("B")} for _ in given)
        try:
            torch.onnx.export(
                module, given, folder / "stock.onnx", dynamo=True, dynamic_shapes=shapes, verbose=False, report=False
            )
            free = True
        except Exception:  # some modules have no free batch there
            start, free = time.process_time(), False
            one = tuple(x[:1] for x in given)
            torch.onnx.export(module, one, folder / "stock.onnx", dynamo=True, verbose=False)
    return {
        "export_s": time.process_time() - start,
        "free_batch": free,
        "nodes": node_count(ir.load(folder / "stock.onnx")),
    }


def latency(spec: Any, ours: Path, other: Path) -> dict[str, Any]:
    """Times both graphs in turn on ONNX Runtime, two threads that do not spin while they wait, batch 1."""
    from neurokit.export.ort import new_session

    sessions = {
        "ours": new_session(ours, threads=2, spinning=False),
        "stock": new_session(other, threads=2, spinning=False),
    }
    examples = spec.example(1, 1, 0)
    given = [x.numpy() for x in (examples.values() if isinstance(examples, dict) else (examples,))]
    feeds = {key: dict(zip([p.name for p in s.get_inputs()], given, strict=True)) for key, s in sessions.items()}
    times: dict[str, list[float]] = {"ours": [], "stock": []}
    worked: dict[str, list[float]] = {"ours": [], "stock": []}
    begun = time.perf_counter()
    for turn in range(MANY):
        for key in ("ours", "stock") if turn % 2 else ("stock", "ours"):
            start, cpu = time.perf_counter(), time.process_time()
            sessions[key].run(None, feeds[key])
            if turn >= 2:  # the first two warm up
                times[key].append(time.perf_counter() - start)
                worked[key].append(time.process_time() - cpu)
        if turn >= 4 and time.perf_counter() - begun > (LONGEST_S if turn < PAIRS + 2 else SHORT_S):
            break
    ratios, of_cpu = ([b / a for a, b in zip(by["ours"], by["stock"], strict=True)] for by in (times, worked))
    return {
        "pairs": len(ratios),
        "ours_ms": 1e3 * statistics.median(times["ours"]),
        "stock_ms": 1e3 * statistics.median(times["stock"]),
        "faster": statistics.median(ratios),
        "faster_min": min(ratios),
        "faster_max": max(ratios),
        "ours_cpu_ms": 1e3 * statistics.median(worked["ours"]),
        "stock_cpu_ms": 1e3 * statistics.median(worked["stock"]),
        "faster_cpu": statistics.median(of_cpu),
    }


def once_more(spec: Any, folder: Path) -> dict[str, Any]:
    """Times both graphs, made anew without test vectors; what an export takes and how far it is off stay as they were.

    Nodes and latency alone are of this run.
    """
    import torch

    from neurokit import provenance
    from neurokit.capture import capture
    from neurokit.target import TARGETS, LowerOptions

    (folder / "ours").mkdir()
    told = TARGETS.get("onnx").lower(capture(spec), folder / "ours", LowerOptions())["target_info"]
    torch.manual_seed(0)
    beside = stock(spec, folder)
    found = latency(spec, folder / "ours" / "model.onnx", folder / "stock.onnx")
    return {
        **found,
        "nodes": told["nodes_inlined"],
        "stock_nodes": beside["nodes"],
        "provenance": provenance.collect(),
    }


def _load_exporters(folder: Path) -> None:
    """Exports a small module with both, so that no time holds an import."""
    import torch

    from neurokit import pipeline
    from neurokit.spec import ModelSpec, TensorSpec

    module = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.LayerNorm(6), torch.nn.GELU()).eval()
    spec = ModelSpec("first", lambda: module, (TensorSpec("image", (3, 8, 8), layout="CHW"),))
    pipeline.lower(pipeline.capture(spec), "onnx", folder / "first", verified=False)
    torch.onnx.export(module, (torch.rand(2, 3, 8, 8),), folder / "first.onnx", dynamo=True, verbose=False)


def one(name: str, small: bool, only: str = "") -> dict[str, Any]:
    """Returns the record of one model."""
    import torch

    from neurokit.loading import load

    spec = load(name)
    spec = spec.in_small() if small else spec
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if only:
            from edge_zoo_other_forms import in_aoti, in_int8

            key, work = {"int8": ("onnx-int8", in_int8), "aoti": ("aoti", in_aoti), "latency": ("latency", once_more)}[
                only
            ]
            return {"model": spec.name, key: work(spec, folder)}
        _load_exporters(folder)
        artifact, ours = exported(spec, folder)
        found: dict[str, Any] = {"model": spec.name, "onnx": ours}
        print(json.dumps(found), flush=True)
        if len(artifact.manifest.graphs) > 1 or spec.states:
            found["beside"] = "several graphs or declared states: the stock exporter has no one graph beside them"
        else:
            torch.manual_seed(0)
            try:
                found["stock"] = stock(spec, folder)
                found["latency"] = latency(spec, artifact.file("model.onnx"), folder / "stock.onnx")
            except Exception as error:  # what the stock exporter cannot do is an answer
                found["beside"] = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    found["peak_gib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return found


def record_of(path: Path) -> dict[str, Any]:
    """Returns the record at a place, or an empty one."""
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    return {"benchmark": "edge_zoo_forms", "kind": "measured", "machine": "shared with other work", "models": {}}


def run(names: tuple[str, ...], small: bool, only: str, out: Path) -> None:
    """Measures models, each in a process of its own, and adds each to the record at once."""
    from neurokit import provenance

    for name in names:
        command = [
            sys.executable,
            __file__,
            "--one",
            name,
            *(["--small"] if small else []),
            *([f"--{only}"] if only else []),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        found = json.loads(lines[-1]) if lines else {"model": name}
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or [f"ended with {done.returncode}"]
            found["stopped"] = last[0][:200]
        record = record_of(out)
        before = record["models"].get(found["model"], {})
        kept = before if only else {key: value for key, value in before.items() if key in ("onnx-int8", "aoti")}
        record["models"][found["model"]] = {**kept, **found}
        if not only:
            record["provenance"] = provenance.collect()
        out.write_text(json.dumps(record, indent=1, default=str) + "\n", encoding="utf-8")
        print(name, json.dumps(found), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--small", action="store_true", help="the small twins instead")
    parser.add_argument("--int8", action="store_true", help="onnx-int8 beside what the record has")
    parser.add_argument("--aoti", action="store_true", help="aoti for this CPU beside what the record has")
    parser.add_argument("--latency", action="store_true", help="both graphs timed once more")
    parser.add_argument("--one", metavar="NAME", help="measure one here and print its record")
    parser.add_argument("--out", type=Path, default=RECORD)
    arguments = parser.parse_args()
    only = next((name for name in ("int8", "aoti", "latency") if getattr(arguments, name)), "")
    if arguments.one:
        print(json.dumps(one(arguments.one, arguments.small, only), default=str))
        return
    run(tuple(arguments.names) or NAMES, arguments.small, only, arguments.out)


if __name__ == "__main__":
    main()

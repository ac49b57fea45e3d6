"""What `edge_zoo_forms.py --int8` and `--aoti` do with a model of the edge zoo at full size."""

from __future__ import annotations

import json
import resource
import statistics
import time
from pathlib import Path
from typing import Any

from edge_zoo_forms import latency

SAMPLES, MOST_ERROR = 4, 0.9  # of calibration; random weights amplify what 8 bits lose
UNVERIFIED = ("acdit_b",)  # in 8 bits: reference runs of its test vectors take five minutes
RUNS = 5


def in_int8(spec: Any, folder: Path) -> dict[str, Any]:
    """Exports, verifies and times a model in 8 bits; what its verification allows is what int8 alone may cost."""
    from neurokit import pipeline, provenance
    from neurokit.capture import capture
    from neurokit.export.onnx.quantise import multiplies_bytes_safely
    from neurokit.target import TARGETS, LowerOptions

    verified = spec.name not in UNVERIFIED
    captured = pipeline.capture(spec) if verified else capture(spec)
    examples = spec.example(SAMPLES, 1, 1)
    named = examples if isinstance(examples, dict) else {spec.inputs[0].name: examples}
    given = {key: value.numpy() for key, value in named.items()}
    found: dict[str, Any] = {}
    start = time.process_time()
    if verified:
        artifact = pipeline.lower(
            captured, "onnx-int8", folder / "int8", verified=False, calibration=given, max_error=MOST_ERROR
        )
        told = artifact.manifest.target_info
        found["lower_s"], start = time.process_time() - start, time.process_time()
        report = pipeline.verify(artifact)
        found |= {"verify_s": time.process_time() - start, "passed": report.passed, "error": report.output_error_free}
        found["notes"] = [] if report.passed else list(report.notes)
    else:
        (folder / "int8").mkdir()
        options = LowerOptions(batch=captured.batch, extra={"max_error": MOST_ERROR}, calibration=given)
        told = TARGETS.get("onnx-int8").lower(captured, folder / "int8", options)["target_info"]
        found["lower_s"] = time.process_time() - start
    ours = folder / "int8" / "model.onnx"
    found |= {
        "bytes": ours.stat().st_size,
        "layers": told["quantisation"]["layers"],
        "against_float": told["against_float"]["output_relative_l2"],
    }
    print(json.dumps({"model": spec.name, "onnx-int8": found}), flush=True)
    (folder / "float").mkdir()
    TARGETS.get("onnx").lower(captured, folder / "float", LowerOptions(batch=captured.batch))
    timed = latency(spec, ours, folder / "float" / "model.onnx")
    return {
        **found,
        "int8_ms": timed["ours_ms"],
        "float_ms": timed["stock_ms"],
        "faster": timed["faster"],
        "faster_cpu": timed["faster_cpu"],
        "vnni": multiplies_bytes_safely(),
        "provenance": provenance.collect(),
    }


def in_aoti(spec: Any, folder: Path) -> dict[str, Any]:
    """Compiles a model for this CPU, verifies the package from its files, and times it on one thread, batch 1."""
    import torch

    from neurokit import pipeline, provenance

    torch.set_num_threads(1)
    captured = pipeline.capture(spec)
    options = {"form": "step"} if any(part.spec.states for part in captured.graphs) else {}
    start = time.process_time(), time.perf_counter()
    artifact = pipeline.lower(captured, "aoti", folder / "aoti", verified=False, **options)
    made = time.process_time(), time.perf_counter()
    report = pipeline.verify(artifact)
    found = {
        "lower_s": made[0] - start[0],  # without the compiler, which is a process of its own
        "lower_wall_s": made[1] - start[1],
        "verify_s": time.process_time() - made[0],
        "bytes": sum(file.stat().st_size for file in artifact.path.glob("*.pt2")),
        "passed": report.passed,
        "verdict": report.verdict,
        "notes": [] if report.passed else list(report.notes),
        "error": report.output_error_free,
        "allowed": report.output_tolerance,
    }
    print(json.dumps({"model": spec.name, "aoti": found}), flush=True)
    if not spec.graphs and not spec.states:
        examples = spec.example(1, 1, 0)
        named = examples if isinstance(examples, dict) else {spec.inputs[0].name: examples}
        given = {key: value.numpy() for key, value in named.items()}
        times = []
        with pipeline.open(artifact) as runner:
            for _ in range(RUNS + 1):  # the first warms up
                at = time.process_time()
                runner(given)
                times.append(time.process_time() - at)
        found["cpu_ms"] = 1e3 * statistics.median(times[1:])
    return {
        **found,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "provenance": provenance.collect(),
    }

"""Spike-exactness: how many spikes differ between implementations of one network, in exact and in float numerics.

    python benchmarks/exactness.py MODEL ... [--inputs 3] [--out benchmarks/results/exactness.json]

MODEL is a zoo name, path/file.py:factory, or "digits" for the small network trained on handwritten digits. The
reference is PyTorch float32 with oneDNN on one thread, one sample at a time. Everything else must give its spikes and
its outputs: oneDNN off, float64, two threads, a batch of five, and ONNX Runtime at its four optimisation levels in
the three ONNX forms. The first input takes every way, further inputs the four that differ most.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import neurokit as nk
from neurokit.artifact import write_artifact
from neurokit.capture import Captured
from neurokit.errors import UnsupportedError
from neurokit.pipeline import _manifest
from neurokit.provenance import collect
from neurokit.reference import example_input, record
from neurokit.target import TARGETS, LowerOptions
from neurokit.verify import _reduce

FORMS = ("onnx", "onnx-scan", "onnx-step")
Run = tuple[list[Tensor], list[Tensor]]


def run_torch(captured: Captured, x: Tensor, dtype: torch.dtype = torch.float32) -> Run:
    """Returns the outputs and the spikes of every neuron layer."""
    module: Any = captured.program.module().to(dtype)
    states = [s.to(dtype) for s in captured.initial_states(x.shape[1])]
    for node in module.graph.nodes:
        if node.op == "call_module":
            module.graph.erase_node(node)
    module.recompile()
    outputs, records = record(module, (x.to(dtype), *states))
    return [y.float() for y in outputs[: len(captured.output_names)]], [r.spikes.to(torch.uint8) for r in records]


def torch_ways(captured: Captured, x: Tensor, brief: bool) -> Iterator[tuple[str, Run]]:
    """Runs PyTorch in every way; each result is that of the one sample in x."""
    with warnings.catch_warnings(), torch.backends.mkldnn.flags(enabled=False):
        yield "torch, oneDNN off", run_torch(captured, x)
    yield "torch float64", run_torch(captured, x, torch.float64)
    if brief:
        return
    torch.set_num_threads(2)
    yield "torch, 2 threads", run_torch(captured, x)
    torch.set_num_threads(1)
    outputs, spikes = run_torch(captured, torch.cat([x, *(x.roll(i, -1) for i in range(1, 5))], 1))
    batched = 1 if captured.time_output == "sequence" else 0
    yield "torch, batch 5", ([y.narrow(batched, 0, 1) for y in outputs], [_first(s) for s in spikes])


def _first(spikes: Tensor) -> Tensor:
    return spikes[:, : spikes.shape[1] // 5]


def onnx_ways(captured: Captured, x: Tensor, folder: Path, brief: bool) -> Iterator[tuple[str, Run]]:
    """Runs ONNX Runtime at every level in every form."""
    for form in FORMS[:1] if brief else FORMS:
        target = TARGETS.get(form)
        options = LowerOptions("exact", captured.batch)
        out = folder / form
        if not out.exists():
            try:
                with write_artifact(out) as draft:
                    entries = dict(target.lower(captured, draft.path, options))
                    draft.manifest = _manifest(captured, form, options, entries, None)
            except UnsupportedError as error:
                print(f"  no {form}: {error.reasons[0] if error.reasons else error}", flush=True)
                continue
        artifact = nk.Artifact.load(out)
        ways = [(0, 1), (3, 1)] if brief else [(0, 1), (1, 1), (2, 1), (3, 1), (3, 2)]
        for level, threads in ways:
            outputs, spikes = target.probe(artifact, level=level, threads=threads).free(x.numpy())  # type: ignore[attr-defined]
            if form == "onnx-step":
                outputs = [_reduce(y, captured.time_output) for y in outputs]
            name = f"{form}, level {level}" + (", 2 threads" if threads > 1 else "")
            yield name, ([torch.as_tensor(y) for y in outputs], [torch.as_tensor(s).to(torch.uint8) for s in spikes])


def compare(reference: Run, other: Run) -> dict[str, Any]:
    """Counts flipped spikes and measures the outputs' relative L2 distance."""
    flips = sum(int((a != b.reshape(a.shape)).sum()) for a, b in zip(reference[1], other[1], strict=True))
    a, b = reference[0][0], other[0][0]
    return {
        "flips": flips, "output_relative_l2": float((a - b).norm() / a.norm().clamp_min(1e-30)),
        "outputs_equal": bool(torch.equal(a, b)), "top1_equal": bool(torch.equal(a.argmax(-1), b.argmax(-1))),
    }  # fmt: skip


def measure(captured: Captured, inputs: list[Tensor]) -> dict[str, Any]:
    """Compares all ways with the reference."""
    rows: dict[str, Any] = {}
    decisions = spiked = 0
    with tempfile.TemporaryDirectory() as folder:
        for index, x in enumerate(inputs):
            reference = run_torch(captured, x)
            decisions += sum(s.numel() for s in reference[1])
            spiked += sum(int(s.sum()) for s in reference[1])
            brief = index > 0
            for ways in (torch_ways(captured, x, brief), onnx_ways(captured, x, Path(folder), brief)):
                for name, other in ways:
                    row = compare(reference, other)
                    old = rows.get(name)
                    if old is not None:
                        row = {
                            "flips": old["flips"] + row["flips"],
                            "output_relative_l2": max(old["output_relative_l2"], row["output_relative_l2"]),
                            "outputs_equal": old["outputs_equal"] and row["outputs_equal"],
                            "top1_equal": old["top1_equal"] and row["top1_equal"],
                        }
                    rows[name] = row
    return {"decisions": decisions, "firing_rate": spiked / max(decisions, 1), "ways": rows}


def load(name: str) -> nk.ModelSpec:
    """Returns a model's spec; "digits" is trained first."""
    if name != "digits":
        return nk.load(name)
    from neurokit.nets.digits import TIME_STEPS, as_sequence, load_digits, train_digits

    module, _ = train_digits(seconds=120)
    images = load_digits().test_images
    return replace(
        nk.load("spiking_cnn"), name="spiking_cnn (trained on digits)", build=lambda: module,
        example=lambda batch, steps, seed: as_sequence(images[seed * batch : (seed + 1) * batch], TIME_STEPS),
    )  # fmt: skip


def digits_accuracy() -> dict[str, float]:
    """Returns the accuracy of the trained digits network in float and in exact numerics, on the held-out digits."""
    from neurokit.nets.digits import as_sequence, load_digits, train_digits

    module, accuracy = train_digits(seconds=120)
    digits = load_digits()
    spec = replace(nk.load("spiking_cnn"), build=lambda: module)
    captured = nk.capture(spec)
    found = {"float": accuracy}
    for bits in (8, 6, 4):
        made = nk.exact(captured, as_sequence(digits.train_images[:256]), bits=bits)
        outputs, _ = run_torch(made.captured, as_sequence(digits.test_images))
        found[f"exact {bits} bits"] = float((outputs[0].argmax(1) == digits.test_labels).float().mean())
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--inputs", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/exactness.json"))
    parser.add_argument("--accuracy", action="store_true", help="also the accuracy of the digits network")
    given = parser.parse_args()
    torch.set_num_threads(1)
    result = json.loads(given.out.read_text()) if given.out.exists() else {"models": {}}
    result["provenance"] = collect()
    if given.accuracy:
        result["digits_accuracy"] = digits_accuracy()
    for name in given.models:
        start = time.time()
        spec = load(name)
        captured = nk.capture(spec, merge=spec.merge_reparameterised is not None)
        made = nk.exact(captured)
        inputs = [example_input(spec, spec.time_steps, 1, seed) for seed in range(1, given.inputs + 1)]
        entry = {
            "exact": {"proof": made.proof.status, "worst_bits": made.proof.worst.membrane_bits or made.proof.worst.bits,
                      "notes": list(made.notes), **measure(made.captured, inputs)},
            "float": measure(captured, inputs[:1]),
        }  # fmt: skip
        entry["seconds"] = round(time.time() - start, 1)
        result["models"][spec.name] = entry
        flips = max(way["flips"] for way in entry["exact"]["ways"].values())
        other = max(way["flips"] for way in entry["float"]["ways"].values())
        print(f"{spec.name}: {entry['exact']['decisions']:,} decisions at {entry['exact']['firing_rate']:.1%}; "
              f"most flips in one way: exact {flips}, float {other}", flush=True)  # fmt: skip
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(result, indent=1) + "\n")
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()

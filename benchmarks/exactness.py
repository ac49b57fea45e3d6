"""Spike-exactness: how many spikes differ between implementations of one network, in exact and in float numerics.

    python benchmarks/exactness.py MODEL ... [--inputs 3] [--numerics exact float] [--out FILE] [--cache FOLDER]
    python benchmarks/exactness.py --summary

MODEL is a zoo name, path/file.py:factory, or "digits" for the small network trained on handwritten digits. The
reference is PyTorch float32 with oneDNN on one thread, one sample at a time. Everything else must give its spikes and
its outputs: oneDNN off, float64, two threads, a batch of five, and ONNX Runtime at its four optimisation levels in
the three ONNX forms. The first input takes every way, further inputs the four that differ most (with --all: every
way). In float numerics one input is taken.

Every comparison is written as soon as it is done, with the digest of the program's numbers; a run that was ended
early goes on where it stopped.
"""

from __future__ import annotations

import argparse
import fcntl
import gc
import hashlib
import json
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.fx import Interpreter

import neurokit as nk
from neurokit.artifact import write_artifact
from neurokit.capture import Captured
from neurokit.capture.reference import example_input
from neurokit.errors import UnsupportedError
from neurokit.neurons.ops import is_neuron
from neurokit.pipeline.records import manifest_for
from neurokit.provenance import collect
from neurokit.target import TARGETS, LowerOptions

FORMS = ("onnx", "onnx-scan", "onnx-step")
FEW = {"torch, oneDNN off", "torch float64", "onnx, level 0", "onnx, level 3"}
Run = tuple[list[Tensor], list[Tensor]]


class _Spikes(Interpreter):
    """Keeps every neuron's spikes as bytes, and nothing else."""

    def __init__(self, module: Any, first: int) -> None:
        super().__init__(module)
        self.kept: list[Tensor] = []
        self._first = first

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        result = super().call_function(target, args, kwargs)
        if is_neuron(target):
            spikes = result[0]
            self.kept.append(spikes[:, : spikes.shape[1] // self._first].to(torch.uint8))
        return result


def run_torch(captured: Captured, x: Tensor, dtype: torch.dtype = torch.float32, of: int = 1) -> Run:
    """Returns the outputs and the spikes of every neuron layer, those of the first of `of` samples."""
    module: Any = captured.program.module().to(dtype)
    states = [s.to(dtype) for s in captured.initial_states(x.shape[1])]
    for node in module.graph.nodes:
        if node.op == "call_module":
            module.graph.erase_node(node)
    module.recompile()
    run = _Spikes(module, of)
    with torch.no_grad():
        outputs = run.run(x.to(dtype), *states)
    return [y.float() for y in outputs[: len(captured.output_names)]], run.kept


def torch_ways(captured: Captured, x: Tensor) -> dict[str, Callable[[], Run]]:
    """Returns every way to run PyTorch; each gives the result of the one sample in x."""

    def without_onednn() -> Run:
        with warnings.catch_warnings(), torch.backends.mkldnn.flags(enabled=False):
            return run_torch(captured, x)

    def two_threads() -> Run:
        torch.set_num_threads(2)
        try:
            return run_torch(captured, x)
        finally:
            torch.set_num_threads(1)

    def batch_of_five() -> Run:
        outputs, spikes = run_torch(captured, torch.cat([x, *(x.roll(i, -1) for i in range(1, 5))], 1), of=5)
        axis = 1 if captured.time_output == "sequence" else 0
        return [y.narrow(axis, 0, 1) for y in outputs], spikes

    return {
        "torch, oneDNN off": without_onednn,
        "torch float64": lambda: run_torch(captured, x, torch.float64),
        "torch, 2 threads": two_threads,
        "torch, batch 5": batch_of_five,
    }


def onnx_ways(captured: Captured, x: Tensor, folder: Path) -> dict[str, Callable[[], Run]]:
    """Returns every way to run ONNX Runtime: four levels in every form, and two threads."""
    ways = {}
    for form in FORMS:
        for level, threads in ((0, 1), (1, 1), (2, 1), (3, 1), (3, 2)):
            name = f"{form}, level {level}" + (", 2 threads" if threads > 1 else "")
            ways[name] = lambda form=form, level=level, threads=threads: _onnx(
                captured, x, folder, form, level, threads
            )
    return ways


def _onnx(captured: Captured, x: Tensor, folder: Path, form: str, level: int, threads: int) -> Run:
    target = TARGETS.get(form)
    out = folder / form
    if not out.exists():
        with write_artifact(out) as draft:
            entries = dict(target.lower(captured, draft.path, LowerOptions("exact", captured.batch)))
            draft.manifest = manifest_for(captured, form, LowerOptions("exact", captured.batch), entries, None)
    probe = target.probe(nk.Artifact.load(out), level=level, threads=threads)  # type: ignore[attr-defined]
    outputs, spikes = probe.free({captured.spec.inputs[0].name: x.numpy()})
    return [torch.as_tensor(y) for y in outputs], [torch.as_tensor(s).to(torch.uint8) for s in spikes]


def compare(reference: Run, other: Run) -> dict[str, Any]:
    """Counts flipped spikes and measures the outputs' relative L2 distance."""
    flips = sum(int((a != b.reshape(a.shape)).sum()) for a, b in zip(reference[1], other[1], strict=True))
    a, b = reference[0][0], other[0][0]
    return {
        "flips": flips,
        "output_relative_l2": float((a - b).norm() / a.norm().clamp_min(1e-30)),
        "outputs_equal": bool(torch.equal(a, b)),
        "top1_equal": bool(torch.equal(a.argmax(-1), b.argmax(-1))),
    }


def digest(captured: Captured) -> str:
    """Returns a sum over the program's operations and numbers: results of another program are not kept."""
    found = hashlib.sha256("".join(str(n.target) for n in captured.program.graph.nodes).encode())
    for name, value in sorted(captured.program.state_dict.items()):
        found.update(name.encode() + value.detach().contiguous().numpy().tobytes())
    return found.hexdigest()[:16]


@contextmanager
def record(path: Path) -> Iterator[dict[str, Any]]:
    """Gives the record for a change, one process at a time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(
        f"{tempfile.gettempdir()}/{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]}.lock", "w"
    ) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        data = json.loads(path.read_text()) if path.exists() else {}
        data.setdefault("models", {})
        yield data
        path.write_text(json.dumps(data, indent=1) + "\n")


def measure(
    captured: Captured, name: str, numerics: str, seeds: list[int], given: argparse.Namespace, head: dict[str, Any]
) -> None:
    """Compares all ways with the reference, and writes each comparison down."""
    mark = digest(captured)
    folder = given.cache / f"{name.replace('/', '_').split(' ')[0]}-{numerics}-{mark}"
    for seed in seeds:
        x = example_input(captured.spec, captured.spec.time_steps, 1, seed)
        ways = torch_ways(captured, x) | onnx_ways(captured, x, folder)
        if seed > 1 and not given.all:
            ways = {way: run for way, run in ways.items() if way in FEW}
        with record(given.out) as data:
            entry = data["models"].setdefault(name, {}).setdefault(numerics, {})
            if entry.get("digest") != mark:
                entry.clear()
            entry |= {"digest": mark, **head}
            done = dict(entry.setdefault("inputs", {}).get(str(seed), {}).get("ways", {}))
        left = [way for way in ways if way not in done]
        if not left:
            continue
        reference = run_torch(captured, x)
        decisions, spikes = sum(s.numel() for s in reference[1]), sum(int(s.sum()) for s in reference[1])
        for way in left:
            start = time.time()
            try:
                row = compare(reference, ways[way]())
            except UnsupportedError as error:
                row = {"not possible": str(error.reasons[0] if error.reasons else error)}
            with record(given.out) as data:
                entry = data["models"][name][numerics]["inputs"].setdefault(str(seed), {"ways": {}})
                entry |= {"decisions": decisions, "spikes": spikes}
                entry["ways"][way] = row
            print(
                f"{name} {numerics} input {seed} {way}: {row.get('flips', row)} ({time.time() - start:.0f} s)",
                flush=True,
            )
            gc.collect()


def load(name: str) -> nk.ModelSpec:
    """Returns a model's spec; "digits" is trained first."""
    if name != "digits":
        return nk.load(name)
    from neurokit.data.digits import TIME_STEPS, as_sequence, load_digits
    from neurokit.models.spiking_cnn.train import train_digits

    module, _ = train_digits(seconds=120)
    images = load_digits().test_images
    return replace(
        nk.load("spiking_cnn"),
        name="spiking_cnn (trained on digits)",
        build=lambda: module,
        example=lambda batch, steps, seed: as_sequence(images[seed * batch : (seed + 1) * batch], TIME_STEPS),
    )


def digits_accuracy() -> dict[str, Any]:
    """Returns the accuracy of the digits network on the 450 held-out digits: float, exact, and exact and fine-tuned.

    Fine-tuning sees the training images alone; three seeds, since a digit is 0.22 points.
    """
    from neurokit.data.digits import as_sequence, load_digits
    from neurokit.data.labelled import Labelled
    from neurokit.models.spiking_cnn.train import train_digits
    from neurokit.tasks.evaluate import headline_score

    module, accuracy = train_digits(seconds=120)
    digits = load_digits()
    captured = nk.capture(replace(nk.load("spiking_cnn"), build=lambda: module))
    training = Labelled(digits.train_images.numpy(), digits.train_labels.numpy())
    held_out = Labelled(digits.test_images.numpy(), digits.test_labels.numpy())
    found: dict[str, Any] = {"float": accuracy}
    for bits in (8, 6, 4, 3, 2):
        made = nk.exact(captured, as_sequence(digits.train_images[:256]), bits=bits)
        found[f"exact {bits} bits"] = headline_score(made.captured, held_out)
        if bits <= 4:
            tuned = [nk.exact_finetune(captured, training, bits=bits, seed=seed) for seed in range(3)]
            found[f"exact {bits} bits, fine-tuned"] = [headline_score(each.captured, held_out) for each in tuned]
            found[f"exact {bits} bits, fine-tuned, proofs"] = [each.proof.status for each in tuned]
    return found


def summary(data: dict[str, Any]) -> dict[str, Any]:
    """Returns decisions, rates, flips and errors a model, and the sum of all decisions."""
    rows: dict[str, Any] = {}
    for name, by_numerics in data["models"].items():
        for numerics, entry in by_numerics.items():
            inputs = entry.get("inputs", {})
            all_ways = [(way, row) for item in inputs.values() for way, row in item["ways"].items()]
            ways = [row for _, row in all_ways if "flips" in row]
            decisions = sum(item.get("decisions", 0) for item in inputs.values())
            rows.setdefault(name, {})[numerics] = {
                "inputs": len(inputs),
                "comparisons": len(ways),
                "decisions": decisions,
                "decisions_compared": sum(
                    item["decisions"] * sum("flips" in row for row in item["ways"].values())
                    for item in inputs.values()
                    if "decisions" in item
                ),
                "firing_rate": sum(item.get("spikes", 0) for item in inputs.values()) / max(1, decisions),
                "most_flips": max((row["flips"] for row in ways), default=None),
                "outputs_equal": all(row["outputs_equal"] for row in ways),
                "top1_equal": all(row["top1_equal"] for row in ways),
                "worst_output_error": max((row["output_relative_l2"] for row in ways), default=None),
                "not_possible": sorted({way for way, row in all_ways if "flips" not in row}),
            }
    total = sum(row["exact"]["decisions"] for row in rows.values() if "exact" in row)
    return {"models": rows, "exact_decisions_in_all": total}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*")
    parser.add_argument("--inputs", type=int, default=3)
    parser.add_argument("--numerics", nargs="+", default=["exact", "float"], choices=["exact", "float"])
    parser.add_argument("--all", action="store_true", help="every way for every input")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/exactness.json"))
    parser.add_argument("--cache", type=Path, help="keeps the artifacts, for a run that is taken up again")
    parser.add_argument("--accuracy", action="store_true", help="also the accuracy of the digits network")
    parser.add_argument("--summary", action="store_true", help="print what the record says")
    given = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as scratch:
        given.cache = given.cache or Path(scratch)
        if given.accuracy:
            accuracy = digits_accuracy()
            with record(given.out) as data:
                data["digits_accuracy"] = accuracy
        for name in given.models:
            spec = load(name)
            captured = nk.capture(spec, merge=spec.merge_reparameterised is not None)
            seeds = list(range(1, given.inputs + 1))
            if "exact" in given.numerics:
                made = nk.exact(captured)
                worst = max(max(layer.bits, layer.membrane_bits or 0.0) for layer in made.proof.layers)
                head = {"proof": made.proof.status, "worst_bits": worst, "notes": list(made.notes)}
                measure(made.captured, spec.name, "exact", seeds, given, head)
            if "float" in given.numerics:
                measure(captured, spec.name, "float", seeds[:1], given, {})
    with record(given.out) as data:
        data["provenance"] = collect()
        data["summary"] = summary(data)
    print(json.dumps(data["summary"], indent=1))


if __name__ == "__main__":
    main()

"""Export of several models, stage by stage, with this checkout and an older one in turn: CPU and wall seconds.

    git worktree add --detach ../before 05c94df
    python benchmarks/export_stages.py ../before [--models NAME[:SIZE] ...] [--repeats 3] [--runs FILE] [--write]

Every run is a process of its own, which exports the model once, and a model of the small ones once more: what a process
does once is in the first figures and not in the second. The two checkouts take turns. Python's bytecode of both is made
before, and garbage that one stage left is not searched for in the next. `capture`, `lower` (to `onnx`) and `vectors`
do what they did; holding the capture against the module (`fidelity`) is new. `eeg` is the small network of
energy_sets.py, `recording` one of 22 electrodes x 1000 samples that come and go with their axes swapped: of both `nir`
(lowering and verifying) and `loihi` (tracing, mapping on loihi1 and pricing one sample) are timed as well. With --write
the medians go to benchmarks/results/export_stages.json and the table of docs/export-speed.md. With --runs every run is
a line of that file as soon as it is made, and one that is there is not made again: what was stopped goes on.
"""

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
MODELS = ("spiking_cnn", "mobilenet_v2:64", "sew_resnet18:64", "metaspikeformer_15m:64", "eeg", "recording")
STAGES = ("capture", "lower", "vectors", "nir", "loihi")
PAGE = ROOT / "docs" / "export-speed.md"
RECORD = ROOT / "benchmarks" / "results" / "export_stages.json"
_START, _END = "<!-- table: benchmarks/export_stages.py -->", "<!-- end -->"


def work(name: str, size: int) -> dict[str, list[float]]:
    """Exports one model with the checkout on the path; returns seconds of every stage.

    Returns:
        Wall and CPU, and of a small model CPU of a second export in the same process.
    """
    rows: dict[str, list[float]] = {}

    def stage(label: str, run: Any) -> Any:
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        made = run()
        spent = time.process_time() - cpu
        rows[label] = [*rows[label], spent] if label in rows else [time.perf_counter() - wall, spent]
        return made

    export(name, size, stage)
    if not size:
        export(name, size, stage)
    return rows


def export(name: str, size: int, stage: Any) -> None:
    """Exports one model; `stage` runs and times every part of it, by its label."""
    import torch

    torch.set_num_threads(1)
    import h5py  # noqa: F401 - imports of libraries are no part of a stage
    import nir  # noqa: F401
    import onnx  # noqa: F401
    import onnxscript  # noqa: F401
    import torch._dynamo
    import torch.export
    import torch.onnx._internal.exporter._core

    import neurokit
    from neurokit.capture import capture
    from neurokit.loading import load
    from neurokit.target import TARGETS, LowerOptions

    # Asked of the checkout itself: an editable installation finds what it lacks in another one.
    if (Path(neurokit.__file__).parent / "parity" / "record_vectors.py").is_file():
        from neurokit.parity.record_vectors import make_vectors
    else:
        from neurokit.vectors import make_vectors  # type: ignore[import-not-found, no-redef]
    if name in ("eeg", "recording"):
        from energy_sets import eeg

        spec: Any = eeg() if name == "eeg" else _recording()
    else:
        spec = load(name)
    if size:
        port = spec.inputs[0]
        key = "sizes" if hasattr(port, "sizes") and "sizes" in port.__dataclass_fields__ else "shape"
        spec = replace(spec, inputs=(replace(port, **{key: (*port.shape[:-2], size, size)}),), example=None)
    module = spec.build()
    spec = replace(spec, build=lambda: module)
    captured = stage("capture", lambda: capture(spec))
    with tempfile.TemporaryDirectory() as folder:
        stage("lower", lambda: TARGETS.get("onnx").lower(captured, Path(folder), LowerOptions()))
    stage("vectors", lambda: make_vectors(captured))
    if name in ("eeg", "recording"):
        _to_chips(captured, spec, stage)


def _recording() -> Any:
    """Returns a network of a recording `[samples, electrodes]`, whose axes it swaps before either convolution."""
    from spikingjelly.activation_based import functional, layer, neuron
    from torch import Tensor, nn

    import neurokit as nk

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.time = layer.Conv2d(1, 8, (1, 64), padding=(0, 32), bias=False)
            self.space = layer.Conv2d(8, 16, (1, 22), groups=8, bias=False)
            self.first, self.second = neuron.LIFNode(v_threshold=0.2), neuron.LIFNode(v_threshold=0.2)

        def forward(self, x: Tensor) -> Tensor:  # [T, B, samples, electrodes]
            h = self.first(self.time(x.transpose(-1, -2).unsqueeze(2)))
            return self.second(self.space(h.transpose(-1, -2))).mean(-1).mean(-1)

    def build() -> nn.Module:
        net = Net()
        functional.set_step_mode(net, "m")
        return net.eval()

    return nk.ModelSpec("recording", build, (nk.TensorSpec("x", (1000, 22)),), time_steps=4)


def _to_chips(captured: Any, spec: Any, stage: Any) -> None:
    """Lowers to NIR, and prices one sample on Loihi."""
    import torch

    import neurokit as nk

    x = torch.rand((spec.time_steps, 1, *spec.inputs[0].shape), generator=torch.Generator().manual_seed(0))
    with tempfile.TemporaryDirectory() as folder, contextlib.suppress(nk.errors.UnsupportedError):
        stage("nir", lambda: nk.lower(captured, "nir", Path(folder) / "nir"))
    stage("loihi", lambda: nk.simulate(captured, [x], ["loihi1"]))


def once(tree: Path, name: str, size: int) -> dict[str, list[float]]:
    """Runs `work` in a process with one checkout."""
    folders = [str(tree / name) for name in ("neurokit", "export", "kernels", "hw_sim")]
    command = [sys.executable, "-W", "ignore", str(Path(__file__).resolve()), "--work", f"{name}:{size}"]
    known = {**os.environ, "PYTHONPATH": str(tree)}
    known.pop("PYTHONDONTWRITEBYTECODE", None)
    subprocess.run([sys.executable, "-m", "compileall", "-q", *folders], cwd=tree, env=known, check=True)
    done = subprocess.run(command, cwd=tree, env=known, capture_output=True, text=True, check=True)
    return json.loads(done.stdout.strip().splitlines()[-1])


def kept(path: Path | None) -> dict[tuple[str, str, int], Any]:
    """Returns the runs of a file: by model, checkout and number of the turn."""
    if path is None or not path.is_file():
        return {}
    lines = (json.loads(line) for line in path.read_text(encoding="utf-8").splitlines())
    return {(line["model"], line["label"], line["turn"]): line["stages"] for line in lines}


def measure(before: Path, models: list[str], repeats: int, path: Path | None = None) -> dict[str, Any]:
    """Returns medians of both checkouts, by model and stage: wall and CPU seconds, and CPU of a second export."""
    found: dict[str, Any] = {}
    made = kept(path)
    for model in models:
        name, _, size = model.partition(":")
        runs: dict[str, list[Any]] = {"before": [], "now": []}
        for turn in range(repeats):
            for label, tree in (("before", before), ("now", ROOT)):
                key = (model, label, turn)
                if key not in made:
                    made[key] = once(tree, name, int(size or 0))
                    if path is not None:
                        line = {"model": model, "label": label, "turn": turn, "stages": made[key]}
                        with path.open("a", encoding="utf-8") as file:
                            file.write(json.dumps(line) + "\n")
                runs[label].append(made[key])
        found[model] = {
            stage: {
                label: [statistics.median(values) for values in zip(*(run[stage] for run in each), strict=True)]
                for label, each in runs.items()
            }
            for stage in STAGES
            if all(stage in run for run in (*runs["before"], *runs["now"]))
        }
        print(model, json.dumps(found[model]), flush=True)
    return found


def table(found: dict[str, Any], repeats: int) -> str:
    """Returns the medians as Markdown."""
    lines = [
        f"Medians of {repeats} run(s) each, in turn, on a shared machine of two cores, one thread; `again`: CPU of a "
        "second export in the process.",
        "",
        "| model | stage | CPU before, s | CPU now, s | ratio | wall before, s | now, s | again before, s | now, s |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for model, stages in found.items():
        for stage, sides in stages.items():
            (wall, cpu, *again), (wall_now, cpu_now, *again_now) = sides["before"], sides["now"]
            figures = f"{cpu:.2f} | {cpu_now:.2f} | {cpu_now / cpu:.2f} | {wall:.1f} | {wall_now:.1f}"
            second = [f"{value:.2f}" for value in (*again, *again_now)] or ["-", "-"]
            lines.append(f"| {model} | {stage} | {figures} | {' | '.join(second)} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", nargs="?", type=Path, help="a checkout of the older commit")
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--runs", type=Path, help="a file that keeps every run, from which a stopped one goes on")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.work:
        name, _, size = given.work.partition(":")
        print(json.dumps(work(name, int(size))))
        return
    if given.before is None:
        parser.error("the older checkout is missing")
    found = measure(given.before, given.models, given.repeats, given.runs)
    made = table(found, given.repeats)
    print(made)
    if given.write:
        from neurokit.provenance import collect

        RECORD.write_text(
            json.dumps({"repeats": given.repeats, "models": found, "provenance": collect()}, indent=1) + "\n"
        )
        head, _, rest = PAGE.read_text(encoding="utf-8").partition(_START)
        PAGE.write_text(f"{head}{_START}\n{made}\n{_END}{rest.partition(_END)[2]}", encoding="utf-8")


if __name__ == "__main__":
    main()

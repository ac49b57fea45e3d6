"""Measures packages of the target `aoti` on a GPU against torch.compile of the same model, parity first.

    python benchmarks/gpu.py --out build/gpu [--models sew_resnet18:1 ...] [--jobs 6] [--limit 560]

Packages are built by several processes at once, then measured one by one: exact (int8 weights, the kernels), float16
(the kernels) and float32 without kernels. The opponent is the whole model in float16, channels last, its neurons
unrolled in plain PyTorch, by torch.compile, replayed like ours from one CUDA graph. An image that is seen at every step
is given once, and both convolve it once. An exact package must have the
bits of the exact program in float32 on the same GPU, where sums have the same bits in every order; a float16 one is
compared in relative L2. Figures are written after every one; what a time limit leaves out is said.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODELS = ("metaspikeformer_31m:32", "metaspikeformer_31m:1", "sew_resnet18:32", "sew_resnet18:1")
VARIANTS = {
    "exact": ("exact", {}),
    "float16": ("float", {"precision": "float16"}),
    "plain": ("float", {"kernels": "none"}),
}
_REPLAYS = 20


def toolkit() -> None:
    """Makes CUDA's headers and libraries of the wheels a toolkit, where none is installed: AOTInductor links to it."""
    if os.environ.get("CUDA_HOME") or Path("/usr/local/cuda/include/cuda.h").exists():
        return
    import importlib.util

    found = importlib.util.find_spec("nvidia")
    roots = [Path(place) for place in (found.submodule_search_locations or [])] if found else []
    headers = next((path.parent for root in roots for path in sorted(root.glob("*/include/cuda.h"))), None)
    if headers is None:
        return
    home = Path.home() / ".neurokit-cuda"
    (home / "lib64").mkdir(parents=True, exist_ok=True)
    _link(home / "include", headers)
    libraries = [path for root in roots for path in root.glob("*/lib/lib*.so*")]
    libraries += [
        path for folder in ("/usr/lib/x86_64-linux-gnu", "/usr/lib64") for path in Path(folder).glob("libcuda.so*")
    ]
    for path in libraries:
        _link(home / "lib64" / path.name, path)
        _link(home / "lib64" / (path.name.partition(".so")[0] + ".so"), path)
    os.environ["CUDA_HOME"] = str(home)
    os.environ["LIBRARY_PATH"] = f"{home / 'lib64'}:{os.environ.get('LIBRARY_PATH', '')}"
    os.environ["CPATH"] = f"{home / 'include'}:{os.environ.get('CPATH', '')}"


def _link(place: Path, target: Path) -> None:
    if not place.exists():
        place.symlink_to(target)


def folder_of(out: Path, name: str, variant: str) -> Path:
    """Returns where a package of a model (`NAME:BATCH`) is built."""
    return out / f"{name.replace(':', '-')}-{variant}"


def spec_of(name: str) -> tuple[Any, int]:
    """Returns what `NAME:BATCH` names: a specification that is given one image where it sees one, and the batch."""
    from neurokit.loading import load
    from neurokit.transforms import transform
    from neurokit.transforms.still_image import StillImage

    model, _, batch = name.rpartition(":")
    spec = load(model)
    still = not StillImage().check(spec, {})
    return transform(spec, ["still_image"]) if still else spec, int(batch)


def program_of(name: str, variant: str) -> Any:
    """Returns a model's captured program for its batch, in exact numerics or as it is."""
    from neurokit.capture import capture
    from neurokit.exact import exact, refuse

    spec, batch = spec_of(name)
    captured = capture(spec)
    if VARIANTS[variant][0] == "exact":
        made = exact(captured)
        refuse(made)
        captured = made.captured
    return captured.retrace(batch=batch)


def build(out: Path, name: str, variant: str) -> None:
    """Builds one package, keeps its program's outputs on drawn inputs, and writes what it took."""
    import torch

    from neurokit.capture.reference import example_inputs
    from neurokit.export.aoti.build import build as compile_package
    from neurokit.export.aoti.settings import Settings
    from neurokit.target import LowerOptions

    folder = folder_of(out, name, variant)
    folder.mkdir(parents=True, exist_ok=True)
    numerics, extra = VARIANTS[variant]
    start = time.monotonic()
    print("building", flush=True)
    captured = program_of(name, variant)
    made = time.monotonic()
    print(f"captured after {made - start:.1f} s", flush=True)
    settings = Settings.of(LowerOptions(numerics, extra={"device": "cuda", **extra}))
    entries = compile_package(captured, folder, settings, numerics == "exact", probing=False)
    compiled = time.monotonic()
    print(f"compiled after {compiled - made:.1f} s", flush=True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.enabled = False  # it may take Winograd's way, whose sums of whole numbers are rounded
    feeds = example_inputs(captured.spec, captured.known_steps, captured.batch, 1)
    given = [feeds[port.name].cuda() for port in captured.spec.inputs]
    states = [state.cuda() for state in captured.initial_states(captured.batch)]
    module = captured.program.module().cuda()
    with torch.no_grad():
        wanted = module(*given, *states)[: len(captured.output_names)]
    torch.save({"given": [x.cpu() for x in given], "wanted": [y.cpu() for y in wanted]}, folder / "vectors.pt")
    kernels = [row["kernel"] for row in entries["target_info"]["kernels"]]
    said = {
        "capture_seconds": made - start,
        "compile_seconds": compiled - made,
        "kernels": {k or "plain": kernels.count(k) for k in set(kernels)},
    }
    (folder / "built.json").write_text(json.dumps(said))


def measure(out: Path, name: str, variant: str) -> dict[str, Any]:
    """Compares a package with its program, then times it."""
    import torch

    from neurokit.export.aoti.run import called as opened

    folder = folder_of(out, name, variant)
    row: dict[str, Any] = json.loads((folder / "built.json").read_text())
    kept = torch.load(folder / "vectors.pt")
    given = [x.cuda() for x in kept["given"]]
    run = opened(folder / "model.pt2", "model", "cuda")
    with torch.no_grad():
        found = [y.cpu() for y in run(*given)]
    row["differing"] = sum(int((a != b).sum()) for a, b in zip(found, kept["wanted"], strict=True))
    row["relative_l2"] = max(float((a - b).norm() / b.norm()) for a, b in zip(found, kept["wanted"], strict=True))
    torch.cuda.reset_peak_memory_stats()
    row["seconds"], row["by"] = timed(lambda: run(*given))
    row["peak_bytes"] = torch.cuda.max_memory_allocated()
    return row


def opponent(name: str, mode: str) -> dict[str, Any]:
    """Times torch.compile of the model in float16, channels last, with unrolled neurons."""
    import torch

    from neurokit.capture.reference import example_inputs

    spec, batch = spec_of(name)
    module = in_its_type(unrolled(spec.build().eval()).half().cuda().to(memory_format=torch.channels_last))
    if spec.time_steps and spec.time_input == "image":
        convolved_once(module, spec.time_steps)
    feeds = example_inputs(spec, spec.time_steps, batch, 1)
    given = [feeds[port.name].half().cuda() for port in spec.inputs]
    given = [x.contiguous(memory_format=torch.channels_last) if x.dim() == 4 else x for x in given]
    run = torch.compile(module, mode=mode, dynamic=False)
    start = time.monotonic()
    with torch.no_grad():
        for _ in range(3):
            run(*given)
        torch.cuda.synchronize()
        compiling = time.monotonic() - start
        torch.cuda.reset_peak_memory_stats()
        # Modes with graphs of their own replay them in parts, with Python in between.
        replays = mode in ("reduce-overhead", "max-autotune")
        seconds, by = (called(lambda: run(*given)), "called") if replays else timed(lambda: run(*given))
    peak = torch.cuda.max_memory_allocated()
    return {"mode": mode, "seconds": seconds, "by": by, "compile_seconds": compiling, "peak_bytes": peak}


def apart(arguments: argparse.Namespace, name: str, what: str) -> dict[str, Any]:
    """Measures in a process of its own: a package that crashes costs its row alone, and time that is up ends it."""
    job = ["--opponent", name, "--mode", arguments.mode] if what == "torch.compile" else ["--measure", name, what]
    command = [sys.executable, "-X", "faulthandler", __file__, "--out", str(arguments.out), *job]
    left = max(10.0, arguments.deadline - time.monotonic() - 10)
    done = subprocess.run(command, capture_output=True, text=True, timeout=left, check=False)
    if done.returncode:
        return {"error": f"ended with status {done.returncode}: {done.stderr[-1500:]}"}
    return dict(json.loads(done.stdout.strip().splitlines()[-1]))


def unrolled(module: Any) -> Any:
    """Puts plain PyTorch in the place of SpikingJelly's IF and LIF, which Inductor fuses with what is around."""
    import torch
    from spikingjelly.activation_based import neuron
    from torch import nn

    class Plain(nn.Module):
        def __init__(self, of: Any) -> None:
            super().__init__()
            self.tau, self.threshold, self.reset = getattr(of, "tau", None), of.v_threshold, of.v_reset
            self.decay_input = getattr(of, "decay_input", True)

        def forward(self, x: Any) -> Any:
            rest = self.reset or 0.0
            v = torch.full_like(x[0], rest, dtype=torch.float32)
            spikes = []
            for now in x.float():
                leak = 0.0 if self.tau is None else (v - rest) / self.tau
                v = v - leak + (now / self.tau if self.tau is not None and self.decay_input else now)
                fired = v >= self.threshold
                spikes.append(fired.to(x.dtype))
                v = torch.where(fired, v - self.threshold if self.reset is None else rest, v)
            return torch.stack(spikes)

    for part in list(module.modules()):
        for child_name, child in part.named_children():
            if isinstance(child, neuron.IFNode | neuron.LIFNode):
                setattr(part, child_name, Plain(child))
    return module


def in_its_type(module: Any) -> Any:
    """Casts what convolutions and linear layers are given to their weights' type: a front end puts out float32."""
    from torch import nn

    for part in module.modules():
        if isinstance(part, nn.Conv2d | nn.Linear):
            part.register_forward_pre_hook(lambda layer, given: tuple(x.to(layer.weight.dtype) for x in given))
    return module


def convolved_once(module: Any, steps: int) -> None:
    """Has the first convolution, which is given equal steps `[T * B, C, H, W]` or `[T, B, ...]`, compute one."""
    from torch import nn

    class Once(nn.Module):
        def __init__(self, conv: Any) -> None:
            super().__init__()
            self.conv = conv

        def forward(self, x: Any) -> Any:
            return self.conv(x[: len(x) // steps]).repeat(steps, *[1] * (x.dim() - 1))

    path = next(path for path, part in module.named_modules() if isinstance(part, nn.Conv2d))
    module.set_submodule(path, Once(module.get_submodule(path)))


def timed(work: Callable[[], Any]) -> tuple[float, str]:
    """Returns the median seconds of a call: replayed from a CUDA graph, or called where it cannot be captured."""
    from gpu_timing import graph_time

    try:
        return graph_time(work), "graph replay"
    except Exception as error:
        return called(work), f"called ({type(error).__name__}: {str(error).splitlines()[0][:80]})"


def called(work: Callable[[], Any]) -> float:
    """Returns the median seconds between events around calls."""
    import statistics

    import torch

    times = []
    for _ in range(_REPLAYS):
        first, last = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
        first.record()
        work()
        last.record()
        last.synchronize()
        times.append(first.elapsed_time(last) * 1e-3)
    return statistics.median(times)


def start_builds(arguments: argparse.Namespace) -> dict[tuple[str, str], subprocess.Popen[bytes]]:
    """Starts the processes that build, a few at a time; returns those that ran, ended."""
    waiting = [(name, variant) for name in arguments.models for variant in arguments.variants]
    running: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
    ended: dict[tuple[str, str], subprocess.Popen[bytes]] = {}
    while (waiting or running) and time.monotonic() < arguments.deadline - arguments.reserve:
        while waiting and len(running) < arguments.jobs:
            key = waiting.pop(0)
            folder_of(arguments.out, *key).mkdir(parents=True, exist_ok=True)
            log = (folder_of(arguments.out, *key) / "log.txt").open("wb")
            command = [sys.executable, __file__, "--out", str(arguments.out), "--build", *key]
            threads = str(max(1, (os.cpu_count() or 1) // arguments.jobs))
            environment = {**os.environ, "OMP_NUM_THREADS": threads, "TORCHINDUCTOR_COMPILE_THREADS": threads}
            running[key] = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        for key in [key for key, process in running.items() if process.poll() is not None]:
            ended[key] = running.pop(key)
            print("built" if ended[key].returncode == 0 else "FAILED", *key, flush=True)
        time.sleep(0.5)
    for process in running.values():
        process.kill()
    return ended


def main() -> None:
    """Builds and measures what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--models", nargs="+", default=list(MODELS))
    parser.add_argument("--variants", nargs="+", default=list(VARIANTS))
    parser.add_argument("--jobs", type=int, default=6)
    parser.add_argument("--limit", type=float, default=560.0, help="seconds in all")
    parser.add_argument("--reserve", type=float, default=60.0, help="seconds kept for measuring")
    parser.add_argument("--mode", default="max-autotune-no-cudagraphs", help="of torch.compile")
    parser.add_argument("--opponent", metavar="MODEL:BATCH")
    parser.add_argument("--measure", nargs=2, metavar=("MODEL:BATCH", "VARIANT"))
    parser.add_argument("--build", nargs=2, metavar=("MODEL:BATCH", "VARIANT"))
    arguments = parser.parse_args()
    toolkit()
    if arguments.build:
        build(arguments.out, *arguments.build)
        return
    if arguments.measure:
        print(json.dumps(measure(arguments.out, *arguments.measure)))
        return
    if arguments.opponent:
        print(json.dumps(opponent(arguments.opponent, arguments.mode)))
        return
    arguments.deadline = time.monotonic() + arguments.limit
    import torch

    ended = start_builds(arguments)
    record: dict[str, Any] = {
        "gpu": torch.cuda.get_device_name(),
        "torch": torch.__version__,
        "kind": "measured",
        "rows": [],
    }
    for name in arguments.models:
        for what in (*arguments.variants, "torch.compile"):
            row = measured(arguments, name, what, ended.get((name, what)))
            record["rows"].append(row)
            (arguments.out / "gpu.json").write_text(json.dumps(record, indent=1))
            print(json.dumps(row)[:600], flush=True)


def measured(arguments: argparse.Namespace, name: str, what: str, done: Any) -> dict[str, Any]:
    """Returns one row, or why there is none."""
    row: dict[str, Any] = {"model": name, "what": what}
    if what != "torch.compile" and (done is None or done.returncode):
        log = folder_of(arguments.out, name, what) / "log.txt"
        return {**row, "error": log.read_text(errors="replace")[-1500:] if log.exists() else "not built: time"}
    if time.monotonic() > arguments.deadline - 20:
        return {**row, "error": "not measured: time"}
    try:
        return row | apart(arguments, name, what)
    except Exception as error:
        return {**row, "error": f"{type(error).__name__}: {str(error)[:1500]}"}


if __name__ == "__main__":
    main()

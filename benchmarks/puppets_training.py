"""Trains the puppets' networks on synthetic silhouettes: float, converted to few steps, and spiking from the start.

    python benchmarks/puppets_training.py --device cuda --out DIR
    python benchmarks/puppets_training.py --parts float --epochs 30 --out DIR      # on a CPU
    python benchmarks/puppets_training.py --parts 4 4:8 --weights FLOAT --seconds 120 --device cuda --out DIR

Writes weights (.safetensors) and training.json; `puppets_spiking.py` measures what they are worth. 15 x 200 pictures to
train on, 15 x 50 to test, with poses that do not overlap (`neurokit.data.puppets`), and as many of another seed to
choose by. The parts run side by side.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from neurokit.data.puppets import render
from neurokit.loading import load
from neurokit.transforms.qcfs.convert import converted
from neurokit.transforms.qcfs.finetune import Training, one_cycle

FLOAT = "puppets_mobilenet_v2_035"
DIRECT = ("puppets_spiking_mobilenet_v2", "puppets_sew_resnet34", "puppets_ms_resnet34")
EPOCHS = {1: 120, 2: 100, 4: 90, 8: 45, 16: 20, 32: 8}  # of the spiking network, by T
LEVEL_EPOCHS, FLOAT_EPOCHS, DIRECT_EPOCHS = 50, 60, 60
ALL = (*DIRECT, "float", "1", "2", "4", "8")
_ENOUGH = 100_000  # epochs, where seconds are the limit
_LEVELS_SHARE = 0.25  # of a conversion's seconds


def main() -> None:
    """Runs one part, or several as processes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--parts", nargs="+", default=ALL, help="float, T or T:L (by L levels instead of T), a spiking zoo name"
    )
    parser.add_argument("--epochs", type=int, help="another number of passes")
    parser.add_argument("--seconds", type=float, help="seconds of each part, in the place of passes")
    parser.add_argument("--batch", type=int, default=64, help="pictures a step, of a conversion")
    parser.add_argument("--rate", type=float, default=2e-3, help="largest learning rate, of a conversion")
    parser.add_argument("--tag", default="", help="behind the name of what a conversion writes")
    parser.add_argument("--no-record", action="store_true", help="no CUDA graphs")
    parser.add_argument("--weights", type=Path, help="weights of the float network, where it is trained already")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    torch.backends.cudnn.benchmark = True
    if given.weights is not None and not (given.out / f"{FLOAT}.safetensors").exists():
        shutil.copyfile(given.weights, given.out / f"{FLOAT}.safetensors")
    if len(given.parts) > 1:
        several(given)
        return
    (part,) = given.parts
    if part == "float":
        said = train_float(given)
    elif part[0].isdigit():
        steps, _, levels = part.partition(":")
        said = train_converted(given, int(steps), int(levels or 0))
    else:
        said = train_direct(given, part)
    (given.out / f"training-{said['network']}.json").write_text(json.dumps(said))
    print(json.dumps(said), flush=True)


def several(given: argparse.Namespace) -> None:
    """Trains the float network and those that spike from the start at once, and then the converted ones."""
    own = [sys.executable, __file__, "--out", str(given.out), "--device", given.device]
    own += [f"--batch={given.batch}", f"--rate={given.rate}", *(["--no-record"] if given.no_record else [])]
    own += [f"--{name}={getattr(given, name)}" for name in ("epochs", "seconds") if getattr(given, name) is not None]
    running = [subprocess.Popen([*own, "--parts", name]) for name in given.parts if name in DIRECT]
    if "float" in given.parts:
        subprocess.run([*own, "--parts", "float"], check=True)
    running += [subprocess.Popen([*own, "--parts", name]) for name in given.parts if name[0].isdigit()]
    for process in running:
        process.wait()
    said = [json.loads(path.read_text()) for path in sorted(given.out.glob("training-*.json"))]
    device = torch.cuda.get_device_name() if given.device == "cuda" else "CPU"
    (given.out / "training.json").write_text(json.dumps({"device": device, "parts": said}, indent=1) + "\n")


def data(split: str, device: str = "cpu") -> tuple[Tensor, Tensor]:
    """Returns pictures, uint8 `[N, 1, 64, 64]`, and classes `[N]`, of the split "train", "test" or "choice"."""
    count, seed = (200, 0) if split == "train" else (50, int(split == "choice"))
    x, y = render("train" if split == "train" else "test", count, 64, seed)
    return torch.from_numpy(x).unsqueeze(1).to(device), torch.from_numpy(y).long().to(device)


def posed(x: Tensor) -> Tensor:
    """Turns, scales, shears, moves and mirrors pictures a little; uint8 in and out."""
    n, device = len(x), x.device

    def around(width: float) -> Tensor:
        return (torch.rand(n, device=device) - 0.5) * 2 * width

    turn, size, mirror = around(0.3), 1 + around(0.15), torch.where(torch.rand(n, device=device) < 0.5, -1.0, 1.0)
    rows = [
        torch.stack([mirror * size * turn.cos(), -size * (turn.sin() + around(0.1)), around(0.12)], 1),
        torch.stack([mirror * size * turn.sin(), size * turn.cos(), around(0.12)], 1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(x.shape), align_corners=False)
    return F.grid_sample(x.float(), grid, padding_mode="border", align_corners=False).byte()


def fit(
    module: nn.Module,
    x: Tensor,
    y: Tensor,
    epochs: int,
    rate: float,
    sequence: Callable[[Tensor], Tensor],
    seconds: float = math.inf,
) -> None:
    """Trains a classifier from its first weights: AdamW, one cycle, smoothed labels."""
    optimiser = torch.optim.AdamW(module.parameters(), rate, weight_decay=0.05)
    begun, done = time.perf_counter(), 0
    module.train()
    for _ in range(epochs):
        for rows in torch.randperm(len(x), device=x.device).split(64):
            share = max(done / (epochs * len(x)), (time.perf_counter() - begun) / seconds)
            if share >= 1:
                break
            done += len(rows)
            for group in optimiser.param_groups:
                group["lr"] = rate * one_cycle(share, 0.2)
            loss = F.cross_entropy(module(sequence(posed(x[rows]))), y[rows], label_smoothing=0.1)
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 5.0)
            optimiser.step()
            functional.reset_net(module)
    module.eval()


def _repeated(steps: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.unsqueeze(0).expand(steps, *x.shape)


def accuracy(module: nn.Module, x: Tensor, y: Tensor, sequence: Callable[[Tensor], Tensor]) -> float:
    """Returns the share of right answers."""
    right = 0
    with torch.no_grad():
        for rows in torch.arange(len(x)).split(125):
            functional.reset_net(module)
            right += int((module(sequence(x[rows])).argmax(1) == y[rows]).sum())
    functional.reset_net(module)
    return right / len(x)


def _repeated(steps: int) -> Callable[[Tensor], Tensor]:
    return lambda x: x.unsqueeze(0).expand(steps, *x.shape)


def _trained(given: argparse.Namespace, name: str, epochs: int, steps: int | None) -> dict[str, Any]:
    begun = time.perf_counter()
    torch.manual_seed(0)
    module = load(name).build().to(given.device)
    shown = (lambda x: x) if steps is None else _repeated(steps)
    fit(module, *data("train", given.device), epochs, 3e-3, shown, given.seconds or math.inf)
    right = _worth(module, given.device, shown)
    save_file(module.cpu().state_dict(), given.out / f"{name}.safetensors")
    return {"network": name, "time_steps": steps, **right, "seconds": time.perf_counter() - begun}


def _worth(module: nn.Module, device: str, sequence: Callable[[Tensor], Tensor]) -> dict[str, float]:
    return {
        name: accuracy(module, *data(split, device), sequence)
        for name, split in (("accuracy", "test"), ("choice", "choice"))
    }


def _epochs(given: argparse.Namespace, default: int) -> int:
    return given.epochs or (_ENOUGH if given.seconds else default)


def train_float(given: argparse.Namespace) -> dict[str, Any]:
    """Trains MobileNetV2 of width 0.35 without spikes."""
    return _trained(given, FLOAT, _epochs(given, FLOAT_EPOCHS), None)


def train_direct(given: argparse.Namespace, name: str) -> dict[str, Any]:
    """Trains a spiking network from its first weights, with surrogate gradients."""
    return _trained(given, name, _epochs(given, DIRECT_EPOCHS), 4)


def train_converted(given: argparse.Namespace, steps: int, levels: int) -> dict[str, Any]:
    """Converts the float network to T steps, by way of L levels (0: T), and trains it on."""
    begun = time.perf_counter()
    name = f"qcfs-{steps}" + (f"-of-{levels}" if levels else "") + given.tag
    spec = load(FLOAT, weights=given.out / f"{FLOAT}.safetensors")
    x, y = data("train")
    training = Training(
        _epochs(given, LEVEL_EPOCHS),
        _epochs(given, EPOCHS[steps]),
        given.rate,
        given.batch,
        augment=posed,
        device=given.device,
        seconds=given.seconds and _LEVELS_SHARE * given.seconds,
        spiking_seconds=given.seconds and (1 - _LEVELS_SHARE) * given.seconds,
        recorded=given.device != "cpu" and not given.no_record,
    )
    calibration = x[torch.randperm(len(x), generator=torch.Generator().manual_seed(0))[:256]]
    keep = given.out / f"{name}.safetensors"
    try:
        done = converted(spec, steps, calibration, levels=levels, data=(x, y), training=training, keep=keep)
    except RuntimeError as error:
        if not training.recorded:
            raise
        print(f"{name}: steps cannot be recorded ({error}); they are launched one by one", file=sys.stderr, flush=True)
        left = [] if given.seconds is None else [f"--seconds={given.seconds - (time.perf_counter() - begun)}"]
        os.execv(sys.executable, [sys.executable, *sys.argv, "--no-record", *left])  # CUDA may be of no more use here
    right = _worth(done.spec.build().to(given.device), given.device, _repeated(steps))
    seconds = time.perf_counter() - begun
    return {"network": name, "time_steps": steps, **right, "seconds": seconds, "notes": done.notes}


if __name__ == "__main__":
    main()

"""Gives the same networks to several exporters and says what came of it; writes docs/comparison.md's table.

    python benchmarks/comparison.py --out benchmarks/results/comparison.md

Every exporter is called as its documentation says, once with one sample as the example and the batch declared free.
Its file is then run by ONNX Runtime on two fresh batches, of 1 and of 5 samples, and each is compared with the module
itself in PyTorch, which keeps nothing from an earlier call. A second table streams: a module that computes one time
step a call and keeps its membranes is called four times, and so is each file; the fourth answers are compared.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

STEPS, SHAPE = 4, (1, 8, 8)


def stateless() -> nn.Module:
    """A convolutional network without state."""
    return nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(512, 10))


class Loop(nn.Module):
    """SpikingJelly's tutorial style: single-step neurons in a loop over time, reset at its start."""

    def __init__(self) -> None:
        super().__init__()
        from spikingjelly.activation_based import neuron

        self.conv, self.spike = nn.Conv2d(1, 8, 3, padding=1), neuron.LIFNode(tau=2.0)
        self.fc, self.out = nn.Linear(512, 10), neuron.IFNode()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns one output a sample."""
        from spikingjelly.activation_based import functional

        functional.reset_net(self)
        total = torch.zeros(())
        for _ in range(STEPS):
            total = total + self.out(self.fc(self.spike(self.conv(image)).flatten(1)))
        return total / STEPS


class SnnTorch(nn.Module):
    """snnTorch's tutorial style: explicit membranes, spikes stacked over time."""

    def __init__(self) -> None:
        super().__init__()
        import snntorch

        self.fc1, self.fc2 = nn.Linear(64, 32), nn.Linear(32, 10)
        self.lif1, self.lif2 = snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.9)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns one output a sample."""
        mem1, mem2, spikes = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for _ in range(STEPS):
            spk1, mem1 = self.lif1(self.fc1(image.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
        return torch.stack(spikes).mean(0)


def norse_network() -> nn.Module:
    """Norse's style: cells that return spikes and state, a loop over time."""
    import norse.torch as norse

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.fc, self.lif = nn.Linear(64, 10), norse.LIFBoxCell()

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            state, total = None, torch.zeros(())
            for _ in range(STEPS):
                spikes, state = self.lif(self.fc(4 * image.flatten(1)), state)
                total = total + spikes
            return total

    return Net()


def multi_step() -> nn.Module:
    """SpikingJelly's multi-step modules, spikes of T steps at once."""
    from spikingjelly.activation_based import functional, layer, neuron

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.body = nn.Sequential(
                layer.Conv2d(1, 8, 3, padding=1),
                neuron.LIFNode(),
                layer.Flatten(),
                layer.Linear(512, 10),
                neuron.IFNode(),
            )
            functional.set_step_mode(self, "m")

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            functional.reset_net(self)
            return self.body(image.unsqueeze(0).repeat(STEPS, 1, 1, 1, 1)).mean(0)

    return Net()


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "a CNN without state": stateless,
    "SpikingJelly, loop over time": Loop,
    "SpikingJelly, multi-step": multi_step,
    "snnTorch, loop over time": SnnTorch,
    "norse, loop over time": norse_network,
}


def dynamo(module: nn.Module, example: torch.Tensor, folder: Path) -> Path:
    """torch.onnx.export through torch.export, its default."""
    path = folder / "model.onnx"
    batch = torch.export.Dim("B", min=1, max=64)
    torch.onnx.export(module, (example,), path, dynamo=True, dynamic_shapes=({0: batch},), verbose=False)
    return path


def torchscript(module: nn.Module, example: torch.Tensor, folder: Path) -> Path:
    """torch.onnx.export by tracing, the older way."""
    path = folder / "model.onnx"
    axes = {"x": {0: "B"}}
    torch.onnx.export(module, (example,), path, dynamo=False, input_names=["x"], dynamic_axes=axes)
    return path


def ours(module: nn.Module, example: torch.Tensor, folder: Path) -> Path:
    """Neurokit export --target onnx --flat."""
    import neurokit as nk

    spec = nk.load(module, input_shape=SHAPE)
    artifact = nk.lower(nk.capture(spec), "onnx", folder / "artifact", flat=True)
    return next(Path(artifact.path).glob("*.onnx"))


EXPORTERS: dict[str, Callable[..., Path]] = {
    "torch.onnx.export (dynamo)": dynamo,
    "torch.onnx.export (TorchScript)": torchscript,
    "neurokit": ours,
}


def worst(path: Path, build: Callable[[], nn.Module]) -> str:
    """Returns the largest relative error on fresh batches, or why the file does not run on one."""
    import onnxruntime as ort

    ort.set_default_logger_severity(4)
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    names = [port.name for port in session.get_inputs()]
    errors = []
    for batch in (1, 5):
        x = np.random.default_rng(batch).random((batch, *SHAPE), dtype=np.float32)
        right = fresh(build)(torch.from_numpy(x)).detach().numpy()
        try:
            answer = session.run(None, {names[0]: x})[0]
        except Exception as error:
            return f"does not run with a batch of {batch} ({type(error).__name__})"
        if answer.shape != right.shape:
            return f"answers {list(answer.shape)} for {list(right.shape)}"
        errors.append(float(np.linalg.norm(answer - right) / max(np.linalg.norm(right), 1e-12)))
    return f"{max(errors):.1e}"


class OneStep(nn.Module):
    """One time step a call; the membranes stay in the module from call to call."""

    def __init__(self) -> None:
        super().__init__()
        from spikingjelly.activation_based import neuron

        self.fc1, self.spike = nn.Linear(64, 32), neuron.LIFNode(tau=4.0)
        self.fc2, self.out = nn.Linear(32, 10), neuron.LIFNode(tau=4.0)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        """Returns one output a sample."""
        return self.out(10 * self.fc2(self.spike(self.fc1(20 * image.flatten(1)))))


def stream(exporter: str) -> list[str]:
    """Returns how far the fourth call of one exporter's file is from the fourth of the module."""
    import neurokit as nk

    calls = [np.random.default_rng(call).random((1, *SHAPE), dtype=np.float32) for call in range(STEPS)]
    module = fresh(OneStep)
    right = [module(torch.from_numpy(x)).detach().numpy() for x in calls][-1]
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            if exporter == "neurokit":
                made = nk.lower(nk.capture(nk.load(fresh(OneStep), input_shape=SHAPE)), "onnx-step", Path(folder) / "a")
                with nk.open(made) as runner:
                    runner.reset(batch=1)
                    answer = [runner.step(x) for x in calls][-1]
            else:
                import onnxruntime as ort

                path = EXPORTERS[exporter](fresh(OneStep), torch.rand(2, *SHAPE), Path(folder))
                session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
                answer = [session.run(None, {session.get_inputs()[0].name: x})[0] for x in calls][-1]
        except Exception as error:
            return [exporter, f"refused: {type(error).__name__}: {' '.join(str(error).split())[:80]}".replace("|", "/")]
    different = int((np.asarray(answer) != right).sum())
    return [exporter, f"{different} of {right.size} spikes differ ({int(right.sum())} in PyTorch)"]


def fresh(build: Callable[[], nn.Module]) -> nn.Module:
    """Returns the network with the same weights every time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build().eval()


def row(network: str, exporter: str) -> list[str]:
    """Returns what one exporter made of one network."""
    import onnx

    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        start = time.process_time()
        try:
            path = EXPORTERS[exporter](fresh(NETWORKS[network]), torch.rand(2, *SHAPE), Path(folder))
        except Exception as error:
            first = " ".join(str(error).split())[:80].replace("|", "/")
            return [network, exporter, f"refused: {type(error).__name__}: {first}", "", ""]
        seconds = time.process_time() - start
        nodes = str(len(onnx.load(path, load_external_data=False).graph.node))
        return [network, exporter, worst(path, NETWORKS[network]), nodes, f"{seconds:.1f}"]


HEAD = ["network", "exporter", "largest relative error of fresh answers", "nodes", "CPU s"]


def table(head: list[str], rows: list[list[Any]]) -> str:
    """Returns the rows as Markdown."""
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/comparison.md"))
    arguments = parser.parse_args()
    for exporter in EXPORTERS:  # what is loaded at the first call is in no row
        row(next(iter(NETWORKS)), exporter)
    rows = [row(network, exporter) for network in NETWORKS for exporter in EXPORTERS]
    text = (
        "# Exporters on the same networks\n"
        f"`python benchmarks/comparison.py`; torch {torch.__version__}, T = {STEPS}, float32, against the module in"
        " PyTorch. neurokit's time includes its verification.\n\n"
    )
    streams = table(["exporter", "fourth call of a stream"], [stream(exporter) for exporter in EXPORTERS])
    text += f"{table(HEAD, rows)}\n\n## A stream of single steps\n{streams}\n"
    arguments.out.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""Counts of NeuroBench on one snnTorch network, for `tests/data/neurobench.json`; run where neurobench is installed.

pip install neurobench==2.3.0 snntorch && python benchmarks/counts/neurobench_counts.py > tests/data/neurobench.json
"""

from __future__ import annotations

import json
import sys

import snntorch as snn
import torch
from torch import nn

STEPS, SHAPE = 10, (2, 12, 12)


class Net(nn.Module):
    """Two convolutions, one grouped, and a fully connected layer, each behind leaky neurons; one step at a time."""

    def __init__(self) -> None:
        super().__init__()
        leaky = {"beta": 0.9, "threshold": 0.5, "init_hidden": True}
        self.c1, self.n1 = nn.Conv2d(2, 6, 3, padding=1, stride=2, bias=False), snn.Leaky(**leaky)
        self.c2, self.n2 = nn.Conv2d(6, 8, 3, padding=1, groups=2, bias=False), snn.Leaky(**leaky)
        self.fc, self.n3 = nn.Linear(8 * 36, 5, bias=False), snn.Leaky(**leaky)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Returns the spikes of one step."""
        x = self.n2(self.c2(self.n1(self.c1(x))))
        return self.n3(self.fc(x.flatten(1)))


def build() -> nn.Module:
    """Returns the network with weights that follow from a seed."""
    torch.manual_seed(3)
    net = Net().eval()
    with torch.no_grad():
        for weight in net.parameters():
            if weight.dim() > 1:
                weight.copy_((torch.rand(weight.shape) - 0.35) * 3 / weight[0].numel() ** 0.5)
    return net


def example() -> torch.Tensor:
    """Returns the input, `[T, 1, 2, 12, 12]`."""
    generator = torch.Generator().manual_seed(7)
    return (torch.rand(STEPS, 1, *SHAPE, generator=generator) < 0.1).float()


class Wrapped(nn.Module):
    """The network as NeuroBench calls it."""

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None]:
        """Returns the spikes of one step, and no state."""
        return self.net(x), None

    def reset(self) -> None:
        """Sets every neuron back."""
        for part in self.net.modules():
            if isinstance(part, snn.Leaky):
                part.reset_mem()


def main() -> None:
    from neurobench.benchmarks import Benchmark
    from neurobench.metrics import workload
    from neurobench.models import SNNTorchModel
    from torch.utils.data import DataLoader, TensorDataset

    data = TensorDataset(example().transpose(0, 1), torch.zeros(1, dtype=torch.long))
    metrics = [workload.ActivationSparsity, workload.SynapticOperations, workload.MembraneUpdates]
    bench = Benchmark(SNNTorchModel(Wrapped(build())), DataLoader(data, batch_size=1), [], [], [[], metrics])
    json.dump(bench.run(quiet=True), sys.stdout, indent=1)


if __name__ == "__main__":
    main()

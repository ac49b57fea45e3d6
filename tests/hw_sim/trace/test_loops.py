"""A network is priced as the same network written otherwise: time loops in Python, recorded states, other libraries."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.hw_sim.trace import trace

STEPS = 6


def lively(net: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            values = torch.rand(parameter.shape, generator=generator) - 0.3
            parameter.data = values * 4 / parameter[0].numel() ** 0.5
    return net.eval()


def counted(net: nn.Module, x: torch.Tensor, time_input: str = "sequence") -> dict[str, int]:
    shape = tuple(x.shape[1:] if time_input == "image" else x.shape[2:])
    spec = nk.ModelSpec("net", lambda: net, (nk.TensorSpec("x", shape),), time_steps=STEPS, time_input=time_input)
    load = trace(capture(spec), x)
    assert load.network.uncounted == ()
    totals = load.totals()
    totals |= {p.name: p.size for p in load.network.neurons}
    return totals


class Net(nn.Module):
    """Convolution, pooling and a fully connected layer, each behind neurons."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.conv, self.a = layer.Conv2d(2, 4, 3, padding=1, bias=False), neuron.LIFNode(v_threshold=0.4)
        self.pool, self.flat = layer.MaxPool2d(2), layer.Flatten()
        self.fc, self.b = layer.Linear(36, 5, bias=False), neuron.IFNode(v_threshold=0.4)
        functional.set_step_mode(self, mode)

    def once(self, x: torch.Tensor) -> torch.Tensor:
        return self.b(self.fc(self.flat(self.pool(self.a(self.conv(x))))))


class Whole(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.once(x)


class Stacked(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.stack([self.once(step) for step in x])


class Summed(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        total = 0.0
        for t in range(x.shape[0]):
            total = total + self.once(x[t])
        return total / x.shape[0]


class Averaged(Net):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.once(x).mean(0)


@pytest.fixture(scope="module")
def spikes() -> torch.Tensor:
    return (torch.rand(STEPS, 1, 2, 6, 6, generator=torch.Generator().manual_seed(3)) < 0.4).float()


@pytest.mark.parametrize(("loop", "whole"), [(Stacked, Whole), (Summed, Averaged)])
def test_a_loop_over_time_in_python_is_the_multi_step_network(spikes, loop, whole):
    expected = counted(lively(whole("m")), spikes)
    assert counted(lively(loop("s")), spikes) == expected
    assert expected["spikes"] > 100
    assert expected["neuron_updates"] == STEPS * (4 * 36 + 5)


class Feedback(nn.Module):
    """A recurrent layer written out: the spikes of the step before come back through weights."""

    def __init__(self) -> None:
        super().__init__()
        self.fc, self.back, self.n = nn.Linear(4, 5, bias=False), nn.Linear(5, 5, bias=False), neuron.IFNode()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        spike, out = torch.zeros(x.shape[1], 5), []
        for step in x:
            spike = self.n(self.fc(step) + self.back(spike))
            out.append(spike)
        return torch.stack(out)


def test_spikes_that_a_loop_carries_over_are_recurrent_events():
    net = lively(Feedback())
    x = (torch.rand(STEPS, 1, 4, generator=torch.Generator().manual_seed(1)) < 0.6).float()
    with torch.no_grad():
        sent = int(net(x).sum())
    functional.reset_net(net)
    totals = counted(net, x)
    assert totals["spikes"] == sent > 5
    assert totals["synaptic_events"] == 5 * int(x.sum()) + 5 * sent
    assert totals["graded_events"] == 0


@pytest.mark.parametrize("kind", [neuron.LIFNode, neuron.IFNode])
def test_a_flag_that_records_the_membrane_changes_no_count(kind):
    def net(**flags: bool) -> nn.Module:
        made = lively(
            nn.Sequential(
                layer.Linear(8, 12, bias=False), kind(**flags), layer.Linear(12, 4, bias=False), kind(**flags)
            )
        )
        functional.set_step_mode(made, "m")
        return made

    x = torch.rand(STEPS, 1, 8, generator=torch.Generator().manual_seed(2))
    assert counted(net(store_v_seq=True), x) == counted(net(), x)


class Tutorial(nn.Module):
    """snnTorch's tutorial: a loop that carries the membranes, and reads spikes or membranes."""

    def __init__(self, read: str) -> None:
        super().__init__()
        import snntorch

        self.fc1, self.fc2, self.read = nn.Linear(8, 12, bias=False), nn.Linear(12, 4, bias=False), read
        self.lif1, self.lif2 = snntorch.Leaky(beta=0.9), snntorch.Leaky(beta=0.9)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, read = self.lif1.init_leaky(), self.lif2.init_leaky(), []
        for t in range(x.shape[0]):
            spikes, first = self.lif1(self.fc1(x[t]), first)
            out, second = self.lif2(self.fc2(spikes), second)
            read.append(out if self.read == "spikes" else second)
        return torch.stack(read)


class Norse(nn.Module):
    """norse's cells in a loop, the last of which only integrates."""

    def __init__(self) -> None:
        super().__init__()
        import norse.torch as norse

        self.fc1, self.fc2 = nn.Linear(8, 12, bias=False), nn.Linear(12, 4, bias=False)
        self.cell, self.out = norse.LIFCell(), norse.LICell()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = second = None
        read = []
        for t in range(x.shape[0]):
            spikes, first = self.cell(self.fc1(x[t]), first)
            value, second = self.out(self.fc2(spikes), second)
            read.append(value)
        return torch.stack(read)


@pytest.mark.parametrize(
    "build", [lambda: Tutorial("spikes"), lambda: Tutorial("membrane"), Norse], ids=["s", "m", "norse"]
)
def test_other_libraries_loops_are_counted(build):
    """Spikes by the library itself, also those of a last layer of which only the membrane is read."""
    pytest.importorskip("snntorch")
    pytest.importorskip("norse")
    net = lively(build())
    x = torch.rand(STEPS, 1, 8, generator=torch.Generator().manual_seed(4)) * (60 if isinstance(net, Norse) else 1)
    sent: list[torch.Tensor] = []
    fired: list[torch.Tensor] = []
    last = net.lif2 if isinstance(net, Tutorial) else net.cell
    hooks = [
        net.fc2.register_forward_hook(lambda _m, given, _o: sent.append(given[0])),
        last.register_forward_hook(lambda _m, _given, out: fired.append(out[0])),
    ]
    with torch.no_grad():
        net(x)
    for hook in hooks:
        hook.remove()
    hidden = int(torch.stack(sent).sum())
    spec = nk.ModelSpec("net", lambda: net, (nk.TensorSpec("x", (8,)),), time_steps=STEPS, time_input="sequence")
    load = trace(capture(spec), x)
    totals = load.totals()
    assert hidden > 10
    assert totals["synaptic_events"] == 4 * hidden
    assert totals["graded_events"] == 12 * int((x != 0).sum())
    assert totals["neuron_updates"] == STEPS * (12 + 4)
    assert totals["spikes"] == hidden + (int(torch.stack(fired).sum()) if isinstance(net, Tutorial) else 0)
    assert [item.path for item in load.network.uncounted] == (["cell", "out"] if isinstance(net, Norse) else [])

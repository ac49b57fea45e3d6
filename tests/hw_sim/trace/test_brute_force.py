"""Counts against explicit lists of edges, by loops from the layers' definitions and recorded spikes alone."""

import itertools

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurokit.capture import capture
from neurokit.hw_sim.trace import trace

STEPS = 5


def lif(threshold: float = 0.5, soft: bool = False) -> neuron.LIFNode:
    return neuron.LIFNode(tau=2.0, v_threshold=threshold, v_reset=None if soft else 0.0, step_mode="m")


def lively(net: nn.Module, seed: int = 0) -> nn.Module:
    """Weights with which all layers fire, some neurons and not others."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        if parameter.dim() > 1:
            values = torch.rand(parameter.shape, generator=generator) - 0.35
            parameter.data = values * 3 / parameter[0].numel() ** 0.5
    functional.set_step_mode(net, "m")
    return net.eval()


def events(*shape: int, seed: int = 7) -> torch.Tensor:
    return (torch.rand(STEPS, 1, *shape, generator=torch.Generator().manual_seed(seed)) < 0.3).float()


def conv_fan_out(part: nn.Module, source, target) -> np.ndarray:
    """How many targets each input reaches: taps that land on an output, one by one."""
    transposed = isinstance(part, nn.ConvTranspose2d)
    reached = np.zeros(source, int)
    group_out = target[0] // part.groups
    for c, y, x, _, a, b in itertools.product(
        range(source[0]), range(source[1]), range(source[2]), range(group_out), *map(range, part.kernel_size)
    ):
        (s0, s1), (p0, p1), (d0, d1) = part.stride, part.padding, part.dilation
        if transposed:
            row, column = y * s0 - p0 + a * d0, x * s1 - p1 + b * d1
        else:
            row, column = (y + p0 - a * d0) / s0, (x + p1 - b * d1) / s1
        reached[c, y, x] += (
            row == int(row) and column == int(column) and 0 <= row < target[1] and 0 <= column < target[2]
        )
    return reached.reshape(-1)


def outputs_of(net: nn.Module, x: torch.Tensor) -> dict[str, torch.Tensor]:
    """What every module gives, recorded by hooks."""
    given: dict[str, torch.Tensor] = {"x": x}
    hooks = [part.register_forward_hook(lambda _m, _i, o, n=n: given.update({n: o})) for n, part in net.named_modules()]
    with torch.no_grad():
        net(x)
    functional.reset_net(net)
    for hook in hooks:
        hook.remove()
    return given


CONVOLUTIONS = {
    "plain": (layer.Conv2d(2, 3, 3, padding=1, bias=False), (2, 7, 6)),
    "dilated": (layer.Conv2d(2, 3, (3, 2), stride=(2, 1), padding=(1, 0), dilation=(1, 3), bias=False), (2, 8, 7)),
    "grouped": (layer.Conv2d(4, 6, 3, stride=2, padding=1, groups=2, bias=False), (4, 6, 6)),
    "depthwise": (layer.Conv2d(4, 8, 3, padding=1, groups=4, bias=False), (4, 5, 6)),
    "transposed": (layer.ConvTranspose2d(3, 2, 3, stride=2, padding=1, output_padding=1, bias=False), (3, 4, 4)),
    "transposed grouped": (layer.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), groups=2, bias=False), (4, 3, 5)),
    "transposed dilated": (layer.ConvTranspose2d(2, 3, 3, stride=2, padding=2, dilation=2, bias=False), (2, 4, 5)),
    "transposed, border wider than the kernel": (layer.ConvTranspose2d(2, 3, 2, padding=2, bias=False), (2, 6, 5)),
    "transposed, stride longer than the kernel": (layer.ConvTranspose2d(2, 2, 2, stride=4, bias=False), (2, 3, 3)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_of_every_kind(name):
    part, shape = CONVOLUTIONS[name]
    first, second, head = neuron.IFNode(v_threshold=0.5), lif(), layer.Linear(1, 1)
    x = events(*shape)
    with torch.no_grad():
        size = part(x.flatten(0, 1)).shape[1:] if part.step_mode == "s" else part(x).shape[2:]
    head = layer.Linear(int(np.prod(size)), 4, bias=False)
    net = lively(nn.Sequential(first, part, second, nn.Flatten(2), head))
    sent = outputs_of(net, x)
    per_step = sent["0"].reshape(STEPS, -1).numpy() @ conv_fan_out(part, shape, tuple(size))
    load = trace(capture(net, x), x)
    assert load.network.uncounted == ()
    (projection,) = load.network.into("2")
    assert load.events(projection).tolist() == per_step.tolist()
    assert per_step.sum() > 50
    assert load.totals()["synaptic_events"] == sent["x"].sum() + per_step.sum() + 4 * sent["2"].sum() > 0
    # The edges, one by one, compute what torch computes.
    by_edge = np.zeros((STEPS, projection.target_size))
    for start, end, weight in projection.edges():
        by_edge[:, end] += sent["0"].reshape(STEPS, -1).numpy()[:, start] * projection.weight.reshape(-1)[weight]
    np.testing.assert_allclose(by_edge, sent["1"].reshape(STEPS, -1).numpy(), atol=1e-5)


def test_a_transposed_convolutions_dense_macs_are_torchs():
    part = layer.ConvTranspose2d(4, 6, (3, 2), stride=(2, 3), groups=2, bias=False)
    net = lively(nn.Sequential(part, lif()))
    x = events(4, 3, 5)
    (projection,) = trace(capture(net, x), x).network.projections
    assert projection.dense_macs == (4 * 3 * 5) * (6 // 2) * (3 * 2)
    assert projection.stored_weights == part.weight.numel()


@pytest.mark.parametrize("before", [False, True], ids=["spikes", "currents"])
def test_a_containers_own_spikes_stay_spikes_and_none_is_lost(before):
    """Every spike of the loop reaches every neuron, in the step in which it is sent, whatever lies beside it."""
    cell = layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.15), in_features=6, out_features=6, bias=False)
    head = layer.Linear(6, 4, bias=False)
    net = lively(nn.Sequential(*([layer.Linear(10, 6, bias=False)] if before else []), cell, head))
    x = events(10 if before else 6)
    sent = outputs_of(net, x)
    loop = sent["1" if before else "0"].reshape(STEPS, -1).numpy()
    load = trace(capture(net, x), x)
    (back,) = [p for p in load.network.projections if p.delay]
    assert load.network[back.source].binary
    assert load.events(back).tolist() == (6 * loop.sum(1)).tolist()
    assert load.events(back)[-1] == 6 * loop[-1].sum() > 0
    assert load.totals()["synaptic_events"] == 6 * x.sum() + (6 + 4) * loop.sum()
    # Currents beside them are multiplied by the container's own weights: all six, in every step.
    assert load.totals()["graded_events"] == (STEPS * 6 * 6 if before else 0)


def test_pooled_values_are_counted_by_their_windows():
    net = lively(
        nn.Sequential(neuron.IFNode(v_threshold=0.5), layer.MaxPool2d(3, 2, 1), lif(), layer.AvgPool2d(2, 2), lif())
    )
    x = events(2, 8, 8)
    sent = {
        name: value.reshape(STEPS, 2, *value.shape[-2:]).numpy() for name, value in outputs_of(net, x).items() if name
    }
    expected = {"1": 0, "4": 0}
    for t, c, y, z, a, b in itertools.product(range(STEPS), range(2), range(4), range(4), range(3), range(3)):
        row, column = 2 * y - 1 + a, 2 * z - 1 + b
        expected["1"] += int(0 <= row < 8 and 0 <= column < 8 and sent["0"][t, c, row, column])
    for t, c, y, z, a, b in itertools.product(range(STEPS), range(2), range(2), range(2), range(2), range(2)):
        expected["4"] += int(sent["2"][t, c, 2 * y + a, 2 * z + b])
    load = trace(capture(net, x), x)
    for name, events_in in expected.items():
        assert sum(int(load.events(p).sum()) for p in load.network.into(name)) == events_in > 0


class Gate(nn.Module):
    """Products with a broadcast operand: one gate for each token, one row for all tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (neuron.IFNode(v_threshold=0.5, step_mode="m") for _ in range(3))
        self.out = lif(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # [T, B, N, D]
        a, b, c = self.a(x), self.b(x[..., :1]), self.c(x[:, :, :1])
        return self.out(a * b + a * c)


def test_broadcast_operands_of_products():
    net, x = Gate().eval(), events(4, 6)
    sent = {name: value.numpy()[:, 0] for name, value in outputs_of(net, x).items() if name in "abc"}
    expected = sum(
        int(sent["a"][t, n, d] * sent["b"][t, n, 0]) + int(sent["a"][t, n, d] * sent["c"][t, 0, d])
        for t, n, d in itertools.product(range(STEPS), range(4), range(6))
    )
    load = trace(capture(net, x), x)
    assert load.network.uncounted == ()
    assert load.totals()["product_operations"] == expected > 10

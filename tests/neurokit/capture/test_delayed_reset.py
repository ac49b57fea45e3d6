"""snnTorch's neurons that reset one step late are one operation, with the spikes and membranes of snnTorch itself."""

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.neurons import ops

X = torch.rand(12, 3, 6, generator=torch.Generator().manual_seed(1)) * 4.0 - 1.0


def linear(seed, n_in=6, n_out=6):
    torch.manual_seed(seed)
    return nn.Linear(n_in, n_out)


def snntorch_in_double(net, x):
    """Runs snnTorch step by step in float64; its surrogates give single precision, which is brought back."""
    net.double()
    for part in net.modules():
        part.register_forward_hook(lambda _module, _given, out: torch.utils._pytree.tree_map(torch.Tensor.double, out))
    with torch.no_grad():
        steps = [net(x_t) for x_t in x.double()]
    steps = [step if isinstance(step, tuple) else (step,) for step in steps]
    return [torch.stack(values).numpy() for values in zip(*steps, strict=True)]


def captured_outputs(net, x):
    captured = nk.capture(net, x)
    with torch.no_grad():
        found = captured.program.module()(x, *captured.initial_states(x.shape[1]))
    return captured, [value.numpy() for value in found[: len(captured.output_names)]]


KINDS = {
    "leaky": lambda snn, **k: snn.Leaky(beta=0.9, **k),
    "leaky below": lambda snn, **k: snn.Leaky(beta=0.35, threshold=0.6, **k),
    "leaky learnt": lambda snn, **k: snn.Leaky(beta=0.8, threshold=0.7, learn_beta=True, learn_threshold=True, **k),
    "no leak": lambda snn, **k: snn.Leaky(beta=1.0, **k),
    "lapicque": lambda snn, **k: snn.Lapicque(R=2.0, C=1.5, threshold=0.4, **k),
    "synaptic": lambda snn, **k: snn.Synaptic(alpha=0.6, beta=0.9, **k),
}


@pytest.mark.parametrize("kind", list(KINDS))
def test_spikes_and_membranes_are_those_of_snntorch(kind):
    snn = pytest.importorskip("snntorch")
    build = lambda: nn.Sequential(linear(1), KINDS[kind](snn, init_hidden=True, output=True))  # noqa: E731
    wanted = snntorch_in_double(build(), X)
    captured, found = captured_outputs(build(), X)
    assert 0.05 < wanted[0].mean() < 0.95
    assert [n.op for n in captured.neurons] == ["if_" if kind == "no leak" else "lif"]
    assert captured.neurons[0].parameters["v_subtract"] > 0
    for mine, theirs in zip(found, wanted, strict=True):
        assert np.abs(mine - theirs).max() <= 1e-5


def test_a_recurrent_layer_is_the_same_neuron_in_a_loop():
    snn = pytest.importorskip("snntorch")
    torch.manual_seed(3)
    net = nn.Sequential(linear(1), snn.RLeaky(beta=0.9, linear_features=6, init_hidden=True))
    with torch.no_grad():
        wanted = torch.stack([net(x_t) for x_t in X]).numpy()
    net[1].reset_mem()
    captured, (found,) = captured_outputs(net, X)
    assert 0.05 < wanted.mean() < 0.95
    assert [n.op for n in captured.neurons] == ["lif"]
    assert (found != wanted).sum() == 0


def test_a_membrane_at_the_threshold_stays_silent():
    """snnTorch fires above its threshold; on a grid of powers of two membranes come to lie on it."""
    snn = pytest.importorskip("snntorch")
    net = snn.Leaky(beta=0.5, init_hidden=True)
    x = torch.randint(-4, 9, (16, 4, 32), generator=torch.Generator().manual_seed(2)) / 8
    with torch.no_grad():
        wanted = torch.stack([net(x_t) for x_t in x])
    net.reset_mem()
    assert torch.equal(torch.from_numpy(captured_outputs(nn.Sequential(net), x)[1][0]), wanted)


@pytest.mark.parametrize(
    "settings", [{"beta": 0.01}, {"beta": torch.linspace(0.2, 0.9, 6)}, {"beta": 0.9, "inhibition": True}]
)
def test_what_is_no_single_operation_is_run_by_its_library(settings):
    snn = pytest.importorskip("snntorch")
    captured = nk.capture(nn.Sequential(linear(1), snn.Leaky(init_hidden=True, **settings)), X)
    assert [n.op for n in captured.neurons] == ["decomposed"]


@pytest.mark.parametrize("leak", [None, 4.0])
def test_gradient_of_what_is_subtracted(leak):
    """Back-propagation through the operation against autograd through its equations, in float64."""
    x = torch.randn(5, 7, generator=torch.Generator().manual_seed(0), dtype=torch.float64).requires_grad_()
    v0 = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    fire = (1.0, None) if leak is None else (leak, 1.0, None, False)
    y, last = (ops.if_ if leak is None else ops.lif)(x * 2, v0, *fire, "sigmoid", 4.0, True, 1.25)
    grads = torch.autograd.grad((y * torch.arange(35).reshape(5, 7)).sum() + last.sum(), (x, v0))

    v, total = v0, 0.0
    for t, current in enumerate(x * 2):
        h = v + current if leak is None else v - v / leak + current
        soft = torch.sigmoid(4.0 * (h - 1.0))
        spike = (h >= 1.0).double() + soft - soft.detach()
        total = total + (spike * torch.arange(7 * t, 7 * t + 7)).sum()
        v = h - spike.detach() * 1.25
    wanted = torch.autograd.grad(total + v.sum(), (x, v0))
    for mine, theirs in zip(grads, wanted, strict=True):
        assert torch.allclose(mine, theirs, rtol=1e-9, atol=1e-9)

"""Weights that are computed from others stand in a program as they are; the user's module computes them as before."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, parametrize, prune

import neurokit as nk
from neurokit.capture.plain_weights import plain_weights
from neurokit.capture.twin import private_copy
from neurokit.loading import spec_of_module
from tests.neurokit.capture.networks.registry import Network, eager
from tests.neurokit.capture.test_networks import onnx_outputs


class Standardised(nn.Module):
    def forward(self, weight):
        return 3 * (weight - weight.mean(1, keepdim=True)) / (weight.std(1, keepdim=True) + 1e-5)


class Noisy(nn.Module):
    def forward(self, weight):
        return weight + torch.rand_like(weight)


def parametrised(made):
    def of(layer):
        parametrize.register_parametrization(layer, "weight", made)
        return layer

    return of


def pruned(layer):
    prune.l1_unstructured(layer, "weight", 0.4)
    return layer


KINDS = {
    "weight_norm": parametrizations.weight_norm,
    "spectral_norm": parametrizations.spectral_norm,
    "orthogonal": parametrizations.orthogonal,
    "own": parametrised(Standardised()),
    "weight_norm of old": torch.nn.utils.weight_norm,
    "spectral_norm of old": torch.nn.utils.spectral_norm,
    "pruned": pruned,
}


class Loop(nn.Module):
    """A membrane by hand behind a layer whose weight is computed."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        layer = nn.Linear(6, 10)
        with torch.no_grad():
            layer.weight.mul_(6)
        self.fc, self.out = KINDS[kind](layer), nn.Linear(10, 3)

    def forward(self, x):
        v, found = torch.zeros(x.shape[1], 10, dtype=x.dtype), []
        for x_t in x:
            v = 0.8 * v + self.fc(x_t)
            spikes = (v > 0.7).to(x.dtype)
            v = v - spikes
            found.append(self.out(spikes))
        return torch.stack(found)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_copy_has_plain_weights_and_the_module_keeps_its_own(kind):
    """Older functions' modules could not be copied: the weight that they had computed is a result of a gradient."""
    module = Loop(kind).eval()
    x, named = torch.rand(5, 3, 6), dict(module.named_parameters())
    wanted = module(x)
    twin = private_copy(module)[0]
    assert torch.equal(twin(x), wanted)
    assert {name for name, _ in twin.named_parameters()} == {"fc.weight", "fc.bias", "out.weight", "out.bias"}
    assert dict(module.named_parameters()).keys() == named.keys()
    assert torch.equal(module(x), wanted)


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[] if kind == "orthogonal" else pytest.mark.slow) for kind in sorted(KINDS)]
)
def test_an_artifact_of_any_number_of_steps_is_the_network(kind):
    """ONNX has no operator for an orthogonal weight's; a spectral norm's was a traceback over any number of steps."""
    over_any = nk.capture(spec_of_module(Loop(kind).eval(), "net", (6,), 5)).retrace(time_steps="dynamic")
    x = torch.rand(8, 3, 6, generator=torch.Generator().manual_seed(7))
    wanted = eager(Network(kind, lambda: Loop(kind).eval(), (6,), 5, single=True), x)[0]
    assert wanted.std() > 0
    torch.testing.assert_close(torch.from_numpy(onnx_outputs(over_any, x)[0]), wanted, rtol=0, atol=2e-6)


def test_a_weight_of_two_layers_stays_that_of_the_one_that_computes_nothing():
    net = nn.Sequential(nn.Linear(6, 6), nn.Linear(6, 6))
    net[1].weight = net[0].weight
    parametrize.register_parametrization(net[1], "weight", Standardised())
    before = net[0].weight.clone()
    made = plain_weights(net)
    assert torch.equal(made[0].weight, before)
    assert torch.equal(made[1].weight, Standardised()(before))


def test_a_weight_that_is_drawn_stays_computed():
    layer = parametrised(Noisy())(nn.Linear(6, 6))
    assert parametrize.is_parametrized(plain_weights(layer))

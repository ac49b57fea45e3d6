"""Constants that are added, leaky readouts, and forms that would leave nothing of a layer."""

from dataclasses import replace

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.exact import refuse
from neurokit.exact.against import erased
from neurokit.exact.fold import fold
from neurokit.exact.observe import observe
from neurokit.exact.rewrite import Plan, Rounding
from neurokit.spec import ModelSpec, TensorSpec

T = 5


class Positions(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.embed, self.scale = nn.Linear(4, 8), nn.Parameter(torch.rand(8) + 0.5)
        self.place = nn.Parameter(torch.randn(1, 6, 8) * 0.2)
        self.sn, self.last = neuron.LIFNode(v_threshold=0.5, step_mode="m"), nn.Linear(48, 3)

    def forward(self, x):
        return self.last(self.sn(self.embed(x) * self.scale + self.place).flatten(2))


class Leaky(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(24, 16), nn.Linear(16, 3)
        self.sn = neuron.LIFNode(v_threshold=0.3, step_mode="m")

    def forward(self, x):
        h = self.last(self.sn(self.first(x.flatten(2))))
        v = h[0]
        for t in range(1, h.shape[0]):
            v = 0.9 * v + h[t]
        return v


def spec(kind):
    net = kind().eval()
    return ModelSpec(kind.__name__, lambda: net, (TensorSpec("x", (6, 4)),), time_steps=T)


def drive(batch=16):
    return torch.rand(T, batch, 6, 4, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("kind", [Positions, Leaky])
def test_the_exact_form_stays_near_the_float_network(kind):
    made = nk.exact(nk.capture(spec(kind)), drive())
    refuse(made)
    assert not made.erased
    x = drive(8)
    with torch.no_grad():
        want = kind().eval()(x).double()
        got = made.captured.program.module()(x, *made.captured.initial_states(8))[0].double()
    # Flipped spikes weigh much in a sum of some tens of weights: 0.16 was seen; without a layer it is about 1.
    assert float((got - want).norm() / want.norm()) < 0.3
    assert made.against_float["samples"] == 16
    assert 0 < made.against_float["output_relative_l2"] < 0.3
    assert made.against_float["spikes_differ"] < 0.05 * made.against_float["spikes_compared"]


def test_the_distance_is_in_the_manifest(tmp_path):
    artifact = nk.lower(nk.exact(nk.capture(spec(Leaky)), drive()), "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] == "exact"
    assert artifact.manifest.target_info["against_float"]["data"] == "the calibration data"


def test_a_layer_whose_weights_all_become_0_is_refused_by_name():
    made = nk.exact(nk.capture(spec(Leaky)), drive())
    made.plan.linears[1].integers.zero_()
    source = made.source
    folded = fold(source.program, T)
    seen = observe(folded, (drive(), *source.initial_states(16)), moments=False)
    reasons = erased(folded, made.plan, seen, source.calls)
    assert [(reason.path, reason.why) for reason in reasons] == [("last", "all of them would be rounded to 0")]
    with pytest.raises(UnsupportedError, match="last: weights: all of them"):
        refuse(replace(made, erased=tuple(reasons)))


def test_a_rounding_coarser_than_what_was_seen_is_refused_by_name():
    net = nn.Sequential(layer.Linear(6, 4, step_mode="m"), neuron.IFNode(step_mode="m")).eval()
    source = nk.capture(ModelSpec("net", lambda: net, (TensorSpec("x", (6,)),), time_steps=T))
    folded, x = fold(source.program, T), torch.rand(T, 2, 6)
    seen = observe(folded, (x, *source.initial_states(2)), moments=False)
    reasons = erased(folded, Plan(results={0: Rounding(9)}), seen, source.calls)
    assert [reason.path for reason in reasons] == ["0"]
    assert "multiples of 2**9" in reasons[0].why


class OwnWeights(nn.Module):
    """Weights that are parameters of the network itself, not of a layer."""

    def __init__(self) -> None:
        super().__init__()
        generator = torch.Generator().manual_seed(4)
        self.kernel = nn.Parameter(torch.randn(3, 1, 3, 3, generator=generator))
        self.weight = nn.Parameter(torch.randn(2, 3 * 16, generator=generator))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(torch.relu(nn.functional.conv2d(x, self.kernel)).flatten(1), self.weight)


def test_weights_without_a_layer_have_an_exact_form():
    net = OwnWeights().eval()
    spec = nk.ModelSpec("own", lambda: net, (nk.TensorSpec("x", (1, 6, 6)),))
    x = torch.rand(16, 1, 6, 6, generator=torch.Generator().manual_seed(5))
    made = nk.exact(spec, x)
    assert made.proof.status == "exact"
    with torch.no_grad():
        found, wanted = made.captured.program.module()(x), net(x)
    found = found[0] if isinstance(found, tuple | list) else found
    assert float((found - wanted).norm() / wanted.norm()) < 0.03  # of the network in float, at 8 bits


class Dark(nn.Module):
    """Bytes, a threshold, a dilation, neurons."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3)
        self.sn = neuron.IFNode(v_threshold=0.5, step_mode="m")

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        dark = nn.functional.max_pool2d((x.flatten(0, 1).float() < 90).float(), 3, 1, 1)
        return self.sn(self.conv(dark).unflatten(0, x.shape[:2])).flatten(2)


def test_a_threshold_on_bytes_has_an_exact_form():
    torch.manual_seed(0)
    net = Dark().eval()
    spec = ModelSpec("dark", lambda: net, (TensorSpec("x", (1, 6, 6), "uint8", high=255),), time_steps=3)
    x = torch.randint(60, 120, (3, 8, 1, 6, 6), dtype=torch.uint8)
    x[0, 0, 0, 0] = torch.tensor([89, 90, 91, 0, 255, 90])  # on both sides of the threshold and at it
    made = nk.exact(spec, x)
    assert made.proof.status == "exact"
    seen: list[torch.Tensor] = []
    net.conv.register_forward_pre_hook(lambda _module, given: seen.append(given[0].bool()))
    net(x)
    wanted = nn.functional.max_pool2d((x.flatten(0, 1).int() < 90).float(), 3, 1, 1).bool()
    assert torch.equal(seen[0], wanted)
    states = made.captured.initial_states(8)
    rates = made.captured.program.module()(x, *states)[0]
    assert set(rates.unique().tolist()) == {0.0, 1.0}


class Smoothed(nn.Module):
    """What is added is a convolution of a parameter: a constant, and no layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.smooth, self.last = nn.Conv2d(1, 4, 3), nn.Conv2d(4, 4, 3, padding=1), nn.Linear(196, 3)
        self.place = nn.Parameter(torch.randn(1, 4, 7, 7))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.relu(self.first(x) + self.smooth(self.place)).flatten(1))


def test_a_convolution_of_parameters_is_a_constant_and_no_layer():
    net, x = Smoothed().eval(), torch.rand(8, 1, 9, 9)
    made = nk.exact(ModelSpec("smoothed", lambda: net, (TensorSpec("x", (1, 9, 9)),)), x)
    assert made.proof.status == "exact"
    found = made.captured.program.module()(x)
    found = found[0] if isinstance(found, tuple | list) else found
    assert float((found - net(x)).detach().norm() / net(x).detach().norm()) < 0.03  # of 8 bits

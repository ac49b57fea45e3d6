"""The target `nir`: what it writes computes what SpikingJelly computes, and what it refuses it refuses with reasons."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import InputError, UnsupportedError
from neurokit.loading import load
from neurokit.models.sew_resnet import sew_resnet18, sew_resnet_small
from neurokit.spec import ModelSpec, TensorSpec

from ..nets import Residual, conv_net, dyadic, inputs, reference

nir = pytest.importorskip("nir", reason="the nir library is not installed")


def lowered(net, x, out, **options):
    return nk.lower(nk.capture(net, torch.from_numpy(x)), "nir", out / "n", **options)


@pytest.mark.parametrize(
    "make",
    [
        conv_net,
        lambda: conv_net(decay_input=False, tau=4.0),
        lambda: conv_net(groups=2),
        lambda: conv_net(pool="max"),
        Residual,
    ],
    ids=["avg", "undecayed", "grouped", "maxpool", "residual"],
)
def test_it_computes_what_spikingjelly_computes(make, tmp_path):
    net = dyadic(make()).eval()
    x = inputs(5, 2, *((1, 6, 6) if isinstance(net, Residual) else (2, 8, 8)))
    artifact = lowered(net, x, tmp_path)
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    expected = reference(net, x)
    assert expected.any()
    with nk.open(artifact) as runner:
        np.testing.assert_allclose(runner(x), expected, atol=1e-6)
        np.testing.assert_allclose(runner(x), expected, atol=1e-6)  # a call starts from the initial state
        runner.reset(batch=2)
        steps = np.stack([runner.step(x_t) for x_t in x])
    mean = isinstance(net, Residual)
    np.testing.assert_allclose(steps.mean(0) if mean else steps, expected, atol=1e-6)


def test_parameters_follow_the_equations(tmp_path):
    """Against the closed forms of Euler's step, written down here anew."""
    net = nn.Sequential(
        layer.Linear(3, 3, bias=False),
        neuron.LIFNode(tau=5.0, decay_input=False, v_threshold=0.7),
        layer.Linear(3, 2),
        neuron.IFNode(v_reset=-0.5),
    )
    functional.set_step_mode(net, "m")
    lowered(net, inputs(4, 1, 3), tmp_path, dt=2e-3)
    graph = nir.read(tmp_path / "n" / "model.nir")
    lif, integrator = graph.nodes["1"], graph.nodes["3"]
    np.testing.assert_allclose(lif.tau, 5.0 * 2e-3)
    np.testing.assert_allclose(lif.r, 5.0)
    assert (lif.v_threshold < np.float32(0.7)).all()
    np.testing.assert_allclose(lif.v_threshold, 0.7, rtol=1e-6)
    np.testing.assert_allclose(integrator.r, 500.0)
    np.testing.assert_allclose(integrator.v_reset, -0.5)
    assert isinstance(graph.nodes["0"], nir.Linear)
    assert isinstance(graph.nodes["2"], nir.Affine)
    assert graph.metadata["dt"] == 2e-3


@pytest.mark.parametrize("groups", [1, 2])
def test_round_trip(groups, tmp_path):
    """NIR to neurokit to NIR gives the same nodes, edges and numbers."""
    net = conv_net(groups=groups)
    lowered(net, inputs(3, 1, 2, 8, 8), tmp_path)
    again = load(str(tmp_path / "n" / "model.nir"), time_steps=3)
    nk.lower(nk.capture(again), "nir", tmp_path / "m")
    first, second = (nir.read(tmp_path / name / "model.nir", type_check=False) for name in "nm")
    assert set(first.edges) == set(second.edges)
    assert list(first.nodes) == list(second.nodes)
    for name, node in first.nodes.items():
        other = second.nodes[name]
        assert type(node) is type(other)
        for key, value in node.to_dict().items():
            if isinstance(value, np.ndarray) and value.dtype.kind == "f":
                np.testing.assert_allclose(value, other.to_dict()[key], rtol=1e-12, err_msg=f"{name}.{key}")
            else:
                assert np.array_equal(value, other.to_dict()[key]), (name, key)


def test_cubalif_round_trip(tmp_path):
    net = nn.Sequential(layer.Linear(4, 6), neuron.CUBALIFNode(c_decay=0.5, v_decay=0.75, v_reset=0.0))
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        net[0].weight.mul_(4)
    x = inputs(6, 2, 4)
    expected = reference(net, x)
    artifact = lowered(net, x, tmp_path)
    node = nir.read(tmp_path / "n" / "model.nir").nodes["1"]
    np.testing.assert_allclose((node.tau_syn, node.tau_mem), ([2e-4] * 6, [4e-4] * 6))
    with nk.open(artifact) as runner:
        assert (runner(x) != expected).sum() == 0
    assert expected.any()
    again = load(str(tmp_path / "n" / "model.nir"), time_steps=6)
    nk.lower(nk.capture(again), "nir", tmp_path / "m")
    other = nir.read(tmp_path / "m" / "model.nir").nodes["1"]
    for key, value in node.to_dict().items():
        assert np.array_equal(value, other.to_dict()[key]), key


class Awkward(nn.Module):
    """Several things that NIR does not have."""

    def __init__(self):
        super().__init__()
        self.conv = layer.Conv2d(1, 4, 3, padding=1)
        self.soft = neuron.IFNode(v_reset=None)
        self.pool = layer.MaxPool2d(2)
        self.fc = layer.Linear(36, 4)
        self.sn = neuron.IFNode()
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.conv(x)
        x = self.pool(x)
        x = self.soft(x).flatten(2)
        q = self.sn(self.fc(x))
        return q * q.mean(-1, keepdim=True)


def test_every_reason_is_told_at_once(tmp_path):
    with pytest.raises(UnsupportedError) as caught:
        lowered(Awkward(), inputs(3, 1, 1, 6, 6), tmp_path)
    reasons = {reason.path: reason for reason in caught.value.reasons}
    assert "soft reset" in reasons["soft"].why
    assert "MaxPool" in reasons["pool"].why
    assert any("multiplies two activations" in reason.why for reason in caught.value.reasons)
    assert all(reason.fix for reason in caught.value.reasons)
    assert not (tmp_path / "n").exists()


class Halves(nn.Module):
    """Takes its input apart."""

    def forward(self, x):
        first, second = x.unbind(1)
        return first + second


def test_reasons_name_operations_as_torch_does(tmp_path):
    spec = ModelSpec("halves", Halves, (TensorSpec("x", (2, 3)),))
    with pytest.raises(UnsupportedError) as caught:
        nk.lower(nk.capture(spec), "nir", tmp_path / "n")
    assert {reason.what for reason in caught.value.reasons} == {"unbind", "getitem"}


def test_partition_exports_what_can_go(tmp_path):
    net = Awkward()
    with torch.no_grad():
        net.fc.weight.mul_(4)
    artifact = lowered(net, inputs(3, 1, 1, 6, 6), tmp_path, partition=True)
    assert artifact.manifest.parity["verdict"] == "exact"
    described = json.loads((tmp_path / "n" / "partition.json").read_text())
    assert [part["modules"] for part in described["parts"]] == [["fc", "sn"], ["conv"]]
    assert {reason["path"] for reason in described["rest"]} >= {"soft", "pool"}
    graph = nir.read(tmp_path / "n" / "part_0.nir")
    assert [type(graph.nodes[name]).__name__ for name in ("fc", "sn")] == ["Affine", "IF"]
    assert artifact.manifest.target_info["covered"] == [1]
    with pytest.raises(InputError, match="parts"):
        nk.open(artifact)
    with nk.open(artifact, part=1) as runner:
        assert runner.step(inputs(2, 1, 6, 6)).shape == (2, 4, 6, 6)


@pytest.mark.parametrize("options", [{"dt": 0}, {"dt": "1"}, {"partition": 1}, {"other": 2}])
def test_wrong_options_are_refused(options, tmp_path):
    with pytest.raises(InputError):
        lowered(conv_net(), inputs(3, 1, 2, 8, 8), tmp_path, **options)


def test_dense_groups(tmp_path):
    """A grouped convolution as a dense one, for readers that have no groups."""
    net = dyadic(conv_net(groups=2))
    x = inputs(4, 1, 2, 8, 8)
    artifact = lowered(net, x, tmp_path, dense_groups=True)
    graph = nir.read(tmp_path / "n" / "model.nir")  # with the library's own type check
    assert graph.nodes["4"].weight.shape == (8, 4, 3, 3)
    with nk.open(artifact) as runner:
        assert (runner(x) != reference(net, x)).sum() == 0


def test_the_exact_resnet_goes(tmp_path):
    """Its mean over the image is a sum in the exact form; the grid of its input is stated."""
    small = replace(sew_resnet_small(), inputs=(TensorSpec("image", (3, 32, 96)),), example=None)
    captured = nk.capture(small, time_steps=2)
    artifact = nk.lower(captured, "nir", tmp_path / "n", numerics="exact")
    assert artifact.manifest.parity["verdict"] == "exact"
    assert artifact.manifest.target_info["input_grid"]["exponent"] < 0
    pools = [n for n in nir.read(tmp_path / "n" / "model.nir").nodes.values() if isinstance(n, nir.SumPool2d)]
    assert [1, 3] in [np.asarray(pool.kernel_size).tolist() for pool in pools]  # 3 is no power of two


@pytest.mark.parametrize(
    ("factory", "blocks"), [(sew_resnet_small, 4), pytest.param(sew_resnet18, 8, marks=pytest.mark.slow)]
)
def test_the_whole_resnet_goes(factory, blocks, tmp_path):
    """SEW-ResNet: shortcuts as fan-in, its MaxPool of spikes as SumPool2d and Threshold."""
    spec = replace(factory(), inputs=(TensorSpec("image", (3, 32, 32)),), example=None)
    artifact = nk.lower(nk.capture(spec), "nir", tmp_path / "n")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    kinds = [type(node).__name__ for node in nir.read(tmp_path / "n" / "model.nir").nodes.values()]
    assert kinds.count("IF") == 1 + blocks * 2 + 3  # the stem, two a block, one a downsampling shortcut
    assert any("MaxPool" in note for note in artifact.manifest.target_info["rewrites"])


class Summing(nn.Module):
    """The common loop of tutorials: spikes are added up, and divided by the number of steps at the end."""

    def __init__(self, share):
        super().__init__()
        self.T, self.share = 4, share
        self.fc, self.spike = nn.Linear(6, 3), neuron.IFNode()
        nn.init.uniform_(self.fc.weight, 0.1, 0.5)
        for weights in self.fc.parameters():
            weights.data.mul_(64).round_().div_(64)

    def forward(self, x):
        total = 0
        for _ in range(self.T):
            total = total + self.spike(2 * self.fc(x))
        return total / self.T if self.share == "quotient" else total * (1 / self.T)


@pytest.mark.parametrize("share", ["quotient", "product"])
def test_a_sum_over_time_that_is_divided_by_t_is_their_mean(share, tmp_path):
    torch.manual_seed(0)
    module, x = Summing(share).eval(), torch.randint(0, 16, (2, 6)) / 16  # whose sums no machine rounds
    artifact = nk.lower(nk.capture(nk.load(lambda: module, input_shape=(6,))), "nir", tmp_path / "nir")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")  # of inputs that are drawn: by machine
    module.spike.reset()
    with torch.no_grad(), nk.open(artifact) as runner:
        wanted = module(x).numpy()
        assert wanted.any()
        assert np.array_equal(runner(x.numpy()), wanted)

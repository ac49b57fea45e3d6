"""Tracing: counts against SpikingJelly's counter, structure by computing the traced network again from its edges."""

import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based import op_counter as counters
from torch import nn

from neurokit.capture import capture
from neurokit.errors import InputError
from neurokit.hw_sim.engine import Engine, IntegerNetwork, IntegerPopulation, IntegerProjection
from neurokit.hw_sim.estimators import estimate
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.trace import trace
from neurokit.spec import ModelSpec, TensorSpec


def multi_step(net: nn.Module) -> nn.Module:
    functional.set_step_mode(net, "m")
    return net.eval()


def integer_weights(net: nn.Module, seed: int) -> nn.Module:
    """Fills weights with whole numbers, so that torch's own float32 run is exact."""
    generator = torch.Generator().manual_seed(seed)
    for module in net.modules():
        if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Linear):
            assert module.bias is None
            module.weight.data = torch.randint(-20, 40, module.weight.shape, generator=generator).float()
    return net


def computed_again(load: Workload, x: torch.Tensor) -> dict[str, np.ndarray]:
    """Spikes of the traced network, computed by the event engine from its connections and weights alone."""
    network = load.network
    source = network.inputs[0].name
    numbers = {
        p.name: IntegerPopulation(threshold=int(p.model.threshold), leak_shift=1, fraction_bits=2 * load.time_steps)
        for p in network.neurons
    }
    weights = {p.name: IntegerProjection(p.weight.astype(np.int8)) for p in network.projections if p.weight is not None}
    net = IntegerNetwork(network, numbers, weights, {} if network[source].binary else {source: 255})
    run = Engine(net, load.time_steps).run({source: x.numpy().reshape(load.time_steps, -1).astype(np.int64)})
    return {name: raster.unpack() for name, raster in run.rasters.items()}


def check_again(net: nn.Module, x: torch.Tensor) -> Workload:
    load = trace(capture(net, x), x)
    assert load.network.uncounted == ()
    again = computed_again(load, x)
    assert again
    for name, spikes in again.items():
        np.testing.assert_array_equal(spikes, load.rasters[name].unpack(), err_msg=name)
        assert 0 < spikes.mean() < 1, name
    return load


def lif(threshold: float, soft: bool = False) -> neuron.LIFNode:
    return neuron.LIFNode(tau=2.0, v_threshold=float(threshold), v_reset=None if soft else 0.0, step_mode="m")


def spikes(*shape: int, rate: float = 0.3, seed: int = 0) -> torch.Tensor:
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def test_synaptic_events_equal_spikingjellys_own_counter():
    torch.manual_seed(0)
    net = multi_step(
        nn.Sequential(
            layer.Conv2d(2, 8, 3, padding=1),
            neuron.IFNode(v_threshold=0.2),
            layer.Conv2d(8, 12, 3, stride=2, padding=1, groups=2),
            neuron.LIFNode(tau=2.0, v_threshold=0.1),
            layer.Conv2d(12, 12, 5, dilation=2, padding=3, groups=12),
            neuron.IFNode(v_threshold=0.1),
            layer.Flatten(),
            layer.Linear(12 * 36, 10),
            neuron.IFNode(v_threshold=0.1),
        )
    )
    x = spikes(5, 1, 2, 16, 16)
    counter = counters.SynOpCounter()
    with torch.no_grad(), counters.DispatchCounterMode([counter]):
        net(x)
    functional.reset_net(net)
    load = trace(capture(net, x), x)
    assert load.totals()["synaptic_events"] == counter.get_total() > 50_000
    assert load.totals()["neuron_updates"] == 5 * (8 * 256 + 12 * 64 + 12 * 36 + 10)
    assert load.network.uncounted == ()


class Shortcuts(nn.Module):
    """Membrane shortcuts, SEW sums of spikes, a concatenation, a split, a padding and a permutation."""

    def __init__(self) -> None:
        super().__init__()
        conv = {"kernel_size": 3, "padding": 1, "bias": False, "step_mode": "m"}
        self.stem = layer.Conv2d(2, 6, **conv)
        self.sn1, self.sn2, self.sn3, self.sn4, self.sn5 = lif(60), lif(90, soft=True), lif(80), lif(70), lif(60)
        self.conv1 = layer.Conv2d(6, 6, **conv)
        self.conv2 = layer.Conv2d(6, 6, **conv)
        self.conv3 = layer.Conv2d(12, 4, 3, stride=2, bias=False, step_mode="m")
        self.mix = nn.Linear(4, 5, bias=False)
        self.pool = layer.MaxPool2d(2, step_mode="m")
        self.head = nn.Linear(9, 7, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        current = self.stem(x)
        current = current + self.conv1(self.sn1(current))
        a = self.sn2(current)
        b = self.sn3(self.conv2(a)) + a  # spikes + spikes
        joined = torch.cat([b, a], dim=2)
        left, right = torch.nn.functional.pad(joined, (1, 1, 1, 1)).chunk(2, dim=2)
        y = self.sn4(self.conv3(torch.cat([right, left], dim=2)))
        tokens = y.flatten(3).permute(0, 1, 3, 2)  # [T, B, H W, C]
        z = self.sn5(self.mix(tokens)).transpose(2, 3)
        z = self.pool(z.unflatten(3, (y.shape[3], y.shape[4]))[..., :4, :4])
        return self.head(torch.nn.functional.pad(z.flatten(2), (0, 0))[..., 1:10])


@pytest.mark.parametrize("seed", range(3))
def test_shortcuts_sums_and_moves_are_computed_again_without_a_difference(seed):
    net = integer_weights(Shortcuts(), seed).eval()
    load = check_again(net, spikes(4, 1, 2, 9, 9, seed=seed))
    shared = [p for p in load.network.projections if p.shares_weights_with]
    assert {p.shares_weights_with for p in shared} == {"conv3"}
    assert load.network.stored_weights == sum(p.numel() for p in net.parameters()) + 1  # + 1: the pooling's constant


class Attention(nn.Module):
    """Spike-driven self-attention with K^T V first, on an integer image, with a strided depthwise stem."""

    def __init__(self, heads: int = 2, channels: int = 8) -> None:
        super().__init__()
        self.heads, self.channels = heads, channels
        self.stem = layer.Conv2d(3, channels, 3, stride=2, padding=1, bias=False, step_mode="m")
        self.sn = lif(500)
        make = lambda: layer.Conv2d(channels, channels, 1, bias=False, step_mode="m")  # noqa: E731
        self.q, self.k, self.v, self.proj = make(), make(), make(), make()
        self.qs, self.ks, self.vs, self.attn, self.out = lif(30), lif(30), lif(30), lif(4), lif(30)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        s = self.sn(self.stem(x))
        split = lambda y: y.flatten(3).unflatten(2, (self.heads, -1)).transpose(-2, -1)  # noqa: E731
        q, k, v = (split(f(c(s))) for f, c in ((self.qs, self.q), (self.ks, self.k), (self.vs, self.v)))
        y = q @ (k.transpose(-2, -1) @ v)
        y = y.transpose(-2, -1).flatten(2, 3).unflatten(3, s.shape[3:])
        return self.out(self.proj(self.attn(y)))


def test_attention_is_computed_again_and_its_operations_are_exact():
    x = torch.randint(0, 200, (4, 1, 3, 8, 8), generator=torch.Generator().manual_seed(1)).float()
    net = integer_weights(Attention(), 0).eval()
    load = check_again(net, x)
    split = lambda name: load.rasters[name].unpack().reshape(4, 2, 4, 16).astype(np.int64)  # noqa: E731
    q, k, v = split("qs"), split("ks"), split("vs")
    kv = np.einsum("thdn,then->thde", k, v)  # coincidences of K and V
    pairs = kv.sum() + sum(
        (q[t, h, d, n] > 0) * (kv[t, h, d] > 0).sum()
        for t in range(4)
        for h in range(2)
        for d in range(4)
        for n in range(16)
    )
    assert load.totals()["product_operations"] == pairs
    graded = {c.name: int(c.graded_events.sum()) for c in load.counts}
    assert graded["sn"] == int(load.events(load.network.into("sn")[0]).sum()) > 0


class ImageModel(nn.Module):
    """Repeats its image itself: before the first convolution, or after it."""

    def __init__(self, early: bool) -> None:
        super().__init__()
        self.early = early
        self.conv = nn.Conv2d(2, 4, 3, bias=False)
        self.sn = lif(300)
        self.T = 3

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.early:
            steps = x.unsqueeze(0).repeat(self.T, 1, 1, 1, 1)
            return self.sn(self.conv(steps.flatten(0, 1)).unflatten(0, steps.shape[:2]))
        return self.sn(self.conv(x).unsqueeze(0).repeat(self.T, 1, 1, 1, 1))


@pytest.mark.parametrize("early", [True, False])
def test_a_repeated_image_is_counted_as_often_as_it_is_computed(early):
    net = integer_weights(ImageModel(early), 0).eval()
    spec = ModelSpec("image", lambda: net, (TensorSpec("x", (2, 6, 6)),), time_steps=3, time_input="image")
    x = torch.randint(1, 9, (1, 2, 6, 6)).float()
    load = trace(capture(spec), x)
    once = 16 * 2 * 9 * 4  # every value is non-zero: all connections
    graded = sum(c.graded_events for c in load.counts)
    assert graded.tolist() == ([once] * 3 if early else [once, 0, 0])


class Strange(nn.Module):
    """Two operations that nobody can count as events, with countable layers around them."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.norm, self.fc2, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, 5), nn.Linear(5, 3)
        self.sn1, self.sn2 = lif(0.1), lif(0.1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.sn1(self.norm(self.fc1(x)))
        y = self.sn2(torch.sigmoid(self.fc2(y)))
        return self.head(y.mean(0))


def test_what_is_not_understood_is_listed_and_the_rest_is_counted():
    torch.manual_seed(0)
    x = spikes(4, 1, 6)
    load = trace(capture(Strange().eval(), x), x)
    listed = {item.path: item.reason for item in load.network.uncounted}
    assert set(listed) == {"norm", "sigmoid"}
    counts = {c.name: c for c in load.counts}
    assert counts["sn1"].neuron_updates.sum() == 32
    # The head reads the average of sn2's spikes: each is added up as it comes, and what is not zero is read once.
    adds = load.rasters["sn2"].count
    assert load.totals()["synaptic_events"] == 8 * int(x.sum()) + 5 * load.rasters["sn1"].count + adds
    assert counts["head"].graded_events.tolist() == [0, 0, 0, 3 * int(load.rasters["sn2"].unpack().any(0).sum())]


def test_a_rare_neuron_in_plain_operations_is_priced_as_a_lif_and_listed():
    net = nn.Sequential(
        nn.Linear(4, 6, bias=False), neuron.QIFNode(step_mode="m"), nn.Linear(6, 3, bias=False), lif(0.1)
    )
    x = spikes(3, 1, 4, rate=0.9)
    load = trace(capture(net.eval(), x), x)
    assert [item.path for item in load.network.uncounted] == ["1"]
    assert "what QIFNode computes beyond them" in load.network.uncounted[0].reason
    assert load.network["1"].size == 6
    assert load.events(load.network.into("1")[0]).sum() == 6 * int(x.sum())
    assert load.network["3"].role == "neuron"
    assert load.events(load.network.into("3")[0]).sum() == 3 * load.rasters[load.network.into("3")[0].source].count


def test_bad_input_is_refused():
    net = nn.Sequential(nn.Linear(4, 6), lif(1.0))
    captured = capture(net.eval(), torch.zeros(3, 1, 4))
    with pytest.raises(InputError, match="shape"):
        trace(captured, torch.zeros(3, 1, 5))
    with pytest.raises(InputError, match="NaN"):
        trace(captured, torch.full((3, 1, 4), float("nan")))
    with pytest.raises(InputError, match="form"):
        trace(capture(net.eval(), torch.zeros(3, 1, 4), form="step"), torch.zeros(3, 1, 4))


@pytest.mark.slow
def test_meta_spikeformer_fires_as_the_public_code_does():
    # The reference: spikes of each of the 77 neurons in a float64 run of the public code, from another machine.
    from neurokit.models.metaspikeformer.net import MetaSpikeFormer

    reference = json.loads((Path(__file__).parents[2] / "data" / "metaspikeformer_15m.json").read_text())
    module = MetaSpikeFormer((64, 128, 256, 360)).eval()
    state = {}
    for name, value in module.state_dict().items():
        z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(value.shape))
        if name.endswith("running_var"):
            z = 1 + 0.1 * np.abs(z)
        elif name.endswith("running_mean"):
            z = 0.1 * z
        elif value.dim() == 1:
            z = 1 + 0.1 * z if name.endswith("weight") else 0.2 + 0.2 * z
        elif value.dim():
            z = z * np.sqrt(2 / np.prod(value.shape[1:]))
        state[name] = value if name.endswith("num_batches_tracked") else torch.from_numpy(z)
    module.load_state_dict(state)
    image = torch.from_numpy(np.random.RandomState(7).uniform(0, 1, (1, 3, 224, 224))).float()
    x = image.expand(4, -1, -1, -1, -1)
    load = trace(capture(module.double(), x.double()), x)
    assert load.network.uncounted == ()
    assert {name: load.rasters[name].count for name, _, _ in reference["spikes"]} == {
        name: count for name, count, _ in reference["spikes"]
    }
    for name, _, decisions in reference["spikes"]:
        assert load.network[name].size * 4 == decisions


class Padded(nn.Module):
    """Pads before a convolution: on all sides, and on two."""

    def __init__(self) -> None:
        super().__init__()
        self.a = layer.Conv2d(2, 3, 3, bias=False, step_mode="m")
        self.b = layer.Conv2d(3, 4, 3, stride=2, padding=1, bias=False, step_mode="m")
        self.sn1, self.sn2 = lif(40), lif(60)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.sn1(self.a(torch.nn.functional.pad(x, (1, 1, 1, 1))))
        return self.sn2(self.b(torch.nn.functional.pad(x, (1, 0, 0, 2))))


def test_padding_before_a_convolution_is_the_convolutions_own():
    load = check_again(integer_weights(Padded(), 0).eval(), spikes(4, 1, 2, 6, 6))
    a, b = (load.network.into(name)[0] for name in ("sn1", "sn2"))
    assert (a.padding, a.source_shape, a.source_index) == ((1, 1), (2, 6, 6), None)
    assert (b.padding, b.source_shape, b.source_index) == ((1, 2), (3, 6, 6), None)


def test_a_model_without_spikes_is_one_dense_pass():
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.BatchNorm2d(3), nn.ReLU6(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(27, 5)
    ).eval()
    spec = ModelSpec("ann", lambda: net, (TensorSpec("x", (2, 6, 6)),))
    load = trace(capture(spec), torch.rand(1, 2, 6, 6))
    assert load.network.uncounted == ()
    assert load.network.neurons == ()
    dense = estimate("ann-int8", load)
    macs = 36 * 3 * 18 + 27 * 5  # the baseline pays for borders too
    assert f"{macs} multiply-accumulates" in dense.notes[0]

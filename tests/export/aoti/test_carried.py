"""What lies between kernels: spikes stay int8 and channels-last, roundings and depthwise convolutions go inside."""

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.export.aoti.build import rewritten
from neurokit.export.aoti.programs import Network
from neurokit.export.aoti.settings import Settings
from neurokit.kernels.common.fusion import ProductNeuron
from neurokit.kernels.spike_conv_lif.fusion import ConvLayer
from neurokit.kernels.spike_linear_lif.fusion import LinearLayer
from neurokit.program.nodes import hints
from neurokit.program.passes import PassError
from neurokit.program.passes import carry as carrying
from neurokit.program.passes import fuse as fusing
from neurokit.program.passes.carry import max_of_windows, repeat_nearest
from neurokit.program.passes.static_input import STATIC_INPUT
from neurokit.program.walk import without_guards
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

from . import eager
from .traffic import Traffic

PICTURE = TensorSpec("x", (3, 8, 8), low=0.0, high=2.0)


class Net(nn.Module):
    """Pooling, spike-element-wise shortcuts, a depthwise pair and upsampling."""

    def __init__(self):
        super().__init__()
        self.stem, self.sn0 = layer.Conv2d(3, 16, 3, padding=1, bias=False), neuron.IFNode()
        self.pool = layer.MaxPool2d(3, 2, 1)
        self.one, self.sn1 = layer.Conv2d(16, 16, 3, padding=1), neuron.LIFNode(tau=2.0)
        self.deep, self.point = layer.Conv2d(16, 16, 5, padding=2, groups=16), layer.Conv2d(16, 16, 1)
        self.sn2 = neuron.LIFNode(tau=2.0)
        self.up = layer.Upsample(scale_factor=2)
        self.last, self.sn3 = layer.Conv2d(16, 16, 3, padding=1), neuron.IFNode(v_reset=None)
        self.head = layer.Linear(16, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.pool(self.sn0(self.stem(x)))
        x = x + self.sn1(self.one(x))
        x = self.sn2(x + self.point(self.deep(x)))
        return self.head(self.sn3(self.last(self.up(x))).flatten(3).mean(3)).mean(0)


def build_net():
    torch.manual_seed(0)
    net = Net().eval()
    with torch.no_grad():
        for part in (net.one, net.deep, net.point, net.last):
            part.weight.mul_(3.0)
    return net


@pytest.fixture(scope="module")
def captured():
    return nk.capture(ModelSpec("net", build_net, (PICTURE,), time_steps=4))


@pytest.fixture(scope="module")
def exact(captured):
    return nk.exact(captured)


def seen(part, numerics, **options):
    """Runs a rewritten program; returns which kernels its layers went into, and what it did between them."""
    settings = Settings.of(LowerOptions(numerics, extra={"kernels": "all", **options}))
    body, rows = rewritten(part, settings, numerics == "exact")
    network = Network(body, part)
    with Traffic() as traffic, torch.no_grad():
        network(torch.rand(4, 2, 3, 8, 8) * 2)
    return {row["layer"]: row for row in rows}, traffic


def between(traffic):
    """Returns the copies but those of membranes, which nothing reads and a compiler leaves out."""
    return [copy for copy in traffic.copies if not (copy[0] == "clone" and copy[3][0] == 2)]


def test_spikes_stay_int8_and_channels_last_between_kernels(exact):
    rows, traffic = seen(exact.captured, "exact")
    kernels = [name for name, _ in traffic.kernels]
    assert kernels == ["spike_conv_lif", "spike_conv_lif", "depthwise", "spike_linear_lif", "spike_conv_lif"]
    assert "depthwise" in {row["kernel"] for row in rows.values()}
    for name, given in traffic.kernels[1:]:
        assert given[0] == (torch.int8, True), name
        assert all(in_order for _, in_order in given), name
    *image, head = between(traffic)
    assert image, "it comes with its channels first"
    assert all(3 in shape for *_, shape in image)
    assert head[3] == (4, 2, 16, 64)  # whose mean is no kernel's


def test_16_bits_go_between_kernels_as_they_are(captured):
    _, traffic = seen(captured, "float", precision="float16")
    assert {"depthwise", "spike_conv_lif", "spike_linear_lif"} == {name for name, _ in traffic.kernels}
    assert all(given[0][0] == torch.float16 for _, given in traffic.kernels)
    turned = [copy for copy in between(traffic) if copy[1] == copy[2] or (len(copy[3]) == 5 and copy[3][2] != 3)]
    assert turned == []


@pytest.mark.slow
def test_the_rewritten_program_has_the_exact_programs_bits(exact, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    artifact = nk.lower(exact, "aoti", tmp_path / "a", kernels="all")
    parity = artifact.manifest.parity
    assert (parity["verdict"], parity["spikes_flipped"]) == ("exact", 0)
    assert sum(0.0 < rate < 1.0 for rate in exact.rates) >= 3, "a layer that is silent shows nothing"


def _residual_left_out(self, spikes, given, true):
    return true(*given[:2])[0]


def _reset_swapped(self, spikes, given, true):
    kept = dict(self.keywords)
    self.keywords = {**kept, "v_reset": None if kept["v_reset"] is not None else 0.0}
    found = true(*given)[0]
    self.keywords = kept
    return found


def _in_another_order(self, spikes, given, true):
    return spikes.flip(2)


@pytest.mark.parametrize(
    ("where", "plant"),
    [
        pytest.param(LinearLayer, _residual_left_out, marks=pytest.mark.slow),
        pytest.param(LinearLayer, _reset_swapped, marks=pytest.mark.slow),
        pytest.param(LinearLayer, _in_another_order, marks=pytest.mark.slow),
        pytest.param(ConvLayer, _reset_swapped, marks=pytest.mark.slow),
    ],
)
def test_a_wrong_kernel_fails_verification(where, plant, exact, tmp_path, monkeypatch):
    """The spikes are wrong, the current of the probing twin is right: as a faulty kernel would have it."""
    eager.install(monkeypatch)
    true = where.forward

    def forward(self, *given):
        spikes, *rest = true(self, *given)
        return plant(self, spikes, given, lambda *less: true(self, *less)), *rest

    monkeypatch.setattr(where, "forward", forward)
    with pytest.raises(PassError, match="spikes do not follow"):
        rewritten(exact.captured, Settings.of(LowerOptions("exact", extra={"kernels": "all"})), True)
    monkeypatch.setattr(fusing, "_check", lambda *given: None)
    artifact = nk.lower(exact, "aoti", tmp_path / "a", kernels="all", verified=False)
    assert nk.verify(artifact).verdict == "failed"


def test_a_cast_that_is_left_between_kernels_is_caught(exact, monkeypatch):
    monkeypatch.setattr(carrying, "_takes", lambda *given: False)
    with pytest.raises(PassError, match="is given spikes as"):
        seen(exact.captured, "exact")


@pytest.mark.parametrize(("kernel", "stride", "padding"), [((3, 3), (2, 2), (1, 1)), ((2, 3), (2, 1), (0, 1))])
def test_windows_and_repeats_are_torchs_own(kernel, stride, padding):
    x = torch.randint(0, 3, (2, 4, 7, 9), generator=torch.Generator().manual_seed(0))
    found = max_of_windows(x.to(torch.int8), list(kernel), list(stride), list(padding))
    torch.testing.assert_close(found.float(), nn.functional.max_pool2d(x.float(), kernel, stride, padding))
    up = nn.functional.interpolate(x.float(), scale_factor=(2, 3), mode="nearest")
    torch.testing.assert_close(repeat_nearest(x.to(torch.int8), 2, 3).float(), up)
    assert found.dtype == torch.int8


class Branches(nn.Module):
    """Two branches of one input, of which one is wider."""

    def __init__(self):
        super().__init__()
        self.stem, self.sn0 = layer.Conv2d(3, 8, 3, padding=1, bias=False), neuron.LIFNode(tau=2.0)
        self.a, self.sn1 = layer.Conv2d(8, 16, 1), neuron.LIFNode(tau=2.0)
        self.b, self.sn2 = layer.Conv2d(8, 32, 1), neuron.LIFNode(tau=2.0)
        self.head = layer.Conv2d(48, 4, 1)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.sn0(self.stem(x))
        x = torch.cat([self.sn1(self.a(x)), self.sn2(self.b(x))], 2)
        return self.head(x).flatten(3).mean((0, 3))


def branches():
    torch.manual_seed(1)
    net = Branches().eval()
    with torch.no_grad():
        for part in (net.a, net.b):
            part.weight.mul_(4.0)
    return net


@pytest.fixture(scope="module")
def still():
    spec = ModelSpec("branches", branches, (PICTURE,), time_steps=2)
    return nk.exact(nk.capture(nk.transform(spec, ["still_image"])))


def _is_input(node):
    return node.op == "placeholder"


def _is_taken(node):
    return bool(node.meta.get("taken"))


def test_a_still_image_is_convolved_once_and_branches_are_joined(still, tmp_path, monkeypatch):
    settings = Settings.of(LowerOptions("exact", extra={"kernels": "all"}))
    body, _ = rewritten(still.captured, settings, True)
    with Traffic() as traffic, torch.no_grad():
        Network(body, still.captured)(torch.rand(2, 3, 8, 8) * 2)
    kernels = [name for name, _ in traffic.kernels]
    assert kernels == ["spike_conv_lif", "lif_forward", "spike_linear_lif", "spike_linear_lif"]
    image, convolved = (next(node for node in body.graph.nodes if found(node)) for found in (_is_input, _is_taken))
    assert hints(convolved)[0] == hints(image)[0], "one step, not every one"
    assert traffic.convolved == []
    eager.install(monkeypatch)
    parity = nk.lower(still, "aoti", tmp_path / "a", kernels="all").manifest.parity
    assert (parity["verdict"], parity["spikes_flipped"]) == ("exact", 0)
    assert all(0.0 < rate < 1.0 for rate in still.rates)


def test_a_converted_network_convolves_a_still_image_once():
    """What stands before its first neurons; the outputs are the same bits."""
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 5)]
    spec = ModelSpec("converted", lambda: nn.Sequential(*parts).eval(), (PICTURE,))
    captured = nk.capture(nk.transform(spec, ["qcfs:time_steps=4", "still_image"]))
    module = without_guards(captured.program.module())
    x, states = torch.rand(2, 3, 8, 8), captured.initial_states(2)
    with torch.no_grad():
        before = module(x, *states)[0]
        STATIC_INPUT(module)
        after = module(x, *states)[0]
    front, behind = (n for n in module.graph.nodes if n.op == "call_function" and "conv2d" in str(n.target))
    assert hints(behind)[0] == 4 * hints(front)[0]
    assert torch.equal(before, after)


def test_rows_joined_in_another_order_are_caught(still, monkeypatch):
    true = ProductNeuron.beside

    def turned(self, others):
        made = true(self, others)
        made.weight = made.weight.flip(0)
        return made

    monkeypatch.setattr(ProductNeuron, "beside", turned)
    with pytest.raises(PassError, match="other spikes when they are joined"):
        rewritten(still.captured, Settings.of(LowerOptions("exact", extra={"kernels": "all"})), True)


class Learnt(nn.Module):
    """A learnt leak, once a power of two and once not, and a product of two layers' spikes."""

    def __init__(self):
        super().__init__()
        self.a, self.sn1 = layer.Linear(6, 16), neuron.LIFNode(tau=2.0)
        self.b, self.sn2 = layer.Linear(16, 16), neuron.ParametricLIFNode(init_tau=2.0)
        self.c, self.sn3 = layer.Linear(16, 16), neuron.ParametricLIFNode(init_tau=3.0)
        self.d, self.sn4 = layer.Linear(16, 5), neuron.IFNode()
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.sn2(self.b(self.sn1(self.a(x))))
        return self.sn4(self.d(x * self.sn3(self.c(x))))


def learnt():
    torch.manual_seed(0)
    net = Learnt().eval()
    with torch.no_grad():
        for part in (net.a, net.b, net.c, net.d):
            part.weight.mul_(3.0)
    return net


@pytest.fixture(scope="module")
def leaks():
    return nk.capture(ModelSpec("learnt", learnt, (TensorSpec("x", (6,), low=0.0, high=2.0),), time_steps=4))


def test_learnt_leaks_are_constants_and_products_of_spikes_are_spikes(leaks):
    plan = nk.plan(leaks, "aoti", kernels="all", precision="float16")
    assert [row.kernel for row in plan.layers] == ["spike_linear_lif"] * 4


@pytest.mark.slow
def test_learnt_leaks_in_kernels_are_verified(leaks, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    artifact = nk.lower(leaks, "aoti", tmp_path / "a", kernels="all")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    assert [row["kernel"] for row in artifact.manifest.target_info["kernels"]] == ["lif"] * 4


@pytest.mark.slow
@pytest.mark.parametrize("name", ["sew_resnet18", "metaspikeformer_15m"])
def test_the_zoos_layers_meet_no_conversion(name):
    made = nk.exact(nk.capture(nk.load(name).in_small()))
    body, rows = rewritten(made.captured, Settings.of(LowerOptions("exact", extra={"kernels": "all"})), True)
    shape = [size if isinstance(size, int) else 2 for size in made.captured.inputs[0].shape]
    with Traffic() as traffic, torch.no_grad():
        Network(body, made.captured)(torch.rand(shape))
    products = [given for name, given in traffic.kernels if not name.startswith("lif")]
    assert len(products) >= 11
    # The image's own layer takes whole numbers of float16, since int8 has too few levels; all behind it take int8.
    assert [given[0][0] for given in products] == [torch.float16, *[torch.int8] * (len(products) - 1)]
    whole = [given for name, given in traffic.kernels if name.startswith(("spike", "depthwise"))]
    # The image is folded into cells anyway; attention is given slices of what query, key and value are in.
    assert all(given[0][1] for given in whole[1:])
    assert sum(row["kernel"] == "lif" for row in rows) <= 2


class Pooled(nn.Module):
    """A stem whose sum is pooled and read by a second layer before its own neuron comes, as in MS-ResNet."""

    def __init__(self):
        super().__init__()
        self.stem, self.down = layer.Conv2d(3, 8, 3, padding=1), layer.Conv2d(8, 8, 3, padding=1, stride=2)
        self.sn0, self.sn1 = neuron.LIFNode(tau=2.0), neuron.LIFNode(tau=2.0)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        current = self.stem(x)
        aside = self.sn1(self.down(current))
        return self.sn0(current).flatten(3).mean(3) + aside.flatten(3).mean(3)


def test_a_sum_that_is_read_before_its_neuron_is_handed_on():
    torch.manual_seed(0)
    part = nk.capture(ModelSpec("pooled", lambda: Pooled().eval(), (PICTURE,), time_steps=4))
    settings = Settings.of(LowerOptions("float", extra={"kernels": "all", "precision": "float16"}))
    body, rows = rewritten(part, settings, False)
    body.graph.lint()
    assert {row["kernel"] for row in rows} <= {"spike_conv_lif", "lif"}
    x = torch.rand(4, 2, 3, 8, 8)
    with torch.no_grad():
        wanted = part.program.module()(x, *part.initial_states(2))[0]
        found = Network(body, part)(x.half())[0]
    assert (wanted - found.float()).abs().mean() < 0.05  # of rates: a spike may flip in 16 bits


class Squared(nn.Module):
    """A product of two values, each with time and batch in front."""

    def __init__(self):
        super().__init__()
        self.sn = neuron.LIFNode(tau=2.0, step_mode="m")

    def forward(self, x):
        return self.sn(x @ x.transpose(-1, -2))


def test_a_product_in_16_bits_keeps_the_batch_free():
    part = nk.capture(ModelSpec("squared", lambda: Squared().eval(), (PICTURE,), time_steps=4))
    settings = Settings.of(LowerOptions("float", extra={"kernels": "all", "precision": "float16"}))
    body, _ = rewritten(part, settings, False)
    sizes = [node.meta["val"][0].shape[1] for node in body.graph.nodes if node.meta.get("fused")]
    assert sizes
    assert not any(isinstance(size, int) for size in sizes)


class ByHand(nn.Module):
    """A neuron in plain operations, which makes its spikes float32, and writes one of them."""

    def __init__(self):
        super().__init__()
        self.first, self.last = nn.Linear(8, 6), nn.Linear(6, 3)
        with torch.no_grad():
            for part in (self.first, self.last):  # multiples of 1/8, which 16 bits hold
                for value in part.parameters():
                    value.copy_((8 * value).round() / 4)

    def forward(self, x):
        found, v = [], torch.zeros(x.shape[1], 6)
        for x_t in x:
            v = 0.5 * v + self.first(x_t)
            spikes = (v >= 0.5).to(torch.float32)
            spikes[:, 0] = 1.0
            v = v - 0.5 * spikes
            found.append(self.last(spikes))
        return torch.stack(found)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_neurons_by_hand_that_keep_float32_are_products_of_one_type(precision):
    """PyTorch's C++ was compiled, and refused a product of float32 and 16 bits when it ran."""
    torch.manual_seed(0)
    net = ByHand().eval()
    captured = nk.capture(ModelSpec("hand", lambda: net, (TensorSpec("x", (8,)),), time_steps=4))
    settings = Settings.of(LowerOptions("float", extra={"precision": precision}))
    body, _ = rewritten(captured, settings, False)
    x = (torch.rand(4, 3, 8, generator=torch.Generator().manual_seed(1)) < 0.5).float()
    with torch.no_grad():
        (found,) = Network(body, captured)(x)
        torch.testing.assert_close(found, net(x), rtol=0.0, atol=0.0)
    assert {node.meta["val"].dtype for node in body.graph.nodes if "linear" in node.name} == {getattr(torch, precision)}


class FrontEnd(nn.Module):
    """An image and a query that stay float32, in front of weights, and of keys, of 16 bits."""

    def __init__(self):
        super().__init__()
        self.first, self.keys = nn.Conv2d(1, 4, 3, padding=1), nn.Linear(4, 4)

    def forward(self, x):
        tokens = self.first(x.to(torch.float32) * 2.0).flatten(2).transpose(1, 2)
        keys = self.keys(tokens)
        query = tokens.to(torch.float32) + 0.5
        return nn.functional.scaled_dot_product_attention(query, keys, keys)


@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_what_a_front_end_keeps_in_float32_is_rounded_where_one_type_is_taken(precision):
    """Plans and packages ended in an error of torch's."""
    torch.manual_seed(0)
    net = FrontEnd().eval()
    captured = nk.capture(ModelSpec("front", lambda: net, (TensorSpec("x", (1, 6, 6)),)))
    settings = Settings.of(LowerOptions("float", extra={"precision": precision}))
    body, _ = rewritten(captured, settings, False)
    x = torch.rand(3, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        (found,) = Network(body, captured)(x)
        torch.testing.assert_close(found, net(x), rtol=0.0, atol=0.03)
    kinds = {node.meta["val"].dtype for node in body.graph.nodes if "conv" in node.name or "attention" in node.name}
    assert kinds == {getattr(torch, precision)}

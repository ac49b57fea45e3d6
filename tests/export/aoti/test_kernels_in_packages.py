"""Kernels in packages: which layers go into them, that a wrong one is caught, and that the packages are verified."""

import collections
import json
import shlex
from pathlib import Path

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError
from neurokit.kernels.common.fusion import integer_rows
from neurokit.kernels.spike_conv_lif.fusion import ConvLayer
from neurokit.kernels.spike_linear_lif import fusion as linear_fusion
from neurokit.kernels.spike_linear_lif.fusion import LinearLayer
from neurokit.program.passes import PassError, fuse
from neurokit.program.passes.fold_norms import FOLD_NORMS
from neurokit.spec import ModelSpec, TensorSpec

from ..nets import conv_net, dyadic
from . import eager

PICTURE = TensorSpec("x", (2, 8, 8), low=0.0, high=2.0)


ROOT = Path(__file__).parents[3]
ZOO = ("spiking_cnn", "metaspikeformer_15m", "sew_resnet18")
OUTSIDE = ("spiking_vgg11_bn", "ms_resnet18", "spikformer_ti", "qkformer_10_384", "sdt_8_384")


@pytest.fixture(scope="module")
def captures():
    """Captures each small model once."""
    made = {}

    def get(name):
        if name not in made:
            made[name] = nk.capture(nk.load(name).in_small())
        return made[name]

    return get


@pytest.fixture(scope="module")
def exact():
    torch.manual_seed(0)
    return nk.exact(nk.capture(ModelSpec("net", lambda: dyadic(conv_net(pool="max")), (PICTURE,), time_steps=3)))


def planned(captured, **options):
    rows = nk.plan(captured, "aoti", kernels="all", **options).layers
    return [(row.kernel, row.inside) for row in rows]


def test_a_plan_names_the_kernel_of_every_layer_and_why_no_other(exact):
    made = nk.plan(exact.source, "aoti", numerics="exact", device="cuda")  # no GPU is needed to ask
    assert [row.kernel for row in made.layers] == ["spike_conv_lif", "spike_conv_lif", "spike_linear_lif"]
    assert "conv2d" in made.layers[1].inside
    assert "linear" in made.layers[2].inside
    step = nk.plan(exact.source, "aoti", kernels="all", form="step", numerics="exact").layers
    assert [row.kernel for row in step if row.neurons] == ["lif"] * 3
    assert [row.kernel for row in step if not row.neurons] == ["spike_conv_lif", "spike_conv_lif", "spike_linear_lif"]
    reasons = nk.plan(exact.source, "aoti", kernels="all").layers[1].reasons["spike_conv_lif"]
    assert "float32" in reasons
    with pytest.raises(InputError, match="nothing to say"):
        nk.plan(exact.source, "onnx")


def _turned(true):
    """A kernel that gives its spikes in another order, as words packed the wrong way round would be."""
    return lambda self, *given: (true(self, *given)[0].flip(-1), *true(self, *given)[1:])


def _other_reset(true):
    def forward(self, *given):
        kept = dict(self.keywords)
        self.keywords = {**kept, "v_reset": None if kept["v_reset"] is not None else 0.0}
        found = true(self, *given)
        self.keywords = kept
        return found

    return forward


@pytest.mark.parametrize("plant", [_turned, _other_reset])
def test_a_wrong_kernel_is_caught_where_it_is_put(plant, exact, monkeypatch):
    for layer in (ConvLayer, LinearLayer):
        monkeypatch.setattr(layer, "forward", plant(layer.forward))
    with pytest.raises(PassError, match="spikes do not follow from its current"):
        planned(exact.source, numerics="exact")


@pytest.mark.slow
@pytest.mark.parametrize("plant", [_turned, _other_reset])
def test_a_wrong_kernel_that_slipped_in_fails_verification(plant, exact, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    monkeypatch.setattr(fuse, "_check", lambda *given: None)
    monkeypatch.setattr(ConvLayer, "forward", plant(ConvLayer.forward))
    artifact = nk.lower(exact, "aoti", tmp_path / "a", kernels="all", verified=False)
    assert nk.verify(artifact).verdict == "failed"


class Membranes(nn.Module):
    """A membrane shortcut: what a convolution adds to is the current of a later neuron, too."""

    def __init__(self):
        from spikingjelly.activation_based import functional, layer, neuron

        super().__init__()
        self.first, self.sn1 = layer.Conv2d(2, 4, 3, padding=1), neuron.LIFNode()
        self.second, self.sn2 = layer.Conv2d(4, 4, 1), neuron.LIFNode(tau=4.0)
        self.third, self.sn3 = layer.Conv2d(4, 4, 3, padding=1, bias=False), neuron.IFNode()
        functional.set_step_mode(self, "m")

    def forward(self, x):
        x = self.first(x)
        x = x + self.second(self.sn1(x))
        return self.sn3(x + self.third(self.sn2(x)))


@pytest.mark.slow
@pytest.mark.parametrize("numerics", ["exact", "float"])
def test_a_residual_goes_with_the_kernel(numerics, membranes, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    inside = [with_it for _, with_it in planned(membranes, numerics=numerics)]
    assert any("add" in words for words in inside)
    artifact = nk.lower(membranes, "aoti", tmp_path / "a", kernels="all", numerics=numerics)
    assert artifact.manifest.parity["verdict"] in ("exact", *(["benign rounding"] if numerics == "float" else []))
    kernels = collections.Counter(row["kernel"] for row in artifact.manifest.target_info["kernels"])
    assert sum(kernels.values()) == 3


@pytest.fixture(scope="module")
def membranes():
    torch.manual_seed(3)
    return nk.capture(ModelSpec("net", lambda: dyadic(Membranes().eval()), (PICTURE,), time_steps=2))


def _sum_without_residual(true):
    """A kernel whose spikes are right, and that hands on its sum without what is added."""

    def call(spikes, weight, *, residual=None, **given):
        found = true(spikes, weight, residual=residual, **given)
        return (*found[:-1], true(spikes, weight, residual=None, **given)[-1])

    return call


@pytest.mark.parametrize(
    ("wrong", "precision"),
    [
        (False, "float16"),
        (True, "bfloat16"),
        *(pytest.param(*case, marks=pytest.mark.slow) for case in ((True, "float16"), (False, "bfloat16"))),
    ],
)
def test_a_twin_reads_the_sums_that_the_kernels_hand_on(wrong, precision, membranes, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    if wrong:
        monkeypatch.setattr(fuse, "_check", lambda *given: None)
        monkeypatch.setattr(linear_fusion, "spike_linear_lif", _sum_without_residual(linear_fusion.spike_linear_lif))
    options = {"kernels": "all", "precision": precision, "verified": False}
    artifact = nk.lower(membranes, "aoti", tmp_path / "a", **options)
    rows = {row["layer"]: row for row in artifact.manifest.target_info["kernels"]}
    assert rows["sn2"]["kernel"] == "spike_linear_lif"
    assert "add" in rows["sn2"]["with"]
    report = nk.verify(artifact)
    assert report.passed is not wrong, report.notes
    assert "package and probing twin put out the same bits" in report.notes  # they read the same sums, right or wrong


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
def test_16_bits_take_the_kernels_of_products(precision, exact, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    plan = planned(exact.source, precision=precision)
    assert [kernel for kernel, _ in plan] == ["spike_conv_lif", "spike_conv_lif", "spike_linear_lif"]
    artifact = nk.lower(exact.source, "aoti", tmp_path / "a", kernels="all", precision=precision, verified=False)
    report = nk.verify(artifact)
    assert report.passed, report.notes
    assert any(precision in note for note in report.notes)
    with nk.open(artifact) as runner:
        assert runner(torch.rand(3, 2, 2, 8, 8).numpy()).dtype == "float32"


def test_exact_numerics_and_another_precision_contradict_each_other(exact):
    with pytest.raises(InputError, match="precision of their own"):
        nk.plan(exact.source, "aoti", numerics="exact", precision="float16")


def test_folded_normalisations_are_torchs_own():
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 4, 1), nn.BatchNorm2d(4)).eval()
    for norm in (net[1], net[4]):
        for value, low in ((norm.running_mean, -1.0), (norm.running_var, 0.5), (norm.weight.data, 0.5)):
            value.uniform_(low, 2.0)
    x = torch.rand(2, 2, 6, 6)
    module = torch.export.export(net, (x,)).module(check_guards=False)
    FOLD_NORMS(module)
    assert not any("aten.batch_norm" in str(node.target) for node in module.graph.nodes)
    oracle = nn.Sequential(fuse_conv_bn_eval(net[0], net[1]), net[2], fuse_conv_bn_eval(net[3], net[4])).double()
    torch.testing.assert_close(module(x).double(), oracle(x.double()), rtol=1e-5, atol=1e-5)


def test_rows_of_a_weight_are_bytes_times_a_power_of_two_or_refused():
    weight = torch.tensor([[127.0, -3.0], [-64.0, 2.0], [0.0, 0.0]]) * torch.tensor([[0.25], [8.0], [1.0]])
    whole, unit = integer_rows(weight)
    assert whole.dtype == torch.int8
    torch.testing.assert_close(whole.double() * unit[:, None].double(), weight.double(), rtol=0.0, atol=0.0)
    assert isinstance(integer_rows(torch.tensor([[1.0, 1.0 / 3.0]])), str)


def test_a_dry_run_says_it_on_the_command_line(capsys, tmp_path):
    out = tmp_path / "a"
    line = ["export", "spiking_cnn", "--target", "aoti", "--option", "kernels=all", "--out", str(out)]
    assert main([*line, "--dry-run", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert [row["kernel"] for row in said["layers"]] == ["lif", "lif", "lif"]
    assert main([*line, "--dry-run"]) == 0
    assert capsys.readouterr().out.rstrip().endswith(f"next: {shlex.join(['neurokit', *line])}")
    assert not out.exists()
    assert main(["export", "spiking_cnn", "--target", "onnx", "--out", str(out), "--dry-run"]) == 2
    assert "nothing to say" in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO)
@pytest.mark.parametrize("numerics", ["exact", "float"])
def test_every_small_zoo_model_in_kernels_is_verified(name, numerics, captures, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    captured = captures(name)
    artifact = nk.lower(captured, "aoti", tmp_path / "a", kernels="all", numerics=numerics)
    parity = artifact.manifest.parity
    assert parity["verdict"] == ("exact" if numerics == "exact" else "benign rounding")
    if numerics == "exact":
        assert parity["spikes_flipped"] == 0
        kernels = {row["kernel"] for row in artifact.manifest.target_info["kernels"]}
        assert "spike_conv_lif" in kernels
        assert ("sdsa_lif" in kernels) == (name == "metaspikeformer_15m")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("spikformer_ti", {"pool_lif", "sdsa_lif"}),
        ("qkformer_10_384", {"gate_lif", "pool_lif", "sdsa_lif"}),
        ("sdt_8_384", {"gate_lif", "pool_lif"}),
    ],
)
def test_small_transformers_in_kernels_are_verified_exact(name, wanted, captures, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    captured = captures(f"{ROOT / 'examples' / 'spikingjelly_models.py'}:{name}_small")
    manifest = nk.lower(captured, "aoti", tmp_path / "a", kernels="all", numerics="exact").manifest
    assert (manifest.parity["verdict"], manifest.parity["spikes_flipped"]) == ("exact", 0)
    assert wanted <= {row["kernel"] for row in manifest.target_info["kernels"]}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", [*ZOO, *OUTSIDE])
def test_small_models_in_16_bits_in_kernels_are_verified(name, precision, captures, tmp_path, monkeypatch):
    eager.install(monkeypatch)
    path = f"{ROOT / 'examples' / 'spikingjelly_models.py'}:{name}_small" if name in OUTSIDE else name
    artifact = nk.lower(captures(path), "aoti", tmp_path / "a", kernels="all", precision=precision, verified=False)
    report = nk.verify(artifact)
    assert report.passed
    assert "package and probing twin put out the same bits" in report.notes
    assert {row["kernel"] for row in artifact.manifest.target_info["kernels"]} & {"spike_linear_lif", "spike_conv_lif"}

"""Modules as people write them that once ended in a traceback of torch: each is taken, or refused in its one line."""

import re

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module
from neurokit.spec import ModelSpec, TensorSpec

WIDTH, T = 8, 4


def spiking(*dtype):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(WIDTH, 5), neuron.LIFNode(step_mode="m"))
    return net.to(*dtype).eval()


class ReadsMembrane(nn.Module):
    """Adds the membrane after the last step to the spikes' mean."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(WIDTH, 5), neuron.LIFNode(step_mode="m")

    def forward(self, x):
        return self.lif(3 * self.fc(x)).mean(0) + 0.5 * self.lif.v


def test_a_weight_under_another_name_than_its_layers_has_an_exact_form():
    torch.manual_seed(0)
    net = nn.Sequential(nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, 5)), neuron.IFNode(step_mode="m")).eval()
    x = torch.rand(T, 3, WIDTH)
    made = nk.exact(capture(net, x))
    assert made.proof.status == "exact"


def test_attention_of_torch_is_traced_in_its_parts():
    torch.manual_seed(0)
    net = nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True).eval()
    fused = torch.backends.mha.get_fastpath_enabled()
    captured = capture(net, torch.rand(2, 6, WIDTH))
    assert torch.backends.mha.get_fastpath_enabled() == fused
    called = {str(node.target) for node in captured.program.graph.nodes}
    assert not any("native_multi_head" in name or "transformer_encoder" in name for name in called)
    with pytest.raises(UnsupportedError, match="is no sum of products"):
        nk.lower(captured, "onnx", "never", numerics="exact")


class Attends(nn.Module):
    """Softmax attention as people call it: plain, causal, of three axes, with fewer queries, by torch's own module."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.qkv, self.block = nn.Linear(WIDTH, 3 * WIDTH), nn.TransformerEncoderLayer(WIDTH, 2, 16, batch_first=True)

    def forward(self, x):
        attend = nn.functional.scaled_dot_product_attention
        flat = self.qkv(x).chunk(3, -1)
        q, k, v = (part.unflatten(-1, (2, WIDTH // 2)).transpose(1, 2) for part in flat)
        causal = attend(q, k, v, is_causal=True)
        return attend(q, k, v), causal, attend(*flat), attend(q[:, :, :3], k, v, scale=0.5), self.block(x)


def test_attention_without_a_mask_is_lowered_at_the_plain_opset(tmp_path):
    x, net = torch.randn(3, 6, WIDTH), Attends().eval()
    artifact = nk.lower(capture(net, x), "onnx", tmp_path / "a", verified=False)
    assert artifact.manifest.opset == 20
    with nk.open(artifact) as runner, torch.no_grad():
        found = runner({artifact.manifest.inputs[0].name: x.numpy()})
        for mine, theirs in zip(found.values(), net.double()(x.double()), strict=True):
            np.testing.assert_allclose(mine, theirs.numpy(), atol=2e-6)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_exact_and_nir_hold_float32_alone_and_say_so_before_work(dtype, tmp_path):
    captured = capture(spiking(dtype), torch.rand(T, 2, WIDTH).to(dtype))
    name = str(dtype).removeprefix("torch.")
    with pytest.raises(UnsupportedError, match=rf"0: aten\.linear\.default: it computes in {name}, and the exact form"):
        nk.exact(captured)
    with pytest.raises(UnsupportedError, match=f"it computes in {name}, and a NIR file"):
        nk.lower(captured, "nir", tmp_path / "a")


class Convolves(nn.Module):
    """Computes in another type than its input's."""

    def __init__(self, dtype):
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3).to(dtype)

    def forward(self, x):
        return torch.relu(self.conv(x.to(self.conv.weight.dtype)))


@pytest.mark.parametrize(
    ("dtype", "target", "why"),
    [
        (torch.float64, "onnx", "conv: aten.conv2d.default: ONNX Runtime has no float64 convolution"),
        (torch.float64, "openvino", "it computes in float64, and OpenVINO's CPU plugin runs that in float32"),
        (torch.float64, "onnx-int8", "it computes in float64, and 8 bits are calibrated in float32"),
        (torch.float16, "onnx-int8", "it computes in float16, and 8 bits are calibrated in float32"),
    ],
)
def test_what_a_runtime_lacks_in_a_type_is_said_before_work(dtype, target, why, tmp_path):
    x = torch.rand(4, 1, 6, 6)
    given = {"calibration": x} if target == "onnx-int8" else {}
    with pytest.raises(UnsupportedError, match=re.escape(why)):
        nk.lower(capture(Convolves(dtype).eval(), x), target, tmp_path / "a", **given)


@pytest.mark.slow
@pytest.mark.parametrize("dtypes", [(torch.float16, torch.float32), (torch.float64, torch.float32)])
def test_modules_of_two_types_are_captured_and_verified(dtypes, tmp_path):
    class Mixed(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(WIDTH, 6).to(dtypes[0]), nn.Linear(6, 3).to(dtypes[1])
            self.lif = neuron.LIFNode(step_mode="m")

        def forward(self, x):
            return self.b(self.lif(4 * self.a(x.to(dtypes[0]))).to(dtypes[1]))

    net, x = Mixed().eval(), torch.rand(T, 2, WIDTH)
    artifact = nk.lower(capture(net, x, compare=True), "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    with nk.open(artifact) as runner, torch.no_grad():
        np.testing.assert_allclose(runner(x.numpy()), net(x).numpy(), atol=1e-5)


def test_bfloat16_is_refused_by_the_layer_that_computes_in_it(tmp_path):
    captured = capture(spiking(torch.bfloat16), torch.rand(T, 2, WIDTH).bfloat16())
    with pytest.raises(UnsupportedError, match=r"0: aten\.linear\.default: it computes in bfloat16"):
        nk.lower(captured, "onnx", tmp_path / "a")


def test_a_half_precision_network_without_neurons_is_held_to_its_own_unit(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 5)).half().eval()
    x = torch.rand(2, 2, 8, 8).half()
    artifact = nk.lower(capture(net, x), "onnx", tmp_path / "a")
    report = artifact.manifest.parity
    assert report["verdict"] == "within tolerance"
    assert report["output_tolerance"] == pytest.approx(1e-4 * 2.0**13)  # 2^-11 is so many times 2^-24
    with nk.open(artifact) as runner, torch.no_grad():
        np.testing.assert_allclose(runner(x.numpy()), net.double()(x.double()).numpy(), atol=5e-3)


def test_nir_says_that_a_membrane_is_read_outside_of_its_neuron(tmp_path):
    captured = capture(ReadsMembrane().eval(), torch.rand(T, 2, WIDTH))
    with pytest.raises(UnsupportedError, match="it reads a membrane or another state outside of a neuron"):
        nk.lower(captured, "nir", tmp_path / "a")


class Loud(nn.Module):
    """One step a call, normalised by its largest value: an operation that torch.vmap does not trace."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif = nn.Linear(WIDTH, 5), neuron.LIFNode()

    def forward(self, x):
        return self.lif(3 * self.fc(x / x.max()))


def test_a_loop_over_operations_that_vmap_does_not_trace_is_rolled_up():
    spec = ModelSpec("loud", lambda: Loud().eval(), (TensorSpec("x", (WIDTH,)),), time_steps=T, time_input="step")
    captured = capture(spec, batch=1)
    assert not any("_add_batch_dim" in str(node.target) for node in captured.program.graph.nodes)
    x, net = torch.rand(T, 1, WIDTH), Loud().eval()
    with torch.no_grad():
        found, *_ = captured.program.module()(x, *captured.initial_states(1))
        assert torch.equal(found, torch.stack([net(step) for step in x]))


@pytest.mark.parametrize(("gives", "says"), [("sequence", "mean"), ("mean", "sequence"), ("mean", "last")])
def test_a_wrong_time_output_is_named(gives, says, tmp_path):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.fc, self.lif = nn.Linear(WIDTH, 5), neuron.LIFNode(step_mode="m")

        def forward(self, x):
            y = self.lif(4 * self.fc(x))
            return y if gives == "sequence" else y.mean(0)

    spec = ModelSpec("net", lambda: Net().eval(), (TensorSpec("x", (WIDTH,)),), time_steps=T, time_output=says)
    if "sequence" in (gives, says):
        with pytest.raises(UnsupportedError, match=f"its specification says time_output='{says}', and its output is"):
            capture(spec)
        return
    captured = capture(spec, compare=True)
    with pytest.raises(UnsupportedError, match="is not the last of what single steps give, as time_output says"):
        nk.lower(captured, "onnx-step", tmp_path / "a")


class Resonates(nn.Module):
    """A membrane of complex numbers, as a variable of forward."""

    def __init__(self, start=0.0):
        super().__init__()
        self.start = start
        self.decay, self.turn = nn.Parameter(torch.full((5,), 0.8)), nn.Parameter(torch.rand(5))

    def forward(self, x):
        z = torch.full((x.shape[1], 5), self.start, dtype=torch.complex64)
        step, found = torch.polar(self.decay, self.turn), []
        for x_t in x:
            z = z * step + x_t
            spike = (z.real > 1).to(x.dtype)
            z = z - spike
            found.append(spike)
        return torch.stack(found)


@pytest.mark.parametrize("target", ["onnx", "onnx-step", pytest.param("onnx-scan", marks=pytest.mark.slow)])
def test_complex_numbers_are_said_to_be_why(target, tmp_path):
    """The checker's error, one of zip() and functorch's words were shown."""
    captured = nk.capture(spec_of_module(Resonates().eval(), "net", (5,), 4))
    with pytest.raises(UnsupportedError, match="it gives complex numbers, which ONNX has no type for; fix: keep real"):
        nk.lower(captured, target, tmp_path / "a")


@pytest.mark.filterwarnings("error::numpy.exceptions.ComplexWarning")
@pytest.mark.parametrize("start", [0.0, 0.5 + 1.5j])
def test_a_step_begins_with_a_complex_membrane(start):
    """Its imaginary part was left out, with a warning of NumPy's."""
    torch.manual_seed(0)
    net = Resonates(start).eval()
    step = nk.capture(spec_of_module(net, "net", (5,), 4)).retrace(form="step")
    x, found = 2 * torch.rand(6, 3, 5, generator=torch.Generator().manual_seed(1)), []
    run, state = step.program.module(), step.initial_states(3)
    with torch.no_grad():
        for q in x:
            y, *state = run(q, *state)
            found.append(y)
        assert 0 < net(x).mean() < 1
        assert torch.equal(torch.stack(found), net(x))


class Sparse(nn.Module):
    """A reservoir whose recurrent weights are held sparse."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(WIDTH, WIDTH)
        self.register_buffer("recurrent", torch.eye(WIDTH).to_sparse())

    def forward(self, x):
        return self.fc(torch.sparse.mm(self.recurrent, x.t()).t())


class Mapped(nn.Module):
    """One sample of the batch at a time, by torch.vmap."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(WIDTH, 5)

    def forward(self, x):
        return torch.vmap(lambda one: self.fc(one).relu())(x)


@pytest.mark.parametrize(
    ("net", "said"),
    [
        (Sparse, r"torch.sparse.mm\(.*\.py:\d+\): torch.export takes no sparse tensor .*to_dense"),
        (Mapped, r"torch.vmap: torch.export does not finish .*whole batch"),
    ],
)
def test_what_torch_does_not_trace_is_told_by_its_call(net, said):
    """One was told to run with --debug, the other ended in functorch's own words when it was lowered."""
    with pytest.raises(UnsupportedError, match=said):
        capture(net().eval(), torch.rand(3, WIDTH))

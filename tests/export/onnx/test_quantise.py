"""The target onnx-int8: its quantised layers against the meaning of their operators, and against the float model."""

import dataclasses
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.data.digits import load_digits
from neurokit.data.labelled import Labelled
from neurokit.data.synthetic import images
from neurokit.dims import Dim
from neurokit.errors import InputError, UnsupportedError
from neurokit.export.onnx import quantise as int8_quantise
from neurokit.export.onnx.qdq_reference import convolve, largest, reference_run, transposed
from neurokit.export.targets.onnx_int8 import calibration_of
from neurokit.render.accuracy import accuracy
from neurokit.spec import ModelSpec, TensorSpec

EXAMPLE = Path(__file__).parents[3] / "examples" / "digits_ann.py"


def residual_net():
    """Every way in which a convolution or product meets others: residual, depthwise, clip, pooling, linear."""

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.bn = nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8)
            self.b, self.c = nn.Conv2d(8, 8, 3, padding=2, dilation=2, groups=8), nn.Conv2d(8, 8, 1)
            self.fc = nn.Linear(8, 5)

        def forward(self, x):
            x = torch.relu(self.bn(self.a(x)))
            x = x + F.relu6(self.c(self.b(x)))
            return self.fc(F.max_pool2d(x, 2).mean((2, 3)))

    torch.manual_seed(0)
    net = Net().eval()
    nn.init.uniform_(net.bn.running_var, 0.1, 0.5)
    return net


def spec_of(net, shape=(3, 16, 16), **more):
    return ModelSpec("net", lambda: net, (TensorSpec("image", shape),), **more)


@pytest.fixture(scope="module")
def captured():
    return nk.capture(spec_of(residual_net()))


@pytest.fixture(scope="module")
def digits():
    spec = nk.load(f"{EXAMPLE}:digits_cnn")
    return nk.capture(spec), load_digits()


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 2]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(1, 2),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
)
def test_the_references_convolution_is_torchs(stride, kernel, dilation, padding, groups, biased):
    generator = torch.Generator().manual_seed(kernel * 8 + groups)
    x = torch.rand(2, 4, 9, 8, generator=generator)
    w = torch.rand(8, 4 // groups, kernel, kernel, generator=generator)
    b = torch.rand(8, generator=generator) if biased else None
    wanted = F.conv2d(x, w, b, stride, padding, dilation, groups)
    found = convolve(
        x.numpy(), w.numpy(), None if b is None else b.numpy(), [dilation] * 2, groups, [padding] * 4, [stride] * 2
    )
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("rounds_up", [False, True])
@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding"), [(8, 3, 1, 1), (9, 3, 2, 0), (10, 3, 2, 1), (7, 2, 3, 0)]
)
def test_the_references_maximum_is_torchs(size, kernel, stride, padding, rounds_up):
    x = torch.randint(0, 256, (2, 3, size, size + 1), dtype=torch.uint8, generator=torch.Generator().manual_seed(size))
    wanted = F.max_pool2d(x.float(), kernel, stride, padding, ceil_mode=rounds_up)
    found = largest(x.numpy(), [kernel] * 2, None, [padding] * 4, [stride] * 2, rounds_up)
    assert found.dtype == np.uint8
    assert np.array_equal(found, wanted.numpy())


def test_calibration_data_may_have_any_size_that_a_free_axis_may_have():
    port = TensorSpec("waveform", (Dim("samples", min=160, max=1600, multiple=160), 2))
    captured = SimpleNamespace(spec=ModelSpec("waves", torch.nn.Identity, (port,)), inputs=())
    feeds, _ = calibration_of(captured, np.zeros((3, 320, 2)))
    assert feeds["waveform"].shape == (3, 320, 2)
    for wrong in ((3, 330, 2), (3, 3200, 2), (3, 320, 1), (3, 320), (0, 320, 2)):
        with pytest.raises(InputError, match="calibration data have shape"):
            calibration_of(captured, np.zeros(wrong))


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([1, 2, 3]),
    st.integers(1, 3),
    st.integers(1, 2),
    st.integers(0, 1),
    st.sampled_from([1, 2, 4]),
    st.booleans(),
)
def test_the_references_transposed_convolution_is_torchs(stride, kernel, dilation, padding, groups, biased):
    generator = torch.Generator().manual_seed(kernel * 8 + groups)
    more = int(stride > 1)
    x = torch.rand(2, 4, 5, 4, generator=generator)
    w = torch.rand(4, 8 // groups, kernel, kernel, generator=generator)
    b = torch.rand(8, generator=generator) if biased else None
    wanted = F.conv_transpose2d(x, w, b, stride, padding, more, groups, dilation)
    bias = None if b is None else b.numpy()
    found = transposed(x.numpy(), w.numpy(), bias, [dilation] * 2, groups, [padding] * 4, [stride] * 2, [more] * 2)
    np.testing.assert_allclose(found, wanted.numpy(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"device": "tensorrt"}, {"reduce_range": True}, {"method": "entropy"}])
def test_layers_are_what_their_operators_mean(captured, options, tmp_path):
    x = images(16, (3, 16, 16))
    artifact = nk.lower(
        captured, "onnx-int8", tmp_path / "a", calibration=x, inputs=images(4, (3, 16, 16), 1), **options
    )
    report = nk.verify(artifact)
    assert report.verdict == "within tolerance", report.notes
    assert report.output_error_free < 0.05
    for level in range(4):
        assert nk.verify(artifact, level=level, threads=1).passed
    model = onnx.load(str(artifact.file("model.onnx")))
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    kinds = {held[n.input[2]].dtype for n in model.graph.node if n.op_type == "QuantizeLinear"}
    assert kinds == {np.dtype(np.int8 if options.get("device") == "tensorrt" else np.uint8)}
    weights = [v for k, v in held.items() if k.endswith("weight_quantized")]
    assert len(weights) == 4
    assert all(w.dtype == np.int8 for w in weights)
    assert max(np.abs(w.astype(int)).max() for w in weights) <= (64 if options.get("reduce_range") else 127)
    scales = [v for k, v in held.items() if k.endswith("weight_scale")]
    assert sorted(len(s) for s in scales) == [5, 8, 8, 8], "one scale a channel"
    if options.get("device") == "tensorrt":
        zeros = [held[n.input[2]] for n in model.graph.node if n.op_type == "QuantizeLinear"]
        assert all((zero == 0).all() for zero in zeros)
        assert not any(v.dtype == np.int32 for v in held.values()), "biases stay in float"
    quantised = {n.op_type for n in model.graph.node} & {"QLinearConv", "QLinearAdd", "QLinearMatMul"}
    assert not quantised
    assert artifact.manifest.numerics == "int8"
    assert artifact.manifest.target_info["quantisation"]["calibration_samples"] == 16


def test_the_reference_is_the_arithmetic_of_integers(tmp_path):
    """One linear layer by hand: integers, scales and zero points, in rational numbers as far as they go."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 3)).eval()
    x = torch.rand(8, 6)
    artifact = nk.lower(nk.capture(spec_of(net, (6,))), "onnx-int8", tmp_path / "a", calibration=x, inputs=x)
    model = onnx.load(str(artifact.file("model.onnx")))
    held = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    first, last = [n for n in model.graph.node if n.op_type == "QuantizeLinear"]
    scale, zero = held[first.input[1]].astype(np.float64), int(held[first.input[2]])
    out_scale, out_zero = held[last.input[1]].astype(np.float64), int(held[last.input[2]])
    weight = next(v for k, v in held.items() if k.endswith("weight_quantized")).astype(np.int64)
    scales = next(v for k, v in held.items() if k.endswith("weight_scale")).astype(np.float64)
    bias = next(v for k, v in held.items() if k.endswith("bias_quantized")).astype(np.int64)
    units = np.clip(np.round(x.numpy() / scale) + zero, 0, 255).astype(np.int64)
    sums = (units - zero) @ (weight.T if weight.shape == (3, 6) else weight) + bias
    wanted = np.clip(np.round(sums * scale * scales / out_scale) + out_zero, 0, 255)
    found = reference_run(model, {model.graph.input[0].name: x.numpy()})
    assert np.array_equal(found[first.output[0]], units)
    assert np.abs(found[last.output[0]].astype(int) - wanted).max() <= 1
    assert (found[last.output[0]] == wanted).mean() > 0.9


def test_digits_keep_their_accuracy_and_the_manifest_says_so(digits, tmp_path):
    captured, data = digits
    held_out = Labelled(data.test_images.numpy(), data.test_labels.numpy(), "held-out digits")
    artifact = nk.lower(captured, "onnx-int8", tmp_path / "a", calibration=data.train_images[:128], data=held_out)
    found = nk.Artifact.load(artifact.path).manifest.target_info
    assert found["accuracy"]["samples"] == 450
    with nk.open(artifact) as runner:
        right = float((runner(data.test_images.numpy()).argmax(1) == data.test_labels.numpy()).mean())
    assert found["accuracy"]["after"] == pytest.approx(right)
    assert found["accuracy"]["before"] > 0.97
    assert found["accuracy"]["after"] >= found["accuracy"]["before"] - 0.003
    assert found["against_float"]["top1_agreement"] > 0.99
    assert found["against_float"]["output_relative_l2"] < 0.05


def test_a_wrong_scale_is_found(captured, tamper, tmp_path):
    artifact = nk.lower(
        captured, "onnx-int8", tmp_path / "a", calibration=images(16, (3, 16, 16)), inputs=images(4, (3, 16, 16), 1)
    )
    assert nk.verify(artifact).passed

    def double(model):
        tensor = next(t for t in model.graph.initializer if t.name.endswith("fc.weight_scale"))
        tensor.CopyFrom(numpy_helper.from_array(2 * numpy_helper.to_array(tensor), tensor.name))

    assert nk.verify(tamper(artifact, double)).verdict == "failed"


def test_a_kernel_that_saturates_is_found(captured, tmp_path, monkeypatch):
    artifact = nk.lower(
        captured,
        "onnx-int8",
        tmp_path / "a",
        calibration=images(16, (3, 16, 16)),
        inputs=images(4, (3, 16, 16), 1),
        verified=False,
    )
    from neurokit.export.targets import onnx_int8 as int8_target

    real = int8_target.reference_run

    def off_by_two(model, x):
        found = real(model, x)
        name = next(n for n, v in found.items() if v.dtype == np.uint8 and v.ndim == 4 and v.max() > 100)
        found[name] = np.where(found[name] > 100, found[name] - 2, found[name]).astype(np.uint8)
        return found

    monkeypatch.setattr(int8_target, "reference_run", off_by_two)
    report = nk.verify(artifact)
    assert report.verdict == "failed"
    assert any("reduce_range" in note for note in report.notes)


def test_refusals(captured, digits, tmp_path):
    x = images(4, (3, 16, 16))
    out = tmp_path / "a"
    with pytest.raises(InputError, match="needs calibration data"):
        nk.lower(captured, "onnx-int8", out)
    for wrong in (x[:, :2], x[0], torch.full_like(x, torch.nan)):
        with pytest.raises(InputError, match="calibration data"):
            nk.lower(captured, "onnx-int8", out, calibration=wrong)
    for options in ({"bit": 4}, {"device": "npu"}, {"reduce_range": "yes"}, {"max_error": 2}, {"method": 3}):
        with pytest.raises(InputError):
            nk.lower(captured, "onnx-int8", out, calibration=x, **options)
    with pytest.raises(UnsupportedError) as refused:
        nk.lower(nk.capture(nk.load("spiking_cnn")), "onnx-int8", out)
    assert "--numerics exact" in str(refused.value.reasons[0])
    with pytest.raises(UnsupportedError):
        nk.lower(captured, "onnx-int8", out, numerics="exact", calibration=x)
    with pytest.raises(InputError, match="onnx-int8"):
        nk.lower(captured, "onnx", out, calibration=x)
    with pytest.raises(InputError, match="as many labels"):
        nk.lower(captured, "onnx-int8", out, calibration=x, data=Labelled(x.numpy(), np.zeros(3, int)))
    with pytest.raises(InputError, match="one label for each input"):
        nk.lower(captured, "onnx-int8", out, calibration=x, data=Labelled(x.numpy(), np.zeros((4, 1), int)))
    assert not out.exists()


def test_the_processor_decides_on_the_range_of_weights(monkeypatch):
    from neurokit.target import LowerOptions

    for safe in (True, False):
        monkeypatch.setattr(int8_quantise, "multiplies_bytes_safely", lambda safe=safe: safe)
        assert int8_quantise.settings_of(LowerOptions()).reduce_range is not safe
        assert not int8_quantise.settings_of(LowerOptions(extra={"device": "tensorrt"})).reduce_range
        assert int8_quantise.settings_of(LowerOptions(extra={"reduce_range": True})).reduce_range


def test_a_fixed_batch(tmp_path):
    fixed = nk.capture(dataclasses.replace(spec_of(residual_net()), example=None), batch=2)
    artifact = nk.lower(fixed, "onnx-int8", tmp_path / "a", calibration=images(5, (3, 16, 16)), max_error=0.4)
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert artifact.manifest.target_info["against_float"]["samples"] == 4


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # a file as torch's older exporter writes it
def test_the_command_line_on_an_onnx_file(tmp_path, capsys):
    x = images(16, (3, 16, 16)).numpy()
    torch.onnx.export(
        residual_net(),
        (torch.from_numpy(x[:1]),),
        str(tmp_path / "net.onnx"),
        dynamo=False,
        input_names=["x"],
        dynamic_axes={"x": {0: "B"}},
    )
    np.save(tmp_path / "x.npy", x)
    np.savez(tmp_path / "data.npz", x=x, y=np.zeros(16, int))
    arguments = [
        "export",
        str(tmp_path / "net.onnx"),
        "--target",
        "onnx-int8",
        "--out",
        str(tmp_path / "a"),
        "--calibration",
        str(tmp_path / "x.npy"),
        "--data",
        str(tmp_path / "data.npz"),
    ]
    assert cli.main([*arguments, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parity"]["verdict"] == "within tolerance"
    assert said["accuracy"]["agreement"] > 0.9
    assert said["quantisation"]["activations"] == "U8"
    assert cli.main(["verify", str(tmp_path / "a")]) == 0
    assert cli.main([*arguments, "--force", "--option", "method=percentile"]) == 0
    assert "against float" in capsys.readouterr().out
    assert cli.main([*arguments[:-4], "--force"]) == 2, "no calibration data"
    (tmp_path / "bad.npz").write_bytes(b"no archive")
    assert cli.main([*arguments[:-1], str(tmp_path / "bad.npz"), "--force"]) == 2
    assert cli.main(["targets", "--json"]) == 0
    assert "onnx-int8" in capsys.readouterr().out


class _Pair(nn.Module):
    """A picture and a row of numbers, joined; the numbers' range is a hundred times the picture's."""

    def __init__(self):
        super().__init__()
        self.conv, self.row, self.head = nn.Conv2d(1, 4, 3), nn.Linear(5, 16), nn.Linear(32, 6)

    def forward(self, image, numbers):
        seen = torch.relu(self.conv(image)).mean((2, 3))
        return self.head(torch.cat([seen.repeat(1, 4), torch.relu(self.row(numbers)) * 0.01], 1))


def test_several_inputs_are_calibrated_by_name(tmp_path, capsys):
    """Oracle: the float module; ranges of the one input on the other would clip it away."""
    from neurokit.cli import main
    from neurokit.spec import ModelSpec, TensorSpec

    torch.manual_seed(0)
    net = _Pair().eval()
    ports = (TensorSpec("image", (1, 8, 8)), TensorSpec("numbers", (5,), high=100.0))
    spec = ModelSpec("pair", lambda: net, ports)
    captured = nk.capture(spec)
    x = {"image": torch.rand(40, 1, 8, 8), "numbers": 100 * torch.rand(40, 5)}
    artifact = nk.lower(captured, "onnx-int8", tmp_path / "a", calibration=x)
    assert artifact.manifest.parity["passed"], artifact.manifest.parity
    feeds = {name: value[:20].numpy() for name, value in x.items()}
    with nk.open(artifact) as runner:
        y = runner(feeds)["y"]
    wanted = net(*(value[:20] for value in x.values())).detach().numpy()
    error = float(np.linalg.norm(y - wanted) / np.linalg.norm(wanted))
    assert error < 0.03
    swapped = {**x, "numbers": x["numbers"] / 100}
    worse = nk.lower(captured, "onnx-int8", tmp_path / "b", calibration=swapped, verified=False)
    with nk.open(worse) as runner:
        clipped = runner(feeds)["y"]
    assert float(np.linalg.norm(clipped - wanted) / np.linalg.norm(wanted)) > 5 * error
    for data, why in (
        (x["image"], "data of one input were given, and there are 2: image, numbers"),
        ({"image": x["image"]}, "data of input 'numbers' are missing"),
        ({**x, "numbers": x["numbers"][:3]}, "different numbers of samples: image 40, numbers 3"),
    ):
        with pytest.raises(InputError, match=why):
            nk.lower(captured, "onnx-int8", tmp_path / "c", calibration=data)
    (tmp_path / "pair.py").write_text(
        "import torch\nfrom torch import nn\nimport neurokit as nk\n"
        "class Pair(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = nn.Linear(5, 6)\n"
        "        self.b = nn.Linear(3, 6)\n    def forward(self, x, z):\n        return self.a(x) + self.b(z)\n"
        "def pair():\n    ports = (nk.TensorSpec('x', (5,)), nk.TensorSpec('z', (3,)))\n"
        "    return nk.ModelSpec('pair', lambda: Pair().eval(), ports)\n"
    )
    np.savez(tmp_path / "c.npz", x=np.ones((9, 5)), z=np.linspace(0, 1, 27).reshape(9, 3))
    command = ["export", f"{tmp_path}/pair.py:pair", "--target", "onnx-int8", "--out", str(tmp_path / "d")]
    assert main([*command, "--calibration", str(tmp_path / "c.npz")]) == 0
    assert "calibrated on 9 samples of given data" in " ".join(capsys.readouterr().out.split())


class Recurrent(nn.Module):
    """Nothing that int8 takes: its products are within one operator."""

    def __init__(self):
        super().__init__()
        self.lstm = nn.LSTM(10, 8, batch_first=True)

    def forward(self, x):
        return self.lstm(x)[0]


def test_a_network_of_which_nothing_would_be_in_8_bits_is_refused(tmp_path):
    spec = ModelSpec("lstm", lambda: Recurrent().eval(), (TensorSpec("x", (6, 10)),))
    data = np.random.default_rng(0).random((8, 6, 10), dtype=np.float32)
    with pytest.raises(UnsupportedError, match="no convolution or linear layer"):
        nk.lower(nk.capture(spec), "onnx-int8", tmp_path / "a", calibration=data)
    assert list(tmp_path.iterdir()) == []


class Tokens(nn.Module):
    """Linear layers over tokens, a constant transform, and a product of two activations."""

    def __init__(self):
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(16, 32), nn.LayerNorm(32), nn.Linear(32, 5, bias=False)
        self.register_buffer("fourier", torch.linalg.qr(torch.randn(16, 16))[0], persistent=False)

    def forward(self, x):
        x = self.norm(torch.relu(self.first(x @ self.fourier)))
        return self.last((x @ x.transpose(1, 2)).softmax(2) @ x).mean(1)


@pytest.fixture(scope="module")
def tokens():
    torch.manual_seed(0)
    module = Tokens().eval()
    module.last.weight.data[0] *= 30  # a channel whose size costs bits
    spec = ModelSpec("tokens", lambda: module, (TensorSpec("x", (6, 16), layout="LF", low=-1),), classes=tuple("abcde"))
    return nk.capture(spec), np.random.default_rng(0).standard_normal((16, 6, 16)).astype(np.float32)


def test_linear_layers_of_transformers_are_in_8_bits_and_what_is_computed_is_not(tokens, tmp_path):
    captured, data = tokens
    artifact = nk.lower(captured, "onnx-int8", tmp_path / "a", calibration=data)
    model = onnx.load(str(artifact.path / "model.onnx"))
    read = {node.input[0]: node for node in model.graph.node if node.op_type == "DequantizeLinear"}
    weights = {node.input[0] for node in read.values()} & {t.name for t in model.graph.initializer}
    assert sorted(list(t.dims) for t in model.graph.initializer if t.name in weights and len(t.dims) == 2) == [
        [16, 32],
        [32, 5],
    ]
    said = artifact.manifest.target_info["quantisation"]
    assert said["operators"] == ["MatMul"]
    assert said["layers"] == 2
    assert artifact.manifest.target_info["against_float"]["output_relative_l2"] < 0.05
    assert nk.verify(artifact).passed


def test_times_say_layer_by_layer_where_the_time_goes(tmp_path):
    """The profile's kernels against what ONNX Runtime is known to make of the file: both layers as integers."""
    torch.manual_seed(0)
    parts = [torch.nn.Conv2d(8, 16, 3, padding=1), torch.nn.SiLU(), torch.nn.Conv2d(16, 8, 1), torch.nn.ReLU()]
    net = torch.nn.Sequential(*parts, torch.nn.Flatten(), torch.nn.Linear(8 * 16 * 16, 4)).eval()
    spec = ModelSpec("timed", lambda: net, (TensorSpec("x", (8, 16, 16), layout="CHW"),))
    x = torch.rand(8, 8, 16, 16, generator=torch.Generator().manual_seed(1))
    options = {"times": True, "keep": "5"}
    artifact = nk.lower(nk.capture(spec), "onnx-int8", tmp_path / "a", calibration=x, verified=False, **options)
    said = artifact.manifest.target_info["quantisation"]["layer_times"]
    assert {row["layer"]: row["kernel"] for row in said["layers"]} == {"0": "QLinearConv", "2": "QLinearConv"}
    assert all(row["float_ms"] > 0 < row["int8_ms"] for row in said["layers"])
    assert said["operators"]["float"]["Conv"] >= sum(row["float_ms"] for row in said["layers"]) - 1e-9
    assert "QuantizeLinear" not in said["operators"]["float"]
    assert 0 < said["rounding_ms"] < said["int8_ms"]
    with pytest.raises(InputError, match="times is 3"):
        nk.lower(nk.capture(spec), "onnx-int8", tmp_path / "b", calibration=x, times=3)
    assert not (tmp_path / "b").exists()


def test_layers_that_cost_most_are_named_and_stay_in_float(tokens, tmp_path):
    captured, data = tokens
    options = {"auto": 0.5}
    artifact = nk.lower(captured, "onnx-int8", tmp_path / "a", calibration=data, **options)
    said = artifact.manifest.target_info["quantisation"]
    costs = {row["layer"]: row["output_relative_l2"] for row in said["costs"]}
    assert set(costs) == {"first", "last"}
    for name, cost in costs.items():  # by the other option, from the file itself
        rest = next(other for other in costs if other != name)
        alone = nk.lower(captured, "onnx-int8", tmp_path / name, calibration=data, keep=rest)
        assert alone.manifest.target_info["quantisation"]["kept"] == [rest]
        assert alone.manifest.target_info["against_float"]["output_relative_l2"] == pytest.approx(cost, rel=1e-6)
    assert len(said["kept"]) < 2
    agreement = artifact.manifest.target_info["against_float"]["top1_agreement"]
    assert 100 * (1 - agreement) < 0.5
    assert said["sizes"]["int8"]["bytes"] < said["sizes"]["float"]["bytes"] * 1.5
    assert "warnings" in said  # of a network of a few hundred weights the scales alone are more than 8 bits spare
    for wrong, message in (
        ({"keep": "third"}, "no layer"),
        ({"keep": "*"}, "all 2 layers"),
        ({"auto": 0}, "auto is 0"),
    ):
        with pytest.raises(InputError, match=message):
            nk.lower(captured, "onnx-int8", tmp_path / "b", calibration=data, **wrong)


@pytest.mark.parametrize(("width", "keep", "larger"), [(64, "", False), (64, "big", True), (2, "", True)])
def test_a_file_that_is_no_smaller_than_the_float_file_is_said(width: int, keep: str, larger: bool, tmp_path):
    net = nn.Sequential()
    net.add_module("big", nn.Linear(64, width))
    net.add_module("last", nn.Linear(width, 2))
    spec = ModelSpec("sized", lambda: net.eval(), (TensorSpec("x", (64,)),))
    captured, x = nk.capture(spec), torch.rand(8, 64, generator=torch.Generator().manual_seed(0))
    whole = nk.lower(captured, "onnx", tmp_path / "f", verified=False).manifest.files["model.onnx"].bytes
    artifact = nk.lower(captured, "onnx-int8", tmp_path / "q", calibration=x, verified=False, keep=keep)
    made = artifact.manifest.files["model.onnx"].bytes
    said = artifact.manifest.target_info["quantisation"].get("warnings", [])
    assert (made > whole) == larger == bool(said)
    if said:
        assert f"{made:,} B" in said[0]
        assert any("--target onnx" in str(line) for line in accuracy(artifact.manifest.target_info))


def test_weights_alone_in_8_bits_are_the_rounded_network(tmp_path):
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(576, 40), nn.ReLU(), nn.Linear(40, 5)
    net, x = nn.Sequential(*layers).eval(), torch.rand(24, 3, 8, 8)
    captured = nk.capture(net, x[:2])
    whole = nk.lower(captured, "onnx", tmp_path / "f", verified=False)
    artifact = nk.lower(captured, "onnx-int8", tmp_path / "w", calibration=x, activations="float")
    assert artifact.manifest.parity["passed"]
    assert artifact.manifest.target_info["quantisation"]["activations"] == "float"
    sizes = [made.manifest.files["model.onnx"].bytes for made in (whole, artifact)]
    assert sizes[1] < 0.4 * sizes[0]
    with torch.no_grad():
        for name, weight in net.named_parameters():
            if name.endswith("weight"):
                scale = weight.abs().amax(tuple(range(1, weight.dim())), keepdim=True) / 127
                weight.copy_((weight / scale).round() * scale)
        wanted = net(x).numpy()
    with nk.open(artifact) as runner:
        assert np.allclose(runner(x.numpy()), wanted, atol=1e-5)

"""The target `tensorrt`: engines are built here, the network they are built of runs in ONNX Runtime."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.errors import InputError, MissingRuntimeError, UnsupportedError
from neurokit.export.targets.tensorrt import runtime_or_reason
from neurokit.export.tensorrt import library as trt_library
from neurokit.export.tensorrt.build import build, settings_of
from neurokit.export.tensorrt.rewrite import dft_matrix, rewrite, unknown_operators
from neurokit.export.tensorrt.run import check_device
from neurokit.loading import load
from neurokit.models.baselines import BASELINES
from neurokit.models.decoder import TINY_LM, decoder_spec
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import blank
from neurokit.spec import MODELS
from neurokit.target import LowerOptions

from ..nets import conv_net, dyadic, inputs, reference

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
try:
    TRT = trt_library.load()
    MISSING = ""
except MissingRuntimeError as error:
    TRT, MISSING = None, error.what
needs_library = pytest.mark.skipif(TRT is None, reason=MISSING)
# Softmax, LayerNorm, GELU and sigmoids have no exact form.
SMOOTH = ("att_swin_unet", "dae_former", "dsa_decoder", "ear_unet", "macmd", "para_trans_cnn", "trans_dae")
X = inputs(4, 2, 2, 8, 8)


def lowered(out, precision="fp32", **options):
    torch.manual_seed(0)
    net = dyadic(conv_net())
    captured = nk.capture(net, torch.from_numpy(X))
    return net, nk.lower(captured, "tensorrt", out / "t", precision=precision, **options)


@needs_library
@pytest.mark.parametrize("form", ["sequence", "scan", "step"])
def test_engines_are_built_and_their_network_is_exact(form, tmp_path):
    net, artifact = lowered(tmp_path, form=form)
    info = artifact.manifest.target_info
    # On a dyadic grid no sum behind the input's is rounded.
    assert artifact.manifest.parity["meaning"].startswith("every spike and every bit of the output equal")
    assert (tmp_path / "t" / "model.engine").stat().st_size == info["engine_bytes"] > 10_000
    assert artifact.manifest.form == info["engine_form"] == form
    assert info["library_version"] == TRT.__version__
    assert info["compute_capabilities"]
    small, best, large = info["profile"]["x"]
    axis = {"sequence": 1, "scan": 1, "step": 0}[form]
    assert (small[axis], best[axis], large[axis]) == (1, 1, 8)
    assert (small[0], large[0]) == {"sequence": (4, 4), "scan": (2, 16), "step": (1, 8)}[form]
    session = ort.InferenceSession(str(tmp_path / "t" / "model.onnx"), providers=["CPUExecutionProvider"])
    if form != "step":
        assert (session.run(None, {"x": X})[0] != reference(net, X)).sum() == 0
    assert any("not the engine" in note for note in artifact.manifest.parity["notes"])
    layers = json.loads((tmp_path / "t" / "layers.json").read_text())
    assert len(layers) == info["layers"] == sum(info["layer_types"].values())
    assert info["layer_types"]["convolution"] == 2  # as many as the source has
    assert info["build_seconds"] > 0
    assert not any("half" in layer["precisions"] for layer in layers)


@needs_library
def test_half_precision_keeps_membranes_single(tmp_path):
    net, artifact = lowered(tmp_path, precision="fp16")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    model = onnx.load(str(tmp_path / "t" / "model.onnx"))
    halves = {t.name for t in model.graph.initializer if t.data_type == onnx.TensorProto.FLOAT16}
    for node in model.graph.node:
        if node.op_type in ("Conv", "Gemm", "MatMul"):
            assert all(name in halves or name.endswith(("half0", "half1")) for name in node.input), node.name
        if node.domain == "neurokit":
            assert not halves & set(node.input)
    assert sum(node.op_type in ("Conv", "Gemm", "MatMul") for node in model.graph.node) == 3
    layers = json.loads((tmp_path / "t" / "layers.json").read_text())
    for layer in layers:  # what TensorRT itself made of it
        if layer["type"] in ("convolution", "matrix_multiply"):
            assert layer["precisions"] == ["half"], layer
        if "(LIF)" in layer["onnx"]:
            assert "half" not in layer["precisions"], layer
    session = ort.InferenceSession(str(tmp_path / "t" / "model.onnx"), providers=["CPUExecutionProvider"])
    # Multiples of 1/8 below 32 are float16 numbers: half precision changes nothing here.
    assert (session.run(None, {"x": X})[0] != reference(net, X)).sum() == 0


@needs_library
def test_timing_cache_and_capabilities(tmp_path):
    cache = tmp_path / "cache.bin"
    _, artifact = lowered(tmp_path, timing_cache=str(cache), capabilities="8.9", batch_range=[2, 2, 2])
    info = artifact.manifest.target_info
    if trt_library.is_rtx(TRT):
        assert info["compute_capabilities"] == ["8.9"]
        assert not info["portable"]
        assert info["timing_cache"] == "not in TensorRT for RTX"
    else:
        assert cache.stat().st_size > 0
    assert artifact.manifest.target_info["profile"]["x"][0] == [4, 2, 2, 8, 8]


@needs_library
@pytest.mark.parametrize(
    "options",
    [
        {"form": "loop"},
        {"precision": "int3"},
        {"batch_range": [4, 2, 1]},
        {"refit": 1},
        {"speed": 1},
        {"library": "x"},
        {"timing_cache": "no/folder/cache"},
        {"lif_plugin": "yes"},
    ],
)
def test_wrong_options_are_refused(options, tmp_path):
    with pytest.raises(InputError):
        lowered(tmp_path, **options)


@needs_library
def test_a_model_without_time_has_no_step_form(tmp_path):
    captured = nk.capture(torch.nn.Sequential(torch.nn.Linear(4, 3)), torch.rand(2, 4))
    with pytest.raises(UnsupportedError, match="no neurons"):
        nk.lower(captured, "tensorrt", tmp_path / "t", form="step")
    artifact = nk.lower(captured, "tensorrt", tmp_path / "t")
    assert artifact.manifest.parity["verdict"] in ("exact", "within tolerance")


@needs_library
def test_a_damaged_network_is_refused_by_the_parser(tmp_path):
    from neurokit.export.tensorrt.build import build, settings_of
    from neurokit.target import LowerOptions

    (tmp_path / "m.onnx").write_bytes(b"no model")
    with pytest.raises(UnsupportedError, match="does not take the network"):
        build(TRT, tmp_path / "m.onnx", settings_of(LowerOptions()), {})


@needs_library
@pytest.mark.slow
@pytest.mark.skipif(not (TRT and trt_library.is_rtx(TRT)) or torch.cuda.is_available(), reason="for RTX, without a GPU")
def test_a_refittable_engine_needs_a_gpu(tmp_path):
    with pytest.raises(UnsupportedError, match="build refittable engines on a machine with a GPU"):
        lowered(tmp_path, refit=True)
    assert not (tmp_path / "t").exists()


INFO = {"library": "tensorrt_rtx", "library_version": "0", "compute_capabilities": ["8.6", "8.9"], "portable": False}


@pytest.mark.parametrize(
    ("here", "portable", "match"),
    [(None, False, "needs an NVIDIA GPU"), ("9.0", False, "this GPU has 9.0"), ("7.5", True, "this GPU has 7.5")],
)
def test_another_gpu_is_told_before_tensorrt_does(here, portable, match, monkeypatch):
    monkeypatch.setattr(trt_library, "device_capability", lambda: here)
    with pytest.raises(MissingRuntimeError, match=match):
        check_device({**INFO, "portable": portable})


def test_which_gpus_an_engine_loads_on():
    """TensorRT for RTX 1.7.1 names 8.0, 8.6, 8.9, 12.0, 12.1 and later ones; an H200 (9.0) is refused."""
    portable = trt_library.RTX_PORTABLE
    loads = {gpu: trt_library.loads_on(gpu, portable, True) for gpu in ("7.5", "8.0", "8.9", "9.0", "12.1", "13.0")}
    assert loads == {"7.5": False, "8.0": True, "8.9": True, "9.0": False, "12.1": True, "13.0": True}
    assert not trt_library.loads_on("13.0", ("8.9", "12.0"), False)


@pytest.mark.skipif(bool(runtime_or_reason()), reason=f"engines cannot run here: {runtime_or_reason()}")
@pytest.mark.parametrize("form", ["sequence", "scan", "step"])
def test_engines_compute_what_spikingjelly_computes(form, tmp_path):
    net, artifact = lowered(tmp_path, form=form)
    with nk.open(artifact) as runner:
        assert (runner(X) != reference(net, X)).sum() == 0


def dft_model(shape, axis, inverse, onesided):
    from onnx import helper

    x = helper.make_tensor_value_info("x", 1, shape)
    count = shape[axis] // 2 + 1 if onesided else shape[axis]
    out = [*shape[:-1], 2]
    out[axis] = count
    y = helper.make_tensor_value_info("y", 1, out)
    axis_tensor = helper.make_tensor("axis", 7, [], [axis])
    node = helper.make_node("DFT", ["x", "", "axis"], ["y"], name="dft", inverse=inverse, onesided=onesided)
    graph = helper.make_graph([node], "g", [x], [y], [axis_tensor])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 10
    return model


@pytest.mark.parametrize(
    ("shape", "axis", "inverse", "onesided"),
    [((2, 9, 1), 1, 0, 1), ((2, 8, 2), 1, 0, 0), ((2, 8, 3, 2), 1, 1, 0), (("B", 12, 4, 1), 2, 0, 1)],
)
def test_a_dft_becomes_a_product(shape, axis, inverse, onesided):
    """Against ONNX Runtime's own DFT and numpy's FFT."""
    import onnx_ir as ir

    model = dft_model(shape, axis, inverse, onesided)
    size = [3 if isinstance(s, str) else s for s in shape]
    x = np.random.default_rng(0).normal(size=size).astype(np.float32)
    z = x[..., 0] + (1j * x[..., 1] if size[-1] == 2 else 0)
    fft = (np.fft.ifft if inverse else np.fft.rfft if onesided else np.fft.fft)(z, axis=axis)
    made = ir.from_proto(model)
    done, reasons = rewrite(made, fp16=False)
    assert (len(done), reasons) == (1, [])
    proto = ir.to_proto(made)
    assert "DFT" not in [node.op_type for node in proto.graph.node]
    sessions = [ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]) for m in (proto, model)]
    found, own = (session.run(None, {"x": x})[0] for session in sessions)
    np.testing.assert_allclose(found, own, atol=2e-5)
    np.testing.assert_allclose(found[..., 0] + 1j * found[..., 1], fft, atol=2e-5)


def test_the_transforms_matrix_is_its_own_inverse():
    there, back = dft_matrix(11, False, False, False), dft_matrix(11, True, False, False)
    np.testing.assert_allclose(there.astype(float) @ back.astype(float), np.eye(22), atol=1e-6)


def test_what_tensorrt_lacks_is_refused_by_name():
    import onnx_ir as ir
    from onnx import helper

    made = ir.from_proto(dft_model((2, 8, 1), 1, 0, 0))
    made.graph.inputs[0].shape = ir.Shape([2, "N", 1])
    reasons = rewrite(made, fp16=False)[1]
    assert [reason.what for reason in reasons] == ["DFT"]
    x, y = (helper.make_tensor_value_info(name, 1, [5000]) for name in "xy")
    top = helper.make_node("TopK", ["x", "k"], ["y", "i"], name="top")
    graph = helper.make_graph([top], "g", [x], [y], [helper.make_tensor("k", 7, [1], [4000])])
    made = ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)]))
    assert "3840" in rewrite(made, fp16=False)[1][0].why


def conv_and_number(op: str, number_first: bool):
    from onnx import helper, numpy_helper

    weight = np.random.default_rng(1).normal(size=(4, 3, 1)).astype(np.float32)
    constants = [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(np.float32(0.5), "c")]
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["y0"]),
        helper.make_node(op, ["c", "y0"] if number_first else ["y0", "c"], ["y"]),
    ]
    x, y = (helper.make_tensor_value_info(name, 1, ["B", size, "F"]) for name, size in (("x", 3), ("y", 4)))
    return helper.make_model(
        helper.make_graph(nodes, "g", [x], [y], constants), opset_imports=[helper.make_opsetid("", 20)], ir_version=10
    )


@pytest.mark.parametrize(("op", "number_first"), [("Add", False), ("Add", True), ("Sub", False), ("Sub", True)])
def test_a_number_behind_a_convolution_over_one_axis_has_channels(op, number_first):
    import onnx_ir as ir

    model = conv_and_number(op, number_first)
    made = ir.from_proto(model)
    assert len(rewrite(made, fp16=False)[0]) == 1
    proto = ir.to_proto(made)
    x = np.random.default_rng(0).normal(size=(2, 3, 7)).astype(np.float32)
    sessions = [ort.InferenceSession(m.SerializeToString(), providers=["CPUExecutionProvider"]) for m in (proto, model)]
    found, own = (session.run(None, {"x": x})[0] for session in sessions)
    np.testing.assert_array_equal(found, own)


@needs_library
def test_the_builder_takes_a_number_behind_a_convolution_over_one_axis(tmp_path):
    import onnx
    import onnx_ir as ir

    made = ir.from_proto(conv_and_number("Add", False))
    rewrite(made, fp16=False)
    onnx.save(ir.to_proto(made), str(tmp_path / "m.onnx"))
    assert build(TRT, tmp_path / "m.onnx", settings_of(LowerOptions()), {"B": (1, 1, 2), "F": (1, 4, 9)}).plan


@needs_library
def test_unknown_operators_are_listed():
    import onnx_ir as ir
    from onnx import helper

    from neurokit.export.tensorrt.build import new_parser

    x, y = (helper.make_tensor_value_info(name, 1, [4]) for name in "xy")
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Attend", ["b"], ["y"], domain="elsewhere"),
    ]
    made = ir.from_proto(helper.make_model(helper.make_graph(nodes, "g", [x], [y])))
    found = {reason.what for reason in unknown_operators(made, new_parser(TRT)[2])}
    assert found == {"StringNormalizer", "Attend"}


@needs_library
@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=() if name == "spiking_cnn" else pytest.mark.slow)
        for name in MODELS.names()
        if name not in BASELINES
        and not name.startswith(SMOOTH)
        and MODELS.get(name)().inputs  # one graph
        and MODELS.get(name)().inputs[0].layout == "CHW"  # exact numerics and engines take models of images
    ],
)
def test_every_zoo_model_becomes_an_engine(name, tmp_path):
    """In its exact form, whose network must give every spike and every bit of the output in ONNX Runtime."""
    artifact = nk.lower(nk.exact(nk.capture(load(name), batch=1)), "tensorrt", tmp_path / "t")
    parity, info = artifact.manifest.parity, artifact.manifest.target_info
    assert parity["verdict"] == "exact"
    assert parity["spikes_flipped"] == 0
    assert not any(layer["flips_free"] for layer in parity["layers"])
    assert bool(parity["spikes_compared"]) == (artifact.manifest.time_steps is not None)
    assert info["engine_bytes"] > 1_000_000
    assert info["layers"] > 50


def small_ann():
    torch.manual_seed(0)
    nn = torch.nn
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Conv2d(8, 8, 3, groups=8),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 5),
    ).eval()


@needs_library
def test_int8_engines_are_symmetric(tmp_path):
    """S8 activations and weights around zero, one scale a channel, biases in float; checked number by number."""
    net = small_ann()
    x = torch.randn(32, 3, 10, 10)
    captured = nk.capture(net, x)
    artifact = nk.lower(captured, "tensorrt", tmp_path / "t", precision="int8", calibration=x)
    info = artifact.manifest.target_info
    assert artifact.manifest.numerics == "int8"
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert any("not the engine" in note for note in artifact.manifest.parity["notes"])
    assert info["quantisation"]["activations"] == "symmetric S8"
    assert info["layer_precisions"]["int8"] >= 3 + 3  # weights and operands of three layers
    assert info["engine_bytes"] > 1000
    model = onnx.load(str(tmp_path / "t" / "model.onnx"))
    held = {t.name: onnx.numpy_helper.to_array(t) for t in model.graph.initializer}
    made = {name: node for node in model.graph.node for name in node.output}
    folded = [
        net[0].weight * (net[1].weight / torch.sqrt(net[1].running_var + net[1].eps))[:, None, None, None],
        net[3].weight,
        net[7].weight,
    ]
    layers = [node for node in model.graph.node if node.op_type in ("Conv", "Gemm")]
    assert len(layers) == 3
    for node, wanted in zip(layers, folded, strict=True):
        assert node.input[2] not in made  # the bias is no quantised number
        assert held[node.input[2]].dtype == np.float32
        operand, weight = made[node.input[0]], made[node.input[1]]
        for dequantize in (operand, weight):
            assert dequantize.op_type == "DequantizeLinear"
            zero = held[dequantize.input[2]]
            assert zero.dtype == np.int8
            assert not zero.any()
        integers, scale = held[weight.input[0]], held[weight.input[1]]
        axis = next((a.i for a in weight.attribute if a.name == "axis"), 1)
        wide = np.moveaxis(integers.astype(float), axis, 0) * scale.reshape(-1, *[1] * (integers.ndim - 1))
        reference = wanted.detach().numpy()
        values = np.moveaxis(wide, 0, axis)
        values = values if values.shape == reference.shape else values.T
        assert scale.size == reference.shape[0]
        unit = scale.reshape(-1, *[1] * (reference.ndim - 1))
        assert (np.abs(values - reference) <= 0.5001 * unit).all()


@needs_library
def test_what_int8_engines_are_not_for(tmp_path):
    captured = nk.capture(small_ann(), torch.rand(2, 3, 10, 10))
    with pytest.raises(InputError, match="int8 engines"):
        nk.lower(captured, "tensorrt", tmp_path / "t", calibration=torch.rand(8, 3, 10, 10))
    with pytest.raises(InputError, match="needs calibration data"):
        nk.lower(captured, "tensorrt", tmp_path / "t", precision="int8")
    with pytest.raises(UnsupportedError, match="flip its spikes"):
        lowered(tmp_path, precision="int8")
    with pytest.raises(InputError, match="method"):
        nk.lower(captured, "tensorrt", tmp_path / "t", precision="int8", method="guess")
    assert not (tmp_path / "t").exists()


@needs_library
@pytest.mark.slow
@pytest.mark.parametrize(("precision", "attention"), [("fp32", "decomposed"), ("fp16", "standard")])
def test_engines_of_a_language_model_take_its_caches(precision, attention, tmp_path):
    captured = nk.capture(nk.load("tiny_lm"))
    artifact = nk.lower(captured, "tensorrt", tmp_path / "lm", precision=precision, attention=attention)
    info = artifact.manifest.target_info
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    assert artifact.manifest.parity["tokens_compared"] > 100
    assert artifact.manifest.form == info["engine_form"] == "step"
    assert info["profile"]["k0_in"] == [[1, 2, 0, 16], [1, 2, 256, 16], [8, 2, 512, 16]]
    assert info["layer_types"].get("attention_input", 0) == (4 if attention == "standard" else 0)
    assert info["engine_bytes"] > 1_000_000


@needs_library
def test_engines_of_both_forms_of_a_small_language_model(tmp_path):
    """One layer of tiny_lm; the whole model is verified in the slow part."""
    config = replace(TINY_LM, layers=1)
    captured = nk.capture(decoder_spec("one_layer", config, lambda sizes: fill(blank(sizes))))
    for precision, attention in (("fp32", "decomposed"), ("fp16", "standard")):
        options = {"precision": precision, "attention": attention, "verified": False}
        artifact = nk.lower(captured, "tensorrt", tmp_path / attention, **options)
        info = artifact.manifest.target_info
        assert info["profile"]["k0_in"] == [[1, 2, 0, 16], [1, 2, 256, 16], [8, 2, 512, 16]]
        assert info["layer_types"].get("attention_input", 0) == (1 if attention == "standard" else 0)
        assert info["engine_bytes"] == artifact.file("model.engine").stat().st_size > 100_000


@pytest.mark.parametrize("options", [{"attention": "standard"}, {"attention": "ort", "precision": "fp16"}])
def test_attention_that_has_no_kernel_is_refused(options, tmp_path):
    with pytest.raises(InputError, match="attention is"):
        nk.lower(nk.capture(conv_net(), torch.from_numpy(X)), "tensorrt", tmp_path / "t", **options)
    assert not (tmp_path / "t").exists()

"""The fused LIF as a TensorRT plugin: NVIDIA's own plugin package on a stand-in for its native module."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.export.onnx.convert import onnx_from_captured
from neurokit.export.onnx.functions import NeuronFunction, from_name
from neurokit.export.tensorrt import plugin as trt_plugin
from neurokit.export.tensorrt.neurons import neurons_as_plugins
from neurokit.export.tensorrt.rewrite import rewrite
from neurokit.loading import load
from neurokit.neurons.device_code import NEURON_CODE, NeuronCall

from ..nets import conv_net, dyadic, inputs
from . import native as trt_native

onnx = pytest.importorskip("onnx")
ir = pytest.importorskip("onnx_ir")
ort = pytest.importorskip("onnxruntime")
needs_package = pytest.mark.skipif(
    trt_native.plugin_package() is None, reason="tensorrt_bindings (wheel tensorrt-cu13-bindings) is not installed"
)
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")
HALF, SINGLE = trt_native.DataType.HALF, trt_native.DataType.FLOAT
X = inputs(4, 2, 2, 8, 8)
NEURONS = [
    NeuronCall("if_", 0.0, 0.75, 0.0),
    NeuronCall("lif", 3.0, 1.0, None),
    NeuronCall("plif", 0.30000001192092896, 0.5, 0.125, decay_input=False, half_spikes=True),
]


@pytest.fixture
def trt(monkeypatch):
    module = trt_native.native()
    trt_native.install(monkeypatch, module)
    trt_plugin.register(module)
    return module


def node_of(call: NeuronCall):
    given = {**trt_plugin.attributes(call), "plugin_namespace": "neurokit", "plugin_version": "1", "aot": 1}
    return onnx.helper.make_node("FusedLIF", ["x", "v0"], ["s", "v"], domain="neurokit", **given)


@needs_package
@pytest.mark.parametrize("call", NEURONS, ids=lambda call: call.op)
def test_what_tensorrt_would_launch(call, trt):
    """Every figure of the launch, for free sizes, against what the kernel's contract says for numbers."""
    pytest.importorskip("triton")
    for dtype, steps, rest in itertools.product((SINGLE, HALF), (5, "T"), (["B", 3, 16], ["B", 7], [2, 5])):
        made = trt_native.Launch(trt, node_of(call), [(dtype, [steps, *rest]), (SINGLE, rest)])
        known = [size for size in rest if isinstance(size, int)]
        code = NEURON_CODE.get("lif")(
            NeuronCall(
                **{
                    **vars(call),
                    "half_input": dtype is HALF,
                    "steps": steps if isinstance(steps, int) else None,
                    "aligned": int(np.prod(known)) % 16 == 0,
                }
            )
        )
        assert (made.entry, made.ptx) == (code.entry, code.ptx.encode())
        assert made.types == [HALF if call.half_spikes else SINGLE, SINGLE]
        for t, b in ((5, 1), (5, 999)) if steps == 5 else ((1, 2), (17, 999)):
            found = made.at({"T": t, "B": b})
            shape = [b if size == "B" else size for size in rest]
            neurons = int(np.prod(shape))
            assert found == {
                "grid": (-(-neurons // code.neurons), 1, 1),
                "block": (code.threads, 1, 1),
                "shared": 0,
                "scalars": [t, neurons],
                "shapes": [[t, *shape], shape],
            }


@needs_package
def test_what_the_plugin_does_not_take(trt):
    with pytest.raises(ValueError, match="takes no current"):
        trt_native.Launch(trt, node_of(NEURONS[0]), [(trt_native.DataType.INT8, [4, 8]), (SINGLE, [8])])
    with pytest.raises(ValueError, match="membrane"):
        trt_native.Launch(trt, node_of(NEURONS[0]), [(HALF, [4, 8]), (HALF, [8])])


@needs_package
def test_registering_twice_does_nothing(trt):
    trt_plugin.register(trt)
    assert list(trt.get_plugin_registry().creators) == [("FusedLIF", "1", "neurokit")]


def test_names_of_functions_are_read_back():
    for op, *flags, dtype in itertools.product(("if_", "lif", "plif"), *[(False, True)] * 4, ("float32", "float64")):
        function = NeuronFunction(op, *flags, dtype)
        read = from_name(function.name)
        assert read.name == function.name
        assert (read.scalars, read.dtype, read.step) == (function.scalars, function.dtype, function.step)
    assert from_name("Conv") is None


@functools.cache
def exported(form: str):
    """Returns a captured network in a form, and its ONNX model."""
    torch.manual_seed(0)
    captured = nk.capture(dyadic(conv_net()), torch.from_numpy(X))
    changes = {"scan": {"time_steps": "dynamic"}, "step": {"form": "step"}}.get(form, {})
    captured = captured.retrace(**changes) if changes else captured
    return captured, ir.to_proto(onnx_from_captured(captured))


def networks(form: str, fp16: bool):
    """Returns a network with its neurons as functions and with its neurons as plugins, and the capture."""
    captured, proto = exported(form)
    pair = []
    for plugins in (False, True):
        model = ir.from_proto(proto)
        rewrite(model, fp16)
        if plugins:
            assert neurons_as_plugins(model) == (3, [])
        pair.append(ir.to_proto(model))
    return *pair, captured


def described(node) -> tuple:
    return node.op_type, node.domain, list(node.input), list(node.output), sorted(str(a) for a in node.attribute)


@pytest.mark.parametrize("form", ["sequence", "scan", "step"])
def test_nothing_but_neurons_changes(form):
    ours, theirs, _ = networks(form, fp16=False)
    onnx.checker.check_model(theirs)
    assert ours.functions
    assert not theirs.functions
    assert len(ours.graph.node) == len(theirs.graph.node)
    for before, after in zip(ours.graph.node, theirs.graph.node, strict=True):
        if before.domain != "neurokit":
            assert described(before) == described(after)
            continue
        assert (after.op_type, after.domain, after.name) == ("FusedLIF", "neurokit", before.name)
        assert (list(after.input), list(after.output)) == (list(before.input[:2]), list(before.output))
    kept = {tensor.name: tensor.SerializeToString() for tensor in theirs.graph.initializer}
    held = {tensor.name: tensor.SerializeToString() for tensor in ours.graph.initializer}
    assert kept.items() <= held.items()
    assert list(ours.graph.input) == list(theirs.graph.input)
    assert list(ours.graph.output) == list(theirs.graph.output)


def operator():
    """The plugin in numpy, from the equations in the kernel's README."""
    from onnx.reference.op_run import OpRun

    class FusedLIF(OpRun):
        op_domain = "neurokit"

        def _run(self, x, v0, **given):
            leak, threshold, reset = (np.float32(given[name][0]) for name in ("leak", "v_threshold", "v_reset"))
            hard, decayed, kind = (given[name][0] for name in ("hard_reset", "decay_input", "neuron"))
            rest = reset if hard else np.float32(0)
            v, spikes = v0, []
            for current in x.astype(np.float32):
                drive = current - (v - rest) if decayed else v - rest
                drive = drive / leak if kind == 1 else drive * leak
                h = v + current if kind == 0 else v + drive if decayed else (v - drive) + current
                fired = h >= threshold
                v = np.where(fired, reset, h) if hard else np.where(fired, h - threshold, h)
                spikes.append(fired)
            return np.stack(spikes).astype(np.float16 if given["half_spikes"][0] else np.float32), v

    return FusedLIF


@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("form", ["sequence", "scan", "step"])
def test_the_rewritten_network_computes_the_same(form, fp16):
    """Against ONNX Runtime on the network with plain operators; every sum is exact, so every bit must agree."""
    ours, theirs, captured = networks(form, fp16)
    session = ort.InferenceSession(ours.SerializeToString(), providers=["CPUExecutionProvider"])
    oracle = pytest.importorskip("onnx.reference").ReferenceEvaluator(theirs, new_ops=[operator()])
    feeds = {"x": X[0] if form == "step" else X}
    for state, made in zip(captured.states, captured.initial_states(2) if form == "step" else (), strict=False):
        feeds[f"{state.name}_in"] = np.asarray(made)
    spoken = 0
    for name, a, b in zip(
        [o.name for o in theirs.graph.output], session.run(None, feeds), oracle.run(None, feeds), strict=True
    ):
        assert a.dtype == b.dtype
        assert np.array_equal(a, b), name
        spoken += np.count_nonzero(a)
    assert spoken


VARIANTS = [
    NeuronFunction(op, hard, rest and hard and op != "if_", decayed or op == "if_", step)
    for op, hard, rest, decayed, step in itertools.product(("if_", "lif", "plif"), *[(True, False)] * 4)
]


@pytest.mark.parametrize("function", sorted(set(VARIANTS), key=lambda f: f.name), ids=lambda f: f.name)
def test_every_neuron_keeps_its_meaning(function):
    """Each variant alone, as a function in ONNX Runtime and as a plugin in numpy."""
    numbers = {"tau": 3.0, "decay": 0.3, "v_threshold": 0.75, "v_reset": 0.25 if function.rest else 0.0}
    steps = 1 if function.step else 6
    tensor = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node(function.name, ["x", "v0", *function.scalars], ["s", "v"], domain="neurokit")],
        "g",
        [tensor("x", 1, [steps, 200]), tensor("v0", 1, [200])],
        [tensor("s", 1, [steps, 200]), tensor("v", 1, [200])],
        [onnx.helper.make_tensor(name, 1, [], [numbers[name]]) for name in function.scalars],
    )
    imports = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("neurokit", 1)]
    proto = onnx.helper.make_model(graph, opset_imports=imports, ir_version=10)
    model = ir.from_proto(proto)
    model.functions[("neurokit", function.name, "")] = function.build()
    ours = ir.to_proto(model)
    assert neurons_as_plugins(model) == (1, [])
    draw = np.random.default_rng(0)
    x = draw.normal(0.4, 1, (steps, 200)).astype(np.float32)
    feeds = {"x": x, "v0": draw.normal(0, 0.3, 200).astype(np.float32)}
    session = ort.InferenceSession(ours.SerializeToString(), providers=["CPUExecutionProvider"])
    oracle = pytest.importorskip("onnx.reference").ReferenceEvaluator(ir.to_proto(model), new_ops=[operator()])
    for a, b in zip(session.run(None, feeds), oracle.run(None, feeds), strict=True):
        assert a.any()
        assert np.array_equal(a, b)


@pytest.mark.parametrize("form", ["sequence", "step"])
def test_half_precision_leaves_out_casts(form):
    """The first two neurons stand between convolutions; the last one's spikes are the output, in float32."""
    ours, theirs, _ = networks(form, fp16=True)
    casts = [sum(node.op_type == "Cast" for node in model.graph.node) for model in (ours, theirs)]
    assert casts[1] < casts[0]
    neurons = [node for node in theirs.graph.node if node.op_type == "FusedLIF"]
    halves = [a.ints[0] for node in neurons for a in node.attribute if a.name == "half_spikes"]
    # An average pooling, in float32, takes the first neuron's spikes; a product takes the second one's.
    assert halves == [0, 1, 0]
    kinds = {v.name: v.type.tensor_type.elem_type for v in [*theirs.graph.value_info, *theirs.graph.output]}
    assert [kinds[node.input[0]] for node in neurons] == [10, 10, 1]
    assert [kinds[node.output[0]] for node in neurons] == [1, 10, 1]
    assert {kinds.get(node.output[1], 1) for node in neurons} == {1}


@pytest.mark.parametrize(("reader", "half"), [("Cast", 1), ("Relu", 0)])
def test_spikes_are_half_only_where_all_readers_want_that(reader, half):
    tensor, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    to = {"to": 10} if reader == "Cast" else {}
    kind = 10 if half else 1
    nodes = [
        node("Cast", ["a"], ["x"], to=1),
        node("Transpose", ["x"], ["xt"], perm=[0, 2, 1]),
        node("IF", ["xt", "v0", "v_threshold", "v_reset"], ["s", "v"], domain="neurokit"),
        node("Unsqueeze", ["s", "axis"], ["su"]),
        node("Cast", ["su"], ["h"], to=10),
        node("Relu", ["h"], ["p"]),
        node(reader, ["s"], ["k"], **to),
        node("Relu", ["k"], ["q"]),
    ]
    inner = [
        tensor("x", 1, [4, 3, 8]),
        tensor("xt", 1, [4, 8, 3]),
        tensor("s", 1, [4, 8, 3]),
        tensor("su", 1, None),
        tensor("h", 10, None),
        tensor("k", kind, [4, 8, 3]),
    ]
    held = [onnx.helper.make_tensor(name, 1, [], [1.0]) for name in ("v_threshold", "v_reset")]
    graph = onnx.helper.make_graph(
        nodes,
        "g",
        [tensor("a", 10, [4, 3, 8]), tensor("v0", 1, [8, 3])],
        [tensor("p", 10, None), tensor("q", kind, None)],
        [*held, onnx.helper.make_tensor("axis", 7, [1], [0])],
        value_info=inner,
    )
    imports = [onnx.helper.make_opsetid("", 20), onnx.helper.make_opsetid("neurokit", 1)]
    model = ir.from_proto(onnx.helper.make_model(graph, opset_imports=imports, ir_version=10))
    assert neurons_as_plugins(model) == (1, [])
    made = ir.to_proto(model)
    assert [n.op_type for n in made.graph.node].count("Cast") == (0 if half else 1)
    lif = next(n for n in made.graph.node if n.op_type == "FusedLIF")
    assert {a.name: a.ints[0] for a in lif.attribute if a.name == "half_spikes"} == {"half_spikes": half}
    a = np.random.default_rng(0).normal(1, 1, (4, 3, 8)).astype(np.float16)
    oracle = pytest.importorskip("onnx.reference").ReferenceEvaluator(made, new_ops=[operator()])
    p, q = oracle.run(None, {"a": a, "v0": np.zeros((8, 3), np.float32)})
    assert (p.dtype, q.dtype) == (np.float16, np.float16 if half else np.float32)
    assert np.array_equal(p[0], q)
    assert 0 < q.mean() < 1


@pytest.mark.parametrize(
    ("name", "neurons", "without", "casts"),
    [
        ("spiking_cnn", 3, 8, 2),
        pytest.param("sew_resnet18", 20, 42, 14, marks=pytest.mark.slow),
        pytest.param("metaspikeformer_15m", 77, 324, 191, marks=pytest.mark.slow),
    ],
)
def test_neurons_of_the_zoo(name, neurons, without, casts):
    """The table of docs/tensorrt.md."""
    model = onnx_from_captured(nk.capture(load(name), batch=1))
    rewrite(model, fp16=True)
    assert sum(node.op_type == "Cast" for node in model.graph) == without
    assert neurons_as_plugins(model) == (neurons, [])
    assert sum(node.op_type == "FusedLIF" for node in model.graph) == neurons
    assert sum(node.op_type == "Cast" for node in model.graph) == casts


def test_neurons_that_cannot_be_plugins_are_named():
    model = onnx_from_captured(nk.capture(dyadic(conv_net()).double(), torch.from_numpy(X).double()))
    count, reasons = neurons_as_plugins(model)
    assert count == len(reasons) == 3
    assert all("float64" in reason.why for reason in reasons)
    model = ir.from_proto(exported("sequence")[1])
    neuron = next(node for node in model.graph if node.domain == "neurokit")
    neuron.inputs[2].const_value = None
    reasons = neurons_as_plugins(model)[1]
    assert any("its tau is computed by the network" in reason.why for reason in reasons)

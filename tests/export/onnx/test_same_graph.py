"""A flat file is held against the graph that it was written from: the same expressions, whatever their names."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import neurokit as nk
from neurokit.artifact import write_artifact
from neurokit.errors import ArtifactError
from neurokit.export.onnx.same_graph import expressions
from tests.mutation.plant import network

W = np.arange(6, dtype=np.float32).reshape(2, 3)


def graph(*nodes, weights=W, opset=18, sizes=("B", 2)):
    made = helper.make_graph(
        [*nodes],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, sizes)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(weights, "w")],
    )
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", opset)])


def sums(first="x", second="w", kind="MatMul", **more):
    return graph(helper.make_node(kind, [first, second], ["a"]), helper.make_node("Elu", ["a"], ["y"], **more))


def test_names_order_and_copies_leave_a_graph_as_it_is():
    copied = graph(
        helper.make_node("Sqrt", ["x"], ["unread"]),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(W)),
        helper.make_node("Identity", ["x"], ["z"]),
        helper.make_node("MatMul", ["z", "c"], ["b"]),
        helper.make_node("Elu", ["b"], ["y"]),
    )
    assert expressions(copied) == expressions(sums())


@pytest.mark.parametrize(
    "other",
    [
        sums("w", "x"),
        sums(kind="Gemm"),
        sums(alpha=2.0),
        graph(helper.make_node("MatMul", ["x", "w"], ["y"])),
        graph(*sums().graph.node, weights=W + np.float32(1e-6)),
        graph(*sums().graph.node, weights=W.astype(np.float64)),
        graph(*sums().graph.node, opset=19),
        graph(*sums().graph.node, sizes=("B", 3)),
    ],
)
def test_anything_else_is_another_network(other):
    assert expressions(other) != expressions(sums())


def loop(limit, held="x"):
    """A loop that adds what stands outside of it."""
    body = helper.make_graph(
        [helper.make_node("Add", ["v", held], ["n"]), helper.make_node("Identity", ["c"], ["d"])],
        "body",
        [helper.make_tensor_value_info(n, t, []) for n, t in (("i", 7), ("c", 9), ("v", 1))],
        [helper.make_tensor_value_info(n, t, None) for n, t in (("d", 9), ("n", 1))],
    )
    count = helper.make_node("Constant", [], ["m"], value=numpy_helper.from_array(np.int64(limit)))
    return graph(count, helper.make_node("Loop", ["m", "", "x"], ["y"], body=body))


def test_bodies_of_loops_are_looked_into():
    assert expressions(loop(3)) == expressions(loop(3))
    assert len({expressions(one)["y"] for one in (loop(3), loop(4), loop(3, "w"), loop(3, "v"))}) == 4


def test_a_flat_file_with_another_weight_is_refused(tmp_path):
    net = network("deep")
    spec = nk.ModelSpec("deep", net.build, (nk.TensorSpec("x", net.shape),), time_steps=net.steps)
    sound = nk.lower(spec, "onnx", tmp_path / "a", flat=True)
    assert sound.manifest.parity["verdict"] in ("exact", "benign rounding")
    flat = onnx.load(sound.file("model.flat.onnx"))
    assert not flat.functions
    bias = next(tensor for tensor in flat.graph.initializer if tensor.name.endswith("0.bias"))
    bias.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(bias) * np.float32(1.001), bias.name))
    with write_artifact(tmp_path / "b") as draft:
        for name in sound.manifest.files:
            (draft.path / name).write_bytes(sound.file(name).read_bytes())
        onnx.save(flat, draft.path / "model.flat.onnx")
        draft.manifest = sound.manifest.model_copy(update={"files": {}, "parity": None})
    with pytest.raises(ArtifactError, match=r"model.flat.onnx is another network than the graph beside it"):
        nk.verify(draft.artifact, record=False)

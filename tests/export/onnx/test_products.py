"""Products whose result is split: a product a part, the same bits, and none of what nothing reads."""

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from neurokit.export.onnx.products import drop_columns, split_products

WEIGHT = np.random.default_rng(0).standard_normal((8, 12)).astype(np.float32)


def model(sizes=None, axis=-1, outputs=3, read=()):
    """x times a packed weight, split along an axis; `read` are further outputs."""
    weights = [numpy_helper.from_array(WEIGHT, "w")]
    inputs = ["y"]
    if sizes:
        weights.append(numpy_helper.from_array(np.array(sizes), "sizes"))
        inputs.append("sizes")
    names = [f"part{at}" for at in range(outputs)]
    more = {} if sizes else {"num_outputs": outputs}
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"]), helper.make_node("Split", inputs, names, axis=axis, **more)]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 6, 8])]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (*names, *read)]
    graph = helper.make_graph(nodes, "g", given, made, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def changed(proto):
    taken = ir.from_proto(proto)
    split_products(taken)
    return ir.to_proto(taken)


def run(proto):
    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.random.default_rng(1).standard_normal((1, 6, 8)).astype(np.float32)})


@pytest.mark.parametrize(("sizes", "outputs"), [(None, 3), (None, 5), ([2, 10], 2), ([1, 4, 7], 3)])
def test_parts_are_products_of_their_own(sizes, outputs):
    given = model(sizes, outputs=outputs)
    made = changed(given)
    assert [node.op_type for node in made.graph.node] == ["MatMul"] * outputs
    assert sum(np.prod(tensor.dims) for tensor in made.graph.initializer if tensor.name != "sizes") == WEIGHT.size
    for ours, wanted in zip(run(made), run(given), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("other", [{"axis": 1}, {"read": ("y",)}], ids=["another axis", "read as a whole"])
def test_what_is_not_split_alone_by_columns_stays(other):
    given = model(**other)
    assert [node.op_type for node in changed(given).graph.node] == ["MatMul", "Split"]


@pytest.mark.parametrize(("sizes", "unread"), [(None, {1}), ([2, 4, 6], {0}), ([1, 4, 7], {0, 2})])
def test_columns_that_nothing_reads_are_left_out(sizes, unread):
    given = model(sizes)
    kept = [value for at, value in enumerate(given.graph.output) if at not in unread]
    wanted = [part for at, part in enumerate(run(given)) if at not in unread]
    del given.graph.output[:]
    given.graph.output.extend(kept)
    taken = ir.from_proto(given)
    drop_columns(taken)
    made = ir.to_proto(taken)
    assert [value.name for value in made.graph.output] == [value.name for value in kept]
    columns = [tensor.dims[1] for tensor in made.graph.initializer if len(tensor.dims) == 2]
    assert columns == [sum(part.shape[-1] for part in wanted)]
    for ours, part in zip(run(made), wanted, strict=True):
        np.testing.assert_allclose(ours, part, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("other", [{}, {"axis": 1}, {"read": ("y",)}], ids=["all", "another axis", "read as a whole"])
def test_columns_that_something_reads_stay(other):
    given = model(**other)
    if other:
        del given.graph.output[1]
    taken = ir.from_proto(given)
    drop_columns(taken)
    assert [tensor.dims for tensor in ir.to_proto(taken).graph.initializer] == [[8, 12]]

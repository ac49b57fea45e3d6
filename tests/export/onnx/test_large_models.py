"""Models of more bytes than protobuf writes are opened with their weights apart."""

from pathlib import Path

import numpy as np
import onnx_ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from neurokit.errors import ArtifactError
from neurokit.export.ort import new_session


class EncodeError(Exception):
    """Protobuf's, by name."""


class TooLarge:
    """A model that protobuf does not write in one."""

    def __init__(self, model):
        self.model = model

    def SerializeToString(self):  # noqa: N802
        raise EncodeError("Failed to serialize proto")


def product(weight):
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [2, 64]) for name in "xy"]
    node = helper.make_node("MatMul", ["x", "w"], ["y"])
    graph = helper.make_graph([node], "product", ends[:1], ends[1:], [numpy_helper.from_array(weight, "w")])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def test_a_model_beyond_protobuf_is_opened_and_leaves_nothing(monkeypatch, tmp_path):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)
    x, weight = (np.random.default_rng(0).random((rows, 64), "f4") for rows in (2, 64))
    model = product(weight)
    seen = []
    monkeypatch.setattr(onnx_ir, "from_proto", lambda given, make=onnx_ir.from_proto: make(given.model))
    save = onnx_ir.save

    def kept(made, path, **options):
        save(made, path, **options)
        seen.extend(sorted(file.name for file in Path(path).parent.iterdir()))

    monkeypatch.setattr(onnx_ir, "save", kept)
    session = new_session(TooLarge(model))
    assert seen == ["model.onnx", "weights"]
    assert not list(tmp_path.glob("neurokit-*"))
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ weight, rtol=1e-5)


def test_an_error_of_the_model_itself_is_told():
    model = product(np.zeros((64, 64), "f4"))
    model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ArtifactError, match="does not take the model"):
        new_session(model)

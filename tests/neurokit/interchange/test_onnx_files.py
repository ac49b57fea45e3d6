"""`.onnx` files as models."""

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.errors import ModelLoadError, UnsupportedError
from neurokit.loading import load

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(), nn.MaxPool2d(2))
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=4), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(8, 5))
        self.stem[1].running_mean.normal_()

    def forward(self, x):
        x = self.stem(x)
        return self.head(x + self.body(x))


def exported(path, dynamo):
    net = Net().eval()
    x = torch.rand(2, 3, 16, 16)
    if dynamo:
        torch.onnx.export(net, (x,), str(path), dynamo=True, external_data=False, verbose=False)
    else:
        torch.onnx.export(net, (x,), str(path), dynamo=False, opset_version=11)
    return x


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("dynamo", [True, False])
def test_it_computes_what_onnx_runtime_computes(dynamo, tmp_path):
    x = exported(tmp_path / "n.onnx", dynamo)
    made = load(str(tmp_path / "n.onnx"))
    assert (made.inputs[0].shape, made.time_steps) == ((3, 16, 16), None)
    found = made.build()(x).detach().numpy()
    session = ort.InferenceSession(str(tmp_path / "n.onnx"), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(found, session.run(None, {session.get_inputs()[0].name: x.numpy()})[0], atol=1e-5)
    artifact = nk.lower(nk.capture(made), "onnx", tmp_path / "o")
    assert artifact.manifest.parity["verdict"] in ("exact", "within tolerance")


def model(*nodes, initializers=(), shape=("B", 4), opset=20):
    from onnx import helper

    x, y = helper.make_tensor_value_info("x", 1, shape), helper.make_tensor_value_info("y", 1, ["B", "N"])
    graph = helper.make_graph(list(nodes), "g", [x], [y], list(initializers))
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 10
    return made


def node(op, inputs=("x",), outputs=("y",), **attributes):
    return onnx.helper.make_node(op, list(inputs), list(outputs), name=op.lower(), **attributes)


def tensor(name, array):
    return onnx.numpy_helper.from_array(np.asarray(array), name)


def refused(path, match, error=ModelLoadError):
    with pytest.raises(error, match=match) as caught:
        load(str(path))
    return caught.value


def test_unknown_operators_are_listed(tmp_path):
    onnx.save(model(node("Erf", outputs=["a"]), node("Det", ["a"])), tmp_path / "n.onnx")
    assert [r.what for r in refused(tmp_path / "n.onnx", "cannot be a model", UnsupportedError).reasons] == [
        "Erf",
        "Det",
    ]


def test_malformed(tmp_path):
    path = tmp_path / "n.onnx"
    exported(path, dynamo=True)
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"\x00" * 64, b"PK\x03\x04 not a model"):
        path.write_bytes(data)
        assert "\n" not in str(refused(path, "ONNX|inputs"))
    onnx.save(model(node("Relu", ["z"], ["a"]), node("Relu", ["a"], ["z"]), node("Relu")), path)  # a cycle
    refused(path, "no valid ONNX")
    onnx.save(model(node("Gemm", ["x", "w"]), initializers=[tensor("w", np.ones((7, 2), np.float32))]), path)
    refused(path, "does not run on its own input")
    onnx.save(model(node("Relu"), shape=("B", "C")), path)
    refused(path, "fixed sizes")


def test_other_files_and_bombs_are_refused(tmp_path):
    path = tmp_path / "n.onnx"
    made = model(node("Gemm", ["x", "w"]), initializers=[tensor("w", np.ones((4, 2), np.float32))])
    onnx.save(made, path, save_as_external_data=True, location="weights", size_threshold=0)
    refused(path, "in another file")
    huge = onnx.TensorProto(name="w", data_type=1, dims=[10**6, 10**6])
    onnx.save(model(node("Gemm", ["x", "w"]), initializers=[huge]), path)
    refused(path, "declares 'w'")


def test_a_result_that_fills_the_memory_is_refused(tmp_path):
    """A few bytes of padding, a terabyte of zeros."""
    path = tmp_path / "n.onnx"
    weight = tensor("w", np.ones((1, 1, 1, 1), np.float32))
    onnx.save(model(node("Conv", ["x", "w"], pads=[10**6] * 4), initializers=[weight], shape=("B", 1, 4, 4)), path)
    refused(path, "numbers at once")

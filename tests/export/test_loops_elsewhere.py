"""Loops without an end in files of OpenVINO and LiteRT, which cannot be stopped: refused before they run."""

import numpy as np
import pytest

from neurokit.errors import ArtifactError

from .onnx.test_endless import BODY, SOUND, model


def test_networks_of_openvino_s_own_form(tmp_path):
    openvino = pytest.importorskip("openvino")
    from neurokit.export.openvino.session import read

    endless = model("int64 m = {1000000000000}", f"y = Loop(m, , x) <{BODY}>")
    for given in (endless, tmp_path / "m.onnx"):
        (tmp_path / "m.onnx").write_bytes(endless.SerializeToString())
        with pytest.raises(ArtifactError, match="could run for ever"):
            read(given)
    openvino.save_model(openvino.Core().read_model(endless.SerializeToString()), tmp_path / "m.xml")
    with pytest.raises(ArtifactError, match="it holds Loop"):
        read(tmp_path / "m.xml")
    read(model(*SOUND["tiles of a size"]))


def endless_tflite():
    """A file of three subgraphs: `while True: x = abs(x)`."""
    from ai_edge_litert import schema_py_generated as schema
    from flatbuffers import Builder

    def of(kind, **fields):
        made = getattr(schema, f"{kind}T")()
        for name, value in fields.items():
            setattr(made, name, value)
        return made

    def graph(tensors, operators):
        held = [of("Tensor", name=n, shape=s, type=t, buffer=b) for n, s, t, b in tensors]
        return of("SubGraph", tensors=held, inputs=[0], outputs=[1], operators=operators)

    def code(number):
        return of("OperatorCode", builtinCode=number, deprecatedBuiltinCode=min(number, 127), version=1)

    reals, kinds = schema.TensorType.FLOAT32, schema.BuiltinOperator
    loop = of("WhileOptions", condSubgraphIndex=1, bodySubgraphIndex=2)
    how = {"inputs": [0], "outputs": [1]}
    call = of(
        "Operator", opcodeIndex=0, builtinOptionsType=schema.BuiltinOptions.WhileOptions, builtinOptions=loop, **how
    )
    x, y = ("x", [1, 4], reals, 0), ("y", [1, 4], reals, 0)
    true = ("k", [], schema.TensorType.BOOL, 1)
    graphs = [graph([x, y], [call]), graph([x, true], []), graph([x, y], [of("Operator", opcodeIndex=1, **how)])]
    ends = {
        "inputs": [of("TensorMap", name="args_0", tensorIndex=0)],
        "outputs": [of("TensorMap", name="output_0", tensorIndex=1)],
    }
    made = of(
        "Model",
        version=3,
        buffers=[of("Buffer"), of("Buffer", data=np.array([1], np.uint8))],
        operatorCodes=[code(kinds.WHILE), code(kinds.ABS)],
        subgraphs=graphs,
        signatureDefs=[of("SignatureDef", signatureKey="serving_default", subgraphIndex=0, **ends)],
    )
    builder = Builder(1024)
    builder.Finish(made.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def test_files_of_litert(tmp_path):
    pytest.importorskip("ai_edge_litert")
    from neurokit.export.litert.session import LiteRtSession

    (tmp_path / "m.tflite").write_bytes(endless_tflite())
    with pytest.raises(ArtifactError, match="it holds a WHILE"):
        LiteRtSession(tmp_path / "m.tflite", ["x"], ["y"])

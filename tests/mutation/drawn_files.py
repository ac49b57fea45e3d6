"""Edits drawn from a seed of files that are no ONNX graphs: C source, LiteRT files and compiled packages."""

from __future__ import annotations

import io
import json
import random
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.inliner

from neurokit import native
from neurokit.artifact import Artifact, write_artifact
from neurokit.manifest import Manifest
from tests.mutation.drawn_ir import ir
from tests.mutation.drawn_values import numbers
from tests.mutation.graph import need

_SIGNS = {"+": "-", "-": "+", "*": "+", "/": "*", ">=": ">", ">": ">=", "<": "<=", "<=": "<", "&&": "||", "!": ""}
_SIGN = re.compile(r"(?<=[\w) (])(>=|<=|&&|[+*/<>!-])(?=[ \w(])")
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w.])")
_FLOAT = re.compile(r"0x[\d.]+p[+-]\d+|(?<![\w.])\d+\.\d+(?:e-?\d+)?")
_NAME = re.compile(r"\b(?:[tbvcx]\d+)\b")
_LITERT = {"ADD": "SUB", "SUB": "ADD", "MUL": "ADD", "GREATER_EQUAL": "GREATER", "GREATER": "GREATER_EQUAL"}


def planted_file(sound: Artifact, seed: int, out: Path) -> Artifact:
    """Returns a copy of an artifact of which one file is edited as a seed draws, sealed as an exporter would.

    Raises:
        NotApplicableError: If the file has no place for the edit.
    """
    edits = {"c": (".c", source), "litert": (".tflite", litert)}
    target, r = sound.manifest.target.partition("-")[0], random.Random(seed)
    said = {**json.loads(sound.manifest.to_text()), "files": {}, "digest": "", "parity": None}
    files = {name: sound.file(name).read_bytes() for name in sound.manifest.files}
    made = dict(files)
    if target == "aoti":
        old, new = constants(files["model.pt2"], r)
        for name in r.choice((["model.pt2"], ["probe.pt2"], ["model.pt2", "probe.pt2"])):
            made[name] = repacked(files[name], old, new)
    elif "model.xml" in files:
        made |= ir(files, r)
    elif target == "openvino":
        made |= graphs(files, r, said)
    else:
        end, edit = edits[target]
        name = r.choice(sorted(name for name in files if name.endswith(end)))
        made[name] = edit(files[name], r, said)
    need(made != files)
    with write_artifact(out, force=True) as draft:
        for name, content in made.items():
            (draft.path / name).write_bytes(content)
        draft.manifest = Manifest.model_validate(said)
    native.note(draft.artifact.manifest)
    return draft.artifact


def source(content: bytes, r: random.Random, _said: Any) -> bytes:
    """Edits C source: a number of a table, a number, operator or name of the code, or a line that is left out."""
    lines = content.decode().split("\n")
    tables = [at for at, line in enumerate(lines) if re.fullmatch(r"    [-\d., xpea-f+]+,", line)]
    first = next(at for at, line in enumerate(lines) if line.startswith("static "))
    code = [at for at, line in enumerate(lines) if at > first and at not in tables and ";" in line]
    how = r.choice(("table", "table", "number", "number", "float", "sign", "sign", "name", "line", "swap"))
    places = tables if how == "table" else code
    need(places)
    at = r.choice(places)
    if how == "line":
        del lines[at]
    elif how == "swap":
        need(at + 1 in code)
        lines[at], lines[at + 1] = lines[at + 1], lines[at]
    else:
        pattern = {"table": _NUMBER, "number": _NUMBER, "float": _FLOAT, "sign": _SIGN, "name": _NAME}[how]
        found = [*pattern.finditer(lines[at])]
        need(found)
        one = r.choice(found)
        lines[at] = lines[at][: one.start()] + _instead(how, one.group(), content, r) + lines[at][one.end() :]
    return "\n".join(lines).encode()


def _instead(how: str, word: str, content: bytes, r: random.Random) -> str:
    if how == "sign":
        return _SIGNS[word]
    if how == "name":
        same = sorted({name for name in _NAME.findall(content.decode()) if name[0] == word[0]} - {word})
        need(same)
        return r.choice(same)
    if how == "float":
        return f"({word} * {r.choice(('1.5', '1.01', '-1', '0'))}{'f' if word.startswith('0x') else ''})"
    return str(max(0, int(word) + r.choice((-1, 1, 1, 3, -int(word)))))


def graphs(files: Mapping[str, bytes], r: random.Random, said: Any) -> dict[str, bytes]:
    """Edits the graph that OpenVINO reads, or the one that it is written from and with it that one."""
    from tests.mutation.drawn import edit
    from tests.mutation.graph import Graph

    both = r.random() < 0.5
    model = onnx.load_from_string(files["model.onnx" if both else "model.flat.onnx"])
    edit(Graph(model, said, 4), r.randrange(2**31))
    if not both:
        return {"model.flat.onnx": model.SerializeToString()}
    del model.metadata_props[:]
    flat = onnx.inliner.inline_local_functions(model)
    return {"model.onnx": model.SerializeToString(), "model.flat.onnx": flat.SerializeToString()}


def litert(content: bytes, r: random.Random, _said: Any) -> bytes:
    """Edits a LiteRT file: numbers of a buffer, an option or kind of an operator, or what one reads."""
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model: Any = schema.ModelT.InitFromObj(schema.Model.GetRootAs(content, 0))
    graph = r.choice(model.subgraphs)
    how = r.choice(("buffer", "buffer", "buffer", "option", "kind", "operands", "wire", "wire"))
    if how == "buffer":
        _buffer(model, graph, r, schema)
    else:
        operator = r.choice(graph.operators)
        {"option": _option, "kind": _kind, "operands": _operands, "wire": _wire}[how](model, graph, operator, r, schema)
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _buffer(model: Any, graph: Any, r: random.Random, schema: Any) -> None:
    kinds = {schema.TensorType.FLOAT32: np.float32, schema.TensorType.INT32: np.int32, schema.TensorType.BOOL: np.bool_}
    held = [t for t in graph.tensors if model.buffers[t.buffer].data is not None and t.type in kinds]
    need(held)
    tensor = r.choice(held)
    value = np.frombuffer(bytes(model.buffers[tensor.buffer].data), kinds[tensor.type])
    need(value.size)
    shape = tuple(tensor.shape) if tensor.shape is not None and len(tensor.shape) else value.shape
    made = np.ascontiguousarray(numbers(value.reshape(shape), r))
    model.buffers[tensor.buffer].data = np.frombuffer(made.tobytes(), np.uint8)


def _option(_model: Any, _graph: Any, operator: Any, r: random.Random, _schema: Any) -> None:
    options = operator.builtinOptions
    need(options is not None)
    names = sorted(name for name, value in vars(options).items() if isinstance(value, bool | int | float))
    need(names)
    name = r.choice(names)
    value = getattr(options, name)
    setattr(options, name, not value if isinstance(value, bool) else value + r.choice((-1, 1)))


def _kind(model: Any, _graph: Any, operator: Any, _r: random.Random, schema: Any) -> None:
    codes = {name: getattr(schema.BuiltinOperator, name) for name in (*_LITERT, "MINIMUM", "MAXIMUM")}
    was = model.operatorCodes[operator.opcodeIndex].builtinCode
    name = next((name for name, code in codes.items() if code == was), None)
    need(name)
    code = schema.OperatorCodeT()
    code.builtinCode = codes[{**_LITERT, "MINIMUM": "MAXIMUM", "MAXIMUM": "MINIMUM"}[str(name)]]
    code.deprecatedBuiltinCode, code.version = min(code.builtinCode, 127), 1
    model.operatorCodes.append(code)
    operator.opcodeIndex = len(model.operatorCodes) - 1
    if name in ("ADD", "SUB", "MUL"):
        operator.builtinOptionsType, operator.builtinOptions = 0, None


def _operands(_model: Any, _graph: Any, operator: Any, _r: random.Random, _schema: Any) -> None:
    need(len(operator.inputs) > 1)
    inputs = [*operator.inputs]
    inputs[0], inputs[1] = inputs[1], inputs[0]
    operator.inputs = np.asarray(inputs, np.int32)


def _wire(_model: Any, graph: Any, operator: Any, r: random.Random, _schema: Any) -> None:
    inputs = [*operator.inputs]
    at = r.randrange(len(inputs))
    before = [tensor for one in graph.operators[: graph.operators.index(operator)] for tensor in one.outputs]
    new = r.choice([*graph.inputs, *before])
    need(new != inputs[at])
    inputs[at] = new
    operator.inputs = np.asarray(inputs, np.int32)


def constants(content: bytes, r: random.Random) -> tuple[bytes, bytes]:
    """Returns one run of numbers in a package's library that may be a float32 tensor, and others for it."""
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        held = [data for name in read.namelist() if name.endswith(".so") for data in [read.read(name)]]
    runs = [data[begin:end] for data in held for begin, end in _runs(data)]
    need(runs)
    old = r.choice(runs)
    return old, numbers(np.frombuffer(old, np.float32), r).tobytes()


def repacked(content: bytes, old: bytes, new: bytes) -> bytes:
    """Returns a package in whose libraries one run of bytes is another, stored as PyTorch reads it."""
    with zipfile.ZipFile(io.BytesIO(content)) as read:
        files = [(entry, read.read(entry).replace(old, new)) for entry in read.infolist()]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as written:
        for entry, data in files:
            written.writestr(entry, data)
    return made.getvalue()


def _runs(data: bytes) -> list[tuple[int, int]]:
    """Returns where a library holds what look like weights: 64 bytes and more of float32 between 1e-6 and 1e3."""
    value = np.abs(np.frombuffer(data[: len(data) // 64 * 64], np.float32).astype(np.float64)).reshape(-1, 16)
    like = ((value > 1e-6) & (value < 1e3)).all(1)
    edges = np.flatnonzero(np.diff(np.concatenate(([0], like.astype(np.int8), [0]))))
    return [(64 * int(a), 64 * int(b)) for a, b in edges.reshape(-1, 2)]

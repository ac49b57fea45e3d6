"""Malformed input through every door: one clear line within five seconds, status 2, no traceback, nothing written.

Each door has a generator of cases: a name and what makes the bad thing. Edited artifacts are sealed again, as somebody
would who knows the format, so that sums and digest are right and only the content is wrong.
"""

import os
import shutil
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest

from neurokit import cli
from neurokit.artifact import Artifact
from neurokit.errors import ArtifactError
from neurokit.target_said import check_said

from .edits import DEEP, Pickled, edited_head, field, file_of, layer_field, put, raw_head, seal, spread

VECTORS = {
    "empty": file_of("vectors.npz", b""),
    "text": file_of("vectors.npz", b"vectors"),
    "empty archive": lambda folder: zipfile.ZipFile(folder / "vectors.npz", "w").close(),
    "cut": lambda folder: (folder / "vectors.npz").write_bytes((folder / "vectors.npz").read_bytes()[:-200]),
    "pickle": lambda folder: np.savez(folder / "vectors.npz", head=np.array([Pickled()], dtype=object)),
    "head no JSON": raw_head(b"{"),
    "head no UTF-8": raw_head(b"\xff\xfe"),
    "head null": raw_head(b"null"),
    "head list": raw_head(b"[]"),
    "head deep": raw_head(b"[" * DEEP + b"]" * DEEP),
    "head without layers": edited_head(lambda head: head.pop("layers") and None),
    "layers null": edited_head(lambda head: {**head, "layers": None}),
    "layer of text": edited_head(lambda head: {**head, "layers": ["a"]}),
    "no such output": edited_head(lambda head: {**head, "outputs": ["z"]}),
    "time input": edited_head(lambda head: {**head, "time_input": 3}),
    "bounds list": edited_head(lambda head: {**head, "output_bounds": []}),
    "bounds text": edited_head(lambda head: {**head, "output_bounds": {"y": "x"}}),
    "shape negative": layer_field("shape", [-1, 2]),
    "shape huge": layer_field("shape", [10**9, 10**9]),
    "shape text": layer_field("shape", "4"),
    "bound NaN": layer_field("bound", float("nan")),
    "bound negative": layer_field("bound", -1.0),
    "bound null": layer_field("bound", None),
    "unknown op": layer_field("op", "lifeboat"),
    "another kind": layer_field("kind", "IFNode"),
    "another path": layer_field("path", "7"),
    "no parameters": layer_field("parameters", {}),
    "parameters list": layer_field("parameters", [1]),
    "another threshold": edited_head(lambda head: head["layers"][0]["parameters"].__setitem__("v_threshold", 0.3)),
    "init text": layer_field("init", "zero"),
    "unknown field": layer_field("colour", "red"),
    "spikes of floats": put("s0", np.zeros(5)),
    "spikes too few": put("s0", np.zeros(0, dtype=np.uint8)),
    "places float": put("at0", np.zeros(3)),
    "places outside": put("at0", np.array([10**9])),
    "membranes another shape": put("h0", np.zeros((2, 2), dtype=np.float32)),
    "membranes text": put("h0", np.array(["a"])),
    "cover another shape": put("cover0.c0", np.zeros(1, dtype=np.float32)),
    "output text": put("y0", np.array(["a", "b"])),
    "output complex": put("y0", np.zeros((4, 2, 3), dtype=np.complex64)),
}


MANIFESTS = {
    "another target": field("target", "nir"),
    "target int8": field("target", "onnx-int8"),
    **{f"target {name}": field("target", name) for name in ("tensorrt", "litert", "aoti", "c", "openvino")},
    "unknown target": field("target", "abacus"),
    "threshold": field("neurons.0.parameters.v_threshold", 0.7),
    "tau text": field("neurons.0.parameters.tau", "long"),
    "kind": field("neurons.0.kind", "IFNode"),
    "op": field("neurons.0.op", "if_"),
    "neuron path": field("neurons.0.path", "9"),
    "no neurons": field("neurons", []),
    "time steps": field("time_steps", 9),
    "time steps without an end": field("time_steps", 10**30),
    "time steps zero": field("time_steps", 0),
    "meaning": field("graphs.0.outputs.0.meaning", "degrees Celsius"),
    "input name": field("graphs.0.inputs.0.name", "z"),
    "input shape": field("graphs.0.inputs.0.shape", [4, "B", 7]),
    "input dtype": field("graphs.0.inputs.0.dtype", "float64"),
    "output dtype": field("graphs.0.outputs.0.dtype", "int8"),
    "output name": field("graphs.0.outputs.0.name", "z"),
    "no inputs": field("graphs.0.inputs", []),
    "reset policy": field("reset_policy", "never"),
    "time output": field("target_info.time_output", "mean"),
    "model": field("model.name", "another"),
    "files out": field("files", {"../x": {"sha256": "0" * 64, "bytes": 1}}),
    "no vectors": lambda folder: seal(folder, lambda data: data["files"].pop("vectors.npz")),
    "deep": file_of("manifest.json", b'{"format": "neurokit artifact", "x": ' + b"[" * DEEP + b"]" * DEEP + b"}"),
    "null": file_of("manifest.json", b"null"),
    "no UTF-8": file_of("manifest.json", b"\xff\xfe{"),
    "pipe": lambda folder: ((folder / "manifest.json").unlink(), os.mkfifo(folder / "manifest.json")),
    "a folder": lambda folder: ((folder / "manifest.json").unlink(), (folder / "manifest.json").mkdir()),
}
MODELS = {
    "empty": file_of("model.onnx", b""),
    "text": file_of("model.onnx", b"model"),
    "cut": lambda folder: (folder / "model.onnx").write_bytes((folder / "model.onnx").read_bytes()[:-300]),
}


def _endless(folder):
    """Puts a loop without an end in front of the graph's first input."""
    body = "body: graph = turn (int64 i, bool c, float[] a) => (bool d, float[] b) { d = Identity(c) b = Relu(a) }"
    text = f'<ir_version: 10, opset_import: ["" : 20]> g (float[] x) => (float[] y) {{ y = Loop(, , x) <{body}> }}'
    loop, model = onnx.parser.parse_model(text).graph.node[0], onnx.load(folder / "model.onnx")
    name = model.graph.input[0].name
    loop.input[2] = name
    for node in model.graph.node:
        node.input[:] = [loop.output[0] if each == name else each for each in node.input]
    nodes = [loop, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, folder / "model.onnx")


def case(sound, tmp_path, make, source="a"):
    shutil.copytree(sound / source, tmp_path / "a")
    make(tmp_path / "a")
    if (tmp_path / "a/manifest.json").is_file() and make not in MANIFESTS.values():
        seal(tmp_path / "a")


@pytest.mark.parametrize("name", spread(VECTORS))
def test_vectors(sound, tmp_path, refused, name):
    case(sound, tmp_path, VECTORS[name])
    refused("verify", "a")
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", spread(MANIFESTS, 2))
def test_manifests(sound, tmp_path, refused, name):
    case(sound, tmp_path, MANIFESTS[name])
    refused("verify", "a")


INT8 = {"openvino": {}, "quantisation": {"max_error": 0.1}, "against_float": {"output_relative_l2": 0.01}}
C_SAID = {"name": "net", "proven_steps": 4, "layers": []}
SAID = {
    "no precision": ("tensorrt", {}, ("target_info.precision of its manifest is missing", "'fp32', 'fp16' or 'int8'")),
    "another precision": ("tensorrt", {"precision": "x"}, ("target_info.precision", "'fp32', 'fp16' or 'int8'")),
    "no name": ("c", {**C_SAID, "name": None}, ("target_info.name", "valid string")),
    "a name of code": ("c", {**C_SAID, "name": "a(); x"}, ("target_info.name", "match pattern")),
    "no steps": ("c", {"name": "net"}, ("target_info.proven_steps of its manifest is missing", "valid integer")),
    "layers of text": ("c", {**C_SAID, "layers": ["a"]}, ("target_info.layers.0", "valid dictionary")),
    "no device": ("onnx-int8", {"quantisation": {}}, ("target_info.quantisation.device", "valid string")),
    "no step": ("nir", {"layers": []}, ("target_info.dt of its manifest is missing", "valid number")),
    "a step of infinity": ("nir", {"dt": 1e999, "layers": []}, ("target_info.dt", "finite number")),
    "a step of nothing": ("nir", {"dt": 0, "layers": []}, ("target_info.dt", "greater than 0")),
    "no layers": ("nir", {"dt": 1e-4}, ("target_info.layers of its manifest is missing", "valid list")),
    "another part": ("nir", {"dt": 1e-4, "layers": [[1, "a"]]}, ("target_info.layers", "part 1, and there are 1")),
    "no neurons": ("nir", {"dt": 1, "parts": ["a"], "layers": []}, ("target_info.covered of its manifest is missing",)),
    "fewer neurons": (
        "nir",
        {"dt": 1e-4, "parts": ["p"], "layers": [[0, "a"]], "covered": []},
        ("target_info.covered", "0 neurons for 1 layers"),
    ),
    "of 16 bits": ("litert", {"calls": [], "precision": "float16"}, ("target_info.precision", "'float32'")),
    "no rows": ("litert", {"calls": [{}]}, ("target_info.rows of its manifest is missing", "valid integer")),
    "no row": ("litert-step", {"calls": [{}], "rows": 0}, ("target_info.rows", "greater than or equal to 1")),
    "no calls": ("litert", {}, ("target_info.calls of its manifest is missing", "valid list")),
    "no float": ("openvino-int8", {**INT8, "against_float": None}, ("target_info.against_float", "valid dictionary")),
    "no bound": ("openvino-int8", {**INT8, "quantisation": {}}, ("target_info.quantisation.max_error", "valid number")),
    "a bound of infinity": (
        "openvino-int8",
        {**INT8, "quantisation": {"max_error": 1e999}},
        ("target_info.quantisation.max_error", "finite number"),
    ),
    "no files": ("openvino", {}, ("target_info.openvino of its manifest is missing", "valid dictionary")),
}


FOR_VERIFYING = {"no rows", "no row", "no calls", "no float", "no bound", "a bound of infinity"}


@pytest.mark.parametrize("name", SAID)
def test_what_a_target_reads_is_named(sound, tmp_path, name):
    target, info, said = SAID[name]
    case(sound, tmp_path, lambda folder: seal(folder, lambda data: data.update(target=target, target_info=info)))
    for verified in (False, True):
        if not verified and name in FOR_VERIFYING:
            continue
        with pytest.raises(ArtifactError) as refused:
            check_said(Artifact.load(tmp_path / "a"), verified)
        if name not in ("no precision", "another precision") or verified:
            assert all(word in str(refused.value) for word in said), str(refused.value)
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize("source", ["a", "s"])
@pytest.mark.parametrize("verb", ["verify", "run"])
def test_a_loop_without_an_end(sound, tmp_path, refused, verb, source):
    case(sound, tmp_path, _endless, source)
    np.save("x.npy", np.zeros((4, 6), np.float32))
    assert "could run for ever" in refused(verb, "a", *(["x.npy"] if verb == "run" else []))


@pytest.mark.parametrize("name", MODELS)
def test_graphs(sound, tmp_path, refused, name):
    case(sound, tmp_path, MODELS[name])
    refused("verify", "a")


STATES = {
    "shape": field("graphs.0.states.0.shape", ["B", 6]),
    "dtype": field("graphs.0.states.0.dtype", "float64"),
    "init": field("graphs.0.states.0.init", "none.npy"),
    "input": field("graphs.0.states.0.input", "z"),
    "none": field("graphs.0.states", []),
}


@pytest.mark.parametrize("name", STATES)
def test_states(sound, tmp_path, refused, name):
    case(sound, tmp_path, lambda folder: None, "s")
    STATES[name](tmp_path / "a")
    refused("verify", "a")


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(150))
def test_any_byte(sound, tmp_path, refused, seed):
    """Bytes that are changed anywhere and sealed again: refused, failed or harmless, and never anything else."""
    shutil.copytree(sound / "a", tmp_path / "a")
    random = np.random.default_rng(seed)
    path = tmp_path / "a" / ("vectors.npz" if seed % 2 else "model.onnx")
    content = bytearray(path.read_bytes())
    for at in random.integers(0, len(content), 3):
        content[at] ^= int(random.integers(1, 256))
    path.write_bytes(bytes(content))
    seal(tmp_path / "a")
    assert cli.main(["verify", str(tmp_path / "a")]) in (0, 1, 2)

"""Malformed input through every door: one clear line within five seconds, status 2, no traceback, nothing written.

Each door has a generator of cases: a name and what makes the bad thing. Edited artifacts are sealed again, as somebody
would who knows the format, so that sums and digest are right and only the content is wrong.
"""

import hashlib
import io
import json
import os
import shutil
import signal
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit import cli

LIMIT_S = 5
DEEP = 100_000
MODEL = """
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

def net():
    torch.manual_seed(0)
    first, last = layer.Linear(6, 5, step_mode="m"), layer.Linear(5, 3, step_mode="m")
    parts = first, neuron.LIFNode(v_threshold=0.2, step_mode="m"), last
    return nn.Sequential(*parts).eval()
"""


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """A sound artifact, its model's file, and one of another target."""
    folder = tmp_path_factory.mktemp("sound")
    (folder / "m.py").write_text(MODEL)
    torch.manual_seed(0)
    parts = (
        layer.Linear(6, 5, step_mode="m"),
        neuron.LIFNode(v_threshold=0.2, step_mode="m"),
        layer.Linear(5, 3, step_mode="m"),
    )
    captured = nk.capture(nn.Sequential(*parts).eval(), torch.rand(4, 2, 6))
    nk.lower(captured, "onnx", folder / "a")
    nk.lower(captured, "onnx-step", folder / "s")
    return folder


class TooLateError(Exception):
    """The command did not end in time."""


def _too_late(*_args):
    raise TooLateError


@pytest.fixture
def refused(tmp_path, monkeypatch, capsys):
    """Runs a command and holds it to one clear line; returns what was said."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        before = sorted(Path().rglob("*"))
        capsys.readouterr()
        old = signal.signal(signal.SIGALRM, _too_late)
        signal.alarm(4 * LIMIT_S)  # a hang; the machine may be loaded
        start = time.process_time()
        try:
            status = cli.main([str(argument) for argument in arguments])
        finally:
            signal.alarm(0)
            signal.signal(signal.SIGALRM, old)
        spent, said = time.process_time() - start, capsys.readouterr()
        lines = [line for line in said.err.splitlines() if not line.startswith(("done ", "  - "))]
        assert status == 2, (status, said.err[-600:])
        assert [line.split(":")[0] for line in lines] == ["error", "expected", "fix"], said.err
        assert "Traceback" not in said.err + said.out
        assert spent < LIMIT_S
        assert [path for path in sorted(Path().rglob("*")) if "__pycache__" not in path.parts] == before
        return said.err

    return run


def seal(folder, edit=None):
    """Makes sums and digest right again."""
    path = folder / "manifest.json"
    data = json.loads(path.read_text())
    for name in data["files"]:
        content = (folder / name).read_bytes()
        data["files"][name] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    if edit is not None:
        edit(data)
    body = {key: value for key, value in data.items() if key != "digest"}
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    data["digest"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(data))


def arrays_of(folder):
    with np.load(folder / "vectors.npz") as data:
        return {key: data[key] for key in data.files}


def edited_vectors(edit):
    def make(folder):
        arrays = arrays_of(folder)
        edit(arrays)
        np.savez_compressed(folder / "vectors.npz", **arrays)

    return make


def edited_head(edit):
    def make(arrays):
        head = json.loads(bytes(arrays["head"]))
        head = edit(head) or head
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)

    return edited_vectors(make)


def raw_head(content):
    return edited_vectors(lambda arrays: arrays.update(head=np.frombuffer(content, dtype=np.uint8)))


def put(name, value):
    return edited_vectors(lambda arrays: arrays.update({name: value}))


def file_of(name, content):
    return lambda folder: (folder / name).write_bytes(content)


def layer_field(key, value):
    return edited_head(lambda head: head["layers"][0].__setitem__(key, value))


class Pickled:
    def __reduce__(self):
        return os.mkdir, ("executed",)


def _bomb():
    held = io.BytesIO()
    with (
        zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("x.npy", "w", force_zip64=True) as file,
    ):
        for _ in range(9 * 64):
            file.write(bytes(2**24))
    return held.getvalue()


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
}  # fmt: skip


def field(path, value):
    *parents, last = path.split(".")

    def edit(data):
        for part in parents:
            data = data[int(part)] if part.isdigit() else data[part]
        data[int(last) if last.isdigit() else last] = value

    return lambda folder: seal(folder, edit)


MANIFESTS = {
    "another target": field("target", "nir"),
    "target int8": field("target", "onnx-int8"),
    "target tensorrt": field("target", "tensorrt"),
    "unknown target": field("target", "abacus"),
    "threshold": field("neurons.0.parameters.v_threshold", 0.7),
    "tau text": field("neurons.0.parameters.tau", "long"),
    "kind": field("neurons.0.kind", "IFNode"),
    "op": field("neurons.0.op", "if_"),
    "neuron path": field("neurons.0.path", "9"),
    "no neurons": field("neurons", []),
    "time steps": field("time_steps", 9),
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


def case(sound, tmp_path, make, source="a"):
    shutil.copytree(sound / source, tmp_path / "a")
    make(tmp_path / "a")
    if (tmp_path / "a/manifest.json").is_file() and make not in MANIFESTS.values():
        seal(tmp_path / "a")


@pytest.mark.parametrize("name", VECTORS)
def test_vectors(sound, tmp_path, refused, name):
    case(sound, tmp_path, VECTORS[name])
    refused("verify", "a")
    assert not Path("executed").exists()


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests(sound, tmp_path, refused, name):
    case(sound, tmp_path, MANIFESTS[name])
    refused("verify", "a")


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


def _itself(path):
    held = {}
    held["state_dict"] = held
    torch.save(held, path)


def _deep(path):
    held = {"0.weight": torch.zeros(1)}
    for _ in range(50):
        held = {"model": held}
    torch.save(held, path)


def good_state(**changes):
    state = {
        "0.weight": torch.zeros(5, 6),
        "0.bias": torch.zeros(5),
        "2.weight": torch.zeros(3, 5),
        "2.bias": torch.zeros(3),
    }
    return {**state, **changes}


WEIGHTS = {
    "itself.pt": _itself,
    "deep.pt": _deep,
    "sparse.pt": lambda path: torch.save(good_state(**{"0.weight": torch.zeros(5, 6).to_sparse()}), path),
    "meta.pt": lambda path: torch.save(good_state(**{"0.weight": torch.zeros(5, 6, device="meta")}), path),
    "quantised.pt": lambda path: torch.save(
        good_state(**{"0.weight": torch.quantize_per_tensor(torch.zeros(5, 6), 0.1, 0, torch.qint8)}), path
    ),
    "complex.pt": lambda path: torch.save(good_state(**{"0.weight": torch.zeros(5, 6, dtype=torch.complex64)}), path),
    "list.pt": lambda path: torch.save([1, 2], path),
    "none.pt": lambda path: torch.save(None, path),
    "code.pt": lambda path: torch.save({"0.weight": Pickled()}, path),
    "text.pt": lambda path: path.write_bytes(b"weights"),
    "empty.pt": lambda path: path.write_bytes(b""),
    "pipe.pt": os.mkfifo,
    "text.safetensors": lambda path: path.write_bytes(b"weights"),
    "huge.safetensors": lambda path: path.write_bytes(b"\xff" * 16),
    "folder.pt": Path.mkdir,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(sound, tmp_path, refused, name):
    WEIGHTS[name](tmp_path / name)
    refused("export", f"{sound}/m.py:net", "--input-shape", "6", "--weights", name, "--out", "out")
    assert not Path("executed").exists()


def _many_outputs(path):
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("Relu", ["x"], [f"y{i}"]) for i in range(10_000)]
    ends = [helper.make_tensor_value_info(f"y{i}", TensorProto.FLOAT, ["B", 3]) for i in range(10_000)]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", 3])
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", [given], ends)), str(path))


FILES = {
    "many.onnx": _many_outputs,
    **{f"empty{end}": lambda path: path.write_bytes(b"") for end in (".onnx", ".nir", ".pt2")},
    **{f"text{end}": lambda path: path.write_bytes(b"network" * 99) for end in (".onnx", ".nir", ".pt2")},
    **{f"pipe{end}": os.mkfifo for end in (".onnx", ".nir", ".pt2")},
    **{f"folder{end}": Path.mkdir for end in (".onnx", ".nir", ".pt2")},
    "archive.pt2": lambda path: zipfile.ZipFile(path, "w").close(),
}


@pytest.mark.parametrize("name", FILES)
def test_files_of_other_tools(tmp_path, refused, name):
    FILES[name](tmp_path / name)
    refused("export", name, "--out", "out")


CHIPS = {
    "deep.toml": b"a = " + b"[" * DEEP + b"]" * DEEP,
    "deep_tables.toml": b"[" + b"a." * DEEP + b"a]",
    "binary.toml": bytes(range(256)),
    "empty.toml": b"",
    "list.toml": b"a = [1, 2]\n",
}


@pytest.mark.parametrize("name", [*CHIPS, "pipe.toml", "folder.toml"])
def test_chips(tmp_path, refused, name):
    if name in CHIPS:
        (tmp_path / name).write_bytes(CHIPS[name])
    else:
        {"pipe.toml": os.mkfifo, "folder.toml": Path.mkdir}[name](tmp_path / name)
    refused("energy", "spiking_cnn", "--chip", name)


REPORTS = {
    "null.jsonl": b"null\n",
    "number.jsonl": b"3\n",
    "list.jsonl": b"[]\n",
    "fields.jsonl": b'{"time": 1, "key": [], "machine": {}, "git": null, "p50_s": "x"}\n',
    "deep.jsonl": b"[" * DEEP + b"\n",
    "binary.jsonl": bytes(range(256)),
    "null.json": b"null",
    "deep.json": b"[" * DEEP + b"]" * DEEP,
    "binary.json": bytes(range(256)),
    "another.json": b'{"report": "parity"}',
    "empty.json": b"",
}


@pytest.mark.parametrize("name", [*REPORTS, "pipe.json", "pipe.jsonl", "folder.json"])
def test_reports(tmp_path, refused, name):
    if name in REPORTS:
        (tmp_path / name).write_bytes(REPORTS[name])
    else:
        (Path.mkdir if "folder" in name else os.mkfifo)(tmp_path / name)
    refused("report", name, "--html", "page.html")


ARGUMENTS = {
    "batch": ("--batch", 10**12),
    "steps": ("--time-steps", 10**12),
    "shape": ("--input-shape", "1000000,1000000,1000"),
    "option": ("--option", "a=" + "[" * DEEP),
    "calibration": ("--calibration", "/dev/null", "--numerics", "exact"),
    "data": ("--data", "/dev/zero"),
    "weights": ("--weights", "/dev/zero"),
}


@pytest.mark.parametrize("name", ARGUMENTS)
def test_arguments(sound, refused, name):
    refused("export", f"{sound}/m.py:net", "--input-shape", "6", "--out", "out", *ARGUMENTS[name])


@pytest.mark.parametrize("place", ["/", ".", "..", "/dev/null", "/proc/out", "a\0b", "x" * 300])
def test_places_to_write(sound, refused, place):
    refused("export", f"{sound}/m.py:net", "--input-shape", "6", "--out", place)


@pytest.mark.parametrize("place", ["/", ".", "/dev/full", "/proc/page.html"])
def test_pages_to_write(sound, refused, place):
    refused("report", sound / "a", "--html", place)


@pytest.mark.skipif(sys.platform != "linux", reason="names are bytes on Linux")
def test_a_path_that_is_no_utf8(sound, tmp_path, capsys):
    place = tmp_path / os.fsdecode(b"caf\xe9")
    assert cli.main(["verify", str(place)]) == 2
    assert "does not exist" in capsys.readouterr().err
    shutil.copytree(sound / "a", place)
    assert cli.main(["verify", str(place)]) == 0
    assert "Traceback" not in capsys.readouterr().err


def test_a_message_of_torch_is_not_on_the_screen(sound, refused):
    said = refused("export", f"{sound}/m.py:net", "--input-shape", "7", "--out", "out")
    assert "fake_tensor" not in said

"""`.pt2` files as models: read without torch's loader, so that nothing in them is executed."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import ModelLoadError, UnsupportedError
from neurokit.loading import load


class Net(nn.Module):
    """Convolutions, groups, normalisation, in-place operations, a shortcut, a buffer and a view."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False), nn.BatchNorm2d(8), nn.ReLU6(inplace=True), nn.MaxPool2d(2)
        )
        self.body = nn.Sequential(nn.Conv2d(8, 8, 3, 1, 1, groups=4), nn.Hardswish())
        self.head = nn.Sequential(nn.Dropout(), nn.Linear(8, 5))
        self.register_buffer("scale", torch.full((8, 1, 1), 0.5))
        self.stem[1].running_mean.normal_()

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([a * self.scale + b for a, b in [(x, self.body(x))]], 1)
        return self.head(x.mean((2, 3)).view(x.shape[0], -1))


def save(path, net=None, x=None, **options):
    net = (net or Net()).eval()
    x = torch.rand(2, 3, 16, 16) if x is None else x
    options = options or {"dynamic_shapes": ({0: torch.export.Dim("b")},)}
    torch.export.save(torch.export.export(net, (x,), **options), str(path))
    return net


def test_it_computes_what_the_module_computes(tmp_path):
    net = save(tmp_path / "n.pt2")
    made = load(str(tmp_path / "n.pt2"))
    assert (made.inputs[0].shape, made.time_steps) == ((3, 16, 16), None)
    x = torch.rand(3, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(made.build()(x), net(x))
        assert torch.equal(made.build()(x), torch.export.load(tmp_path / "n.pt2").module()(x))


def test_it_goes_through_the_commands(tmp_path, capsys):
    pytest.importorskip("onnxruntime")
    save(tmp_path / "n.pt2")
    assert main(["export", str(tmp_path / "n.pt2"), "--target", "onnx", "--out", str(tmp_path / "o"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["verdict"] in ("exact", "within tolerance")
    artifact = nk.lower(nk.capture(load(str(tmp_path / "n.pt2"))), "onnx", tmp_path / "p")
    with nk.open(artifact) as runner:
        assert np.isfinite(runner(np.zeros((4, 3, 16, 16), np.float32))).all()


class Trace:
    """A pickle that leaves a trace, were it loaded."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


def change(path, edits, compression=zipfile.ZIP_STORED):
    """Rewrites entries of an archive, each by a function of its bytes."""
    with zipfile.ZipFile(path) as archive:
        held = {entry.filename: archive.read(entry) for entry in archive.infolist()}
    root = next(iter(held)).partition("/")[0]
    for name, edit in edits.items():
        held[f"{root}/{name}"] = edit(held[f"{root}/{name}"])
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in held.items():
            archive.writestr(name, data)


def edit_json(edit):
    def apply(data):
        held = json.loads(data)
        edit(held)
        return json.dumps(held).encode()

    return apply


def refused(path, match, error=ModelLoadError):
    with pytest.raises(error, match=match) as caught:
        load(str(path))
    return caught.value


def test_a_pickled_weight_is_refused_unread(tmp_path):
    """torch.export.load does run it: what the refusal is for."""
    path, trace = tmp_path / "n.pt2", tmp_path / "executed"
    save(path)

    def mark(config):
        next(iter(config["config"].values()))["use_pickle"] = True

    change(
        path,
        {
            "data/weights/model_weights_config.json": edit_json(mark),
            "data/weights/weight_0": lambda _: pickle.dumps(Trace(trace)),
        },
    )
    refused(path, "keeps 'stem.0.weight' pickled, and a pickle can run code")
    assert not trace.exists()
    with pytest.raises(Exception):  # noqa: B017, PT011 - whatever it raises, after it has run the pickle
        torch.export.load(path)
    assert trace.exists()


def test_what_else_torch_would_execute_is_not_even_read(tmp_path):
    """Pickled sample inputs, and the text of symbolic expressions."""
    path, trace = tmp_path / "n.pt2", tmp_path / "executed"
    net = save(path)
    evil = f"__import__('pathlib').Path({str(trace)!r}).touch()"

    def poison(program):
        graph = program["graph_module"]["graph"]
        for value in graph["tensor_values"].values():
            for size in value["sizes"]:
                if "as_expr" in size:
                    size["as_expr"]["expr_str"] = evil
        program["guards_code"] = [evil]
        program["range_constraints"] = {evil: {"min_val": 0, "max_val": None}}

    change(
        path,
        {
            "models/model.json": edit_json(poison),
            "data/sample_inputs/model.pt": lambda _: pickle.dumps(Trace(trace)),
        },
    )
    x = torch.rand(2, 3, 16, 16)
    with torch.no_grad():
        assert torch.equal(load(str(path)).build()(x), net(x))
    assert not trace.exists()


def test_operators_outside_of_the_list_are_refused_by_name(tmp_path):
    path = tmp_path / "n.pt2"
    save(path)

    def replace(program):
        nodes = program["graph_module"]["graph"]["nodes"]
        nodes[0]["target"], nodes[1]["target"] = "torch.ops.aten.from_file.default", "os.system"

    change(path, {"models/model.json": edit_json(replace)})
    found = refused(path, "cannot be a model", UnsupportedError).reasons
    assert [reason.what for reason in found] == ["aten.from_file.default", "os.system"]


def test_neurons_that_were_taken_apart_are_refused(tmp_path):
    net = nn.Sequential(layer.Linear(4, 3), neuron.LIFNode())
    functional.set_step_mode(net, "m")
    with torch.no_grad():
        save(tmp_path / "n.pt2", net, torch.rand(4, 2, 4), strict=False)
    assert "path/file.py:factory" in str(refused(tmp_path / "n.pt2", "took apart"))


def test_malformed(tmp_path):
    path = tmp_path / "n.pt2"
    save(path)
    whole = path.read_bytes()
    for data in (b"", whole[: len(whole) // 2], b"\x00" * 64, b"PK\x03\x04 no archive"):
        path.write_bytes(data)
        assert "\n" not in str(refused(path, "cannot be read"))
    edits = {
        "is of schema 99": lambda p: p["schema_version"].update(major=99),
        "does not run on its own input": lambda p: next(
            node for node in p["graph_module"]["graph"]["nodes"] if "conv2d" in node["target"]
        )["inputs"][3]["arg"].update(as_ints=[0, 0]),
        "is no torch.export archive: KeyError": lambda p: p["graph_module"].pop("graph"),
        "has 0 inputs": lambda p: p["graph_module"]["signature"]["input_specs"].pop(),
        "numbers at once": lambda p: p["graph_module"]["graph"]["nodes"].insert(
            1,
            {
                "target": "torch.ops.aten.repeat.default",
                "name": "bomb",
                "metadata": {},
                "inputs": [
                    {"name": "self", "arg": {"as_tensor": {"name": "x"}}, "kind": 1},
                    {"name": "repeats", "arg": {"as_ints": [10**6, 10**3, 1, 1]}, "kind": 1},
                ],
                "outputs": [{"as_tensor": {"name": "bomb"}}],
            },
        ),
    }
    for match, edit in edits.items():
        path.write_bytes(whole)
        change(path, {"models/model.json": edit_json(edit)})
        assert "\n" not in str(refused(path, match))


def test_bombs_are_refused_before_they_unpack(tmp_path, monkeypatch):
    path = tmp_path / "n.pt2"
    save(path)
    change(path, {"data/weights/weight_0": lambda _: bytes(10**7)}, zipfile.ZIP_DEFLATED)
    refused(path, "compressed")
    save(path)

    def stride(config):
        meta = next(iter(config["config"].values()))["tensor_meta"]
        meta["sizes"], meta["strides"] = [{"as_int": 10**6}] * 2, [{"as_int": 0}] * 2

    change(path, {"data/weights/model_weights_config.json": edit_json(stride)})
    refused(path, "would unpack to more")
    save(path)
    monkeypatch.setenv("NEUROKIT_MAX_MODEL_BYTES", "1000")
    refused(path, "would unpack to more than 1000 bytes")

"""The commands on models with several inputs, states and graphs: they work, or refuse with the true reason."""

import json
from pathlib import Path

import pytest

from neurokit import cli
from neurokit.cli._shapes import parse_shapes
from neurokit.errors import InputError

NETS = Path(__file__).parent / "nets.py"
QUICK = ["--seconds", "0.05", "--threads", "1", "--meter", "none"]


def run(capsys, *arguments):
    status = cli.main([str(part) for part in arguments])
    said = capsys.readouterr()
    assert "Traceback" not in said.out + said.err
    return status, said.out, said.err


@pytest.mark.parametrize("name", ["token_model", "pair"])
def test_export_verify_bench_and_report(name, tmp_path, capsys):
    folder = tmp_path / name
    status, _, err = run(capsys, "export", f"{NETS}:{name}", "--target", "onnx-step", "--out", folder)
    assert status == 0, err
    status, out, err = run(capsys, "verify", folder, "--json")
    assert status == 0, err
    assert json.loads(out)["reports"][0]["verdict"] in ("within tolerance", "exact")
    status, out, err = run(capsys, "bench", folder, *QUICK, "--out", tmp_path / "r.json")
    assert status == 0, out + err
    data = json.loads((tmp_path / "r.json").read_text())
    assert [(row["scenario"], bool(row["samples_s"])) for row in data["reports"]] == [("single", True)]
    status, _, err = run(capsys, "report", tmp_path / "r.json", "--html", tmp_path / "page.html")
    assert status == 0, err
    assert (tmp_path / "page.html").stat().st_size > 1000
    status, out, err = run(capsys, "bench", folder, *QUICK, "--scenario", "stream", "--out", tmp_path / "s.json")
    why = "grows with every step" if name == "token_model" else "several graphs"
    assert why in (out + err).replace("\n", " ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("export", f"{NETS}:token_model", "--target", "nir", "--out", "OUT"), "declared states (k, v)"),
        (("export", f"{NETS}:pair", "--target", "onnx-int8", "--out", "OUT"), "several graphs (encoder, step)"),
        (("export", f"{NETS}:token_model", "--target", "onnx-scan", "--out", "OUT"), "no time axis"),
        (("export", f"{NETS}:pair", "--target", "onnx", "--out", "OUT"), "keeps a state between calls"),
        (("energy", f"{NETS}:token_model", "--chip", "loihi2"), "declared states (k, v)"),
        (("export", f"{NETS}:token_model", "--numerics", "exact", "--out", "OUT"), "the exact form"),
    ],
)
def test_what_cannot_be_is_refused_with_the_true_reason(arguments, said, tmp_path, capsys):
    out = tmp_path / "out"
    status, _, err = run(capsys, *(out if part == "OUT" else part for part in arguments))
    assert status == 2
    assert said in " ".join(err.split())
    assert not out.exists()


MODULE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(9, 4)

    def forward(self, ids, mask):
        return (self.embed(ids) * mask[..., None]).sum(1)
"""


def test_a_bare_module_with_several_inputs_by_input_shape(tmp_path, capsys):
    (tmp_path / "net.py").write_text(MODULE)
    shapes = ["--input-shape", "ids:int64:S", "--input-shape", "mask:bool:S"]
    status, _, err = run(capsys, "export", f"{tmp_path}/net.py:Net", *shapes, "--out", tmp_path / "a")
    assert status == 0, err
    (graph,) = json.loads((tmp_path / "a" / "manifest.json").read_text())["graphs"]
    assert [(port["name"], port["shape"], port["dtype"]) for port in graph["inputs"]] == [
        ("ids", ["B", "S"], "int64"),
        ("mask", ["B", "S"], "bool"),
    ]


def test_input_shapes_are_read():
    assert parse_shapes([]) is None
    assert parse_shapes(["3,8,8"]) == (3, 8, 8)
    assert parse_shapes(["a:int64:", "m:bool:S,P+S"]) == {"a": ("int64", ()), "m": ("bool", ("S", "P+S"))}


@pytest.mark.parametrize(
    "entries",
    [["a:int64"], ["a:int64:3", "4"], ["a:int64:3", "a:bool:3"], [":int64:3"], ["a::3"], ["a:int64:0"], ["3,x"]],
)
def test_input_shapes_that_are_none(entries):
    with pytest.raises(InputError, match="--input-shape is"):
        parse_shapes(entries)

"""A lowered network that is another one in practice is said to be, on every surface and whatever the verdict."""

import html
import json

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.reports.parity_meaning import FAR_FROM_FLOAT, far_from_float


@pytest.mark.parametrize(
    ("error", "said"), [(None, False), (0.0, False), (FAR_FROM_FLOAT, False), (0.26, True), (0.9, True)]
)
def test_the_warning_begins_above_its_bound(error, said):
    info = {} if error is None else {"against_float": {"output_relative_l2": error, "samples": 4, "data": "some data"}}
    assert bool(far_from_float(info)) is said


def small():
    torch.manual_seed(0)
    net = nn.Sequential(layer.Linear(10, 16), neuron.LIFNode(), layer.Linear(16, 4))
    functional.set_step_mode(net, "m")
    return net.eval()


def test_it_stands_beside_the_verdict_on_screen_page_and_in_json(tmp_path, capsys):
    spec = nk.ModelSpec("small", small, (nk.TensorSpec("x", (10,)),), time_steps=4)
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a", numerics="exact")
    assert artifact.manifest.parity["warning"] == ""
    far = {**artifact.manifest.target_info["against_float"], "output_relative_l2": 0.5}
    artifact = artifact.with_target_info(against_float=far)
    assert cli.main(["verify", str(artifact.path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)["reports"][0]
    assert report["verdict"] == "exact"
    assert "another network than the float model" in report["warning"]
    assert cli.main(["verify", str(artifact.path)]) == 0
    assert report["warning"] in " ".join(capsys.readouterr().out.split())
    assert cli.main(["report", str(artifact.path), "--html", str(tmp_path / "p.html")]) == 0
    assert report["warning"] in html.unescape((tmp_path / "p.html").read_text())

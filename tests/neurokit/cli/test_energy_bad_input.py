"""Bad input of `neurokit energy`, through the command: one clear line, status 2, nothing written."""

from __future__ import annotations

import json

import numpy as np
import pytest

from neurokit.cli import main
from neurokit.hw_sim.devices.file import DEVICE_FOLDER

MODEL = (
    "from spikingjelly.activation_based import functional, layer, neuron\nfrom torch import nn\n"
    "def net():\n"
    "    parts = layer.Linear(6, 8), neuron.IFNode(v_threshold=0.3), layer.Linear(8, 3), neuron.IFNode()\n"
    "    model = nn.Sequential(*parts)\n    functional.set_step_mode(model, 'm')\n    return model\n"
)


@pytest.fixture
def energy(tmp_path, capsys):
    """Returns a function that runs the command on a small model, and gives status, standard output and error."""
    (tmp_path / "model.py").write_text(MODEL)

    def run(*arguments):
        out = tmp_path / "report.json"
        shape = ["--input-shape", "6", "--time-steps", "4"]
        command = ["energy", f"{tmp_path}/model.py:net", *shape, *map(str, arguments), "--out", str(out)]
        status = main(command)
        printed, said = capsys.readouterr()
        return status, printed, said, out

    return run


def refused(result, *words):
    status, printed, said, out = result
    assert status == 2, said
    lines = [line for line in said.splitlines() if not line.startswith("done ") and line.strip()]
    assert lines[0].startswith("error: "), said
    assert len(lines) <= 5
    assert "Traceback" not in printed + said
    for word in words:
        assert word in said
    assert not out.exists()
    assert not list(out.parent.glob("*.partial"))


@pytest.mark.parametrize(
    ("chip", "voltage", "words"),
    [
        ("truenorth", "2.5", ("TrueNorth at 2.5 V", "0.7 to 1.05 V")),
        ("truenorth", "truenorth=0.2", ("TrueNorth at 0.2 V",)),
        ("xylo", "1.0", ("no range of supply voltages",)),
        ("truenorth", "loihi1=0.75", ("--voltage", "named with --chip")),
        ("truenorth", "-1", ("--voltage",)),
        ("truenorth", "nan", ("--voltage",)),
    ],
)
def test_a_voltage_outside_the_range(energy, chip, voltage, words):
    refused(energy("--chip", chip, "--voltage", voltage), *words)


@pytest.mark.parametrize("bits", ["0", "33", "-4", "3.5", "octonary", ""])
def test_weight_bits_that_are_no_width(energy, bits):
    refused(energy("--chip", "loihi1", "--weight-bits", bits), "ternary")


def test_weight_bits_that_a_chip_lacks_are_said_for_that_chip_alone(energy):
    status, printed, said, out = energy("--chip", "akida", "--chip", "loihi1", "--weight-bits", "8")
    assert status == 0, said
    chips = {chip["chip"]: chip for chip in json.loads(out.read_text())["chips"]}
    assert not chips["akida"]["fits"]
    assert any("weight_bits" in line and "8" in line for line in chips["akida"]["violations"])
    assert chips["loihi1"]["fits"]
    assert "weight_bits" in printed


def test_a_comparator_without_a_source(energy, tmp_path):
    text = (DEVICE_FOLDER / "ndp9120.toml").read_text()
    for name, lost in (("none.toml", "source"), ("empty.toml", "")):
        kept = [line for line in text.splitlines() if not (lost and line.startswith(lost))]
        kept = ['source = ""' if not lost and line.startswith("source") else line for line in kept]
        (tmp_path / name).write_text("\n".join(kept))
        refused(energy("--chip", "loihi1", "--compare", tmp_path / name), name, "source")
    refused(energy("--chip", "loihi1", "--compare", tmp_path / "absent.toml"), "cannot read")
    refused(energy("--chip", "loihi1", "--compare", "stm32u57"), "stm32u57")
    refused(energy("--chip", "loihi1", "--compare", "phone-npu"), "no measured energy could be read")
    (tmp_path / "bench.json").write_text(json.dumps({"report": "bench", "reports": []}))
    refused(energy("--chip", "loihi1", "--compare", tmp_path / "bench.json"), "no measured energy")


@pytest.mark.parametrize(
    ("files", "more", "words"),
    [
        ({}, (), ("no readable sample",)),
        ({"a.txt": None, "b.docx": None}, (), ("no readable sample",)),
        ({"a.npy": (4, 6), "b.npy": (4, 7)}, (), ("different shapes",)),
        ({"a.npy": (4, 6), "b.npy": (2, 4, 6)}, ("--samples", 5), ("--samples is 5", "holds 3")),
        ({"a.npy": (4, 6)}, ("--samples", 0), ("--samples",)),
    ],
)
def test_a_folder_that_cannot_be_run(energy, tmp_path, files, more, words):
    folder = tmp_path / "set"
    folder.mkdir()
    for name, shape in files.items():
        if shape is None:
            (folder / name).write_text("nothing")
        else:
            np.save(folder / name, np.ones(shape, np.float32))
    refused(energy("--chip", "loihi1", "--input", folder, *more), *words)

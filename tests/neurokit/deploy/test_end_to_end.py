"""A folder of pictures, a trained CNN and a trained SNN: one `deploy` each, its page in a browser, a board over ssh."""

import json
import sys

import pytest

from neurokit.cli import main


def deployed(folder, kind, out, capsys, *more):
    model = {"cnn": f"{folder}/cnn.py:net", "snn": "spiking_cnn"}[kind]
    words = ["deploy", model, "--weights", f"{folder}/{kind}.pt", "--data", f"{folder}/digits", "--out", str(out)]
    words += ["--preprocess", f"{folder}/prep.toml", "--seconds", "0.1", "--json", *more]
    status = main(words)
    shown = capsys.readouterr()
    assert status == 0, shown.err
    return json.loads(shown.out)


@pytest.mark.slow  # trains and lowers to everything that this machine can make
@pytest.mark.parametrize("kind", ["cnn", "snn"])
def test_one_command_makes_a_decision(kind, trained, read, tmp_path, capsys):
    made = deployed(trained, kind, tmp_path / "out", capsys)
    verified = {row["form"] for row in made["rows"] if row["parity"] not in ("", "failed") and "p50" in row["figures"]}
    assert {"onnx", "openvino"} <= verified  # figures of so short a run do not count, and are there with their reason
    assert ("onnx-int8" if kind == "cnn" else "c") in {row["form"].split()[0] for row in made["rows"]}
    assert all(row["reason"] for row in made["rows"] if row["status"] in ("failed", "invalid"))
    assert any(row["simulated"] for row in made["rows"])
    read(made["page"], made["answer"])


@pytest.mark.slow  # sessions of an ssh server, each with a python of its own
@pytest.mark.parametrize("kind", ["cnn", "snn"])
def test_a_board_over_ssh_is_on_the_first_screen(kind, trained, read, tmp_path, capsys, sshd):
    options = [word for option in sshd for word in ("--ssh-option", option)]
    there = ["--device", "127.0.0.1", "--python", sys.executable, "--target", "onnx", "--chip", "none", *options]
    made = deployed(trained, kind, tmp_path / "out", capsys, *there)
    (there,) = (row for row in made["rows"] if row["device"] == "127.0.0.1")
    assert there["figures"]["p50"]["value"] > 0
    assert "127.0.0.1" in str(made["best"])
    assert "on 127.0.0.1" in made["answer"][0]
    read(made["page"], made["answer"])

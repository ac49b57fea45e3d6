"""Training that is interrupted, spread over processes, or in mixed precision: each as a command of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from safetensors.torch import load_file

import neurokit as nk
from neurokit.models.puppets import small_mobilenet

SETTINGS = {"recipe": "scratch", "schedule": "step", "batch": 32, "seed": 3}
SCRIPT = """
import json, sys, time
import neurokit as nk
from neurokit.models.puppets import small_mobilenet
if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    tell = lambda done, total, row: print("epoch", done, flush=True)
    nk.train(small_mobilenet(), "puppets:8", progress=tell, **given)
"""


def start(tmp_path, **given):
    """Runs a training as a process of its own."""
    script = tmp_path / "training.py"
    script.write_text(SCRIPT)
    command = [sys.executable, str(script), json.dumps({**SETTINGS, **given})]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=dict(os.environ)
    )


def weights(folder):
    return load_file(folder / "weights.safetensors")


@pytest.mark.slow
def test_ctrl_c_keeps_a_checkpoint_and_the_rest_is_the_same_bit_for_bit(tmp_path):
    nk.train(small_mobilenet(), "puppets:8", tmp_path / "whole", epochs=12, **SETTINGS)
    running = start(tmp_path, out=str(tmp_path / "cut"), epochs=12)
    while "epoch 2" not in (line := running.stdout.readline()):
        assert line, running.stderr.read()[-500:]
    running.send_signal(signal.SIGINT)
    _, said = running.communicate(timeout=60)
    assert said.rstrip().endswith("KeyboardInterrupt")
    assert (tmp_path / "cut" / "last.ckpt").is_file()
    assert not (tmp_path / "cut" / "weights.safetensors").exists()
    report = nk.train(small_mobilenet(), "puppets:8", tmp_path / "cut", epochs=12, resume=True, **SETTINGS)
    assert 0 < len(report.history) < 12
    whole, pieces = weights(tmp_path / "whole"), weights(tmp_path / "cut")
    assert all(torch.equal(value, pieces[name]) for name, value in whole.items())


@pytest.mark.slow
def test_the_command_ends_with_130_and_says_how_to_go_on(tmp_path):
    command = [sys.executable, "-m", "neurokit", "train", "puppets_mobilenet_v2_035", "--data", "puppets:4"]
    command += ["--recipe", "scratch", "--epochs", "50", "--out", "out"]
    with (tmp_path / "said").open("w") as said:
        running = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said, cwd=tmp_path)
        while "epoch 2 of 50" not in (tmp_path / "said").read_text():
            assert running.poll() is None, (tmp_path / "said").read_text()
            time.sleep(0.1)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=60) == 130
    text = (tmp_path / "said").read_text()
    assert "Traceback" not in text
    assert text.rstrip().endswith("--out out --resume")
    assert (tmp_path / "out" / "last.ckpt").is_file()


@pytest.mark.slow
def test_two_processes_train_one_network(tmp_path):
    """Gloo on a processor: one set of weights, of all images, that both agree on, and one record."""
    running = start(tmp_path, out=str(tmp_path / "two"), epochs=2, devices=2)
    said, wrong = running.communicate(timeout=200)
    assert running.returncode == 0, wrong[-800:]
    assert said.count("epoch 2") == 1
    record = json.loads((tmp_path / "two" / "record.json").read_text())
    assert record["devices"].startswith("2 x")
    assert sum(map(sum, record["confusion"])) == record["val_images"] == 30
    alone = nk.train(small_mobilenet(), "puppets:8", tmp_path / "one", epochs=2, **SETTINGS)
    two, one = weights(tmp_path / "two"), weights(tmp_path / "one")
    assert two.keys() == one.keys()
    assert not all(torch.equal(value, two[name]) for name, value in one.items())  # steps of twice as many images
    assert alone.epochs == record["epochs"] == 2


@pytest.mark.slow
def test_mixed_precision_is_used_and_weights_stay_float32(tmp_path, monkeypatch):
    seen = []
    from neurokit.training.network import Classifier

    plain = Classifier.forward
    monkeypatch.setattr(Classifier, "forward", lambda self, x: seen.append(y := plain(self, x)) or y)
    report = nk.train(small_mobilenet(), "puppets:4", tmp_path / "out", epochs=1, precision="bf16", **SETTINGS)
    assert seen[-1].dtype == torch.bfloat16
    assert report.precision == "bf16"
    assert {value.dtype for value in weights(tmp_path / "out").values()} <= {torch.float32, torch.int64}
    assert all(value.isfinite().all() for value in weights(tmp_path / "out").values())

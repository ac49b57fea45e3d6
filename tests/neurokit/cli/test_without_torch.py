"""The light core: what needs no PyTorch runs without it, and what does says so in three lines."""

import json
import subprocess
import sys

import neurokit as nk

WITHOUT = """
import contextlib, io, json, sys
for name in ("torch", "torchvision", "spikingjelly"):
    sys.modules[name] = None
from neurokit.cli import main
made = []
for arguments in json.loads(sys.argv[1]):
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(arguments)
    made.append((status, err.getvalue()))
print(json.dumps(made))
"""


def test_what_runs_without_torch_and_what_says_so(tmp_path):
    folder = str(nk.lower("spiking_cnn", "onnx", tmp_path / "a").path)
    runs = [
        ["models"],
        ["targets"],
        ["chips", "loihi1"],
        ["list", "tasks"],
        ["list", "transforms"],
        ["doctor"],
        ["verify", folder],
        ["bench", folder, "--seconds", "0.1"],
        ["bench", folder, "--pack", str(tmp_path / "pack")],
        ["report", folder, "--html", str(tmp_path / "page.html")],
    ]
    needs = [
        ["export", "spiking_cnn", "--target", "onnx", "--out", str(tmp_path / "b")],
        ["energy", "spiking_cnn", "--chip", "loihi1"],
        ["list", "kernels"],
    ]
    command = [sys.executable, "-W", "ignore", "-c", WITHOUT, json.dumps(runs + needs)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    made = json.loads(done.stdout)
    for arguments, (status, err) in zip(runs, made, strict=False):
        assert status == 0, (arguments, err)
    for arguments, (status, err) in zip(needs, made[len(runs) :], strict=True):
        assert status == 2, (arguments, err)
        assert "error: torch is not installed" in err
        assert err.splitlines()[-1].startswith("fix: python -m pip install torch")
    assert not (tmp_path / "b").exists()

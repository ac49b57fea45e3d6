"""Another distribution adds one of each: target, model, kernel, chip, task and transform, each in its one file."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
FOREIGN = Path(__file__).parent / "data" / "foreign_distribution"

SCRIPT = """
import io, json, sys
from contextlib import redirect_stdout
from pathlib import Path

import numpy as np
import torch

import neurokit as nk
from neurokit.bench.job import Rules
from neurokit.cli import main
from neurokit.kernels import checks
from neurokit.kernels.contract import KERNELS

torch.set_num_threads(1)
Rules.__init__.__defaults__ = (0.05, 20, 120.0, 10, 0.02, 0.5)  # measured for a moment
out = Path(sys.argv[1])
found = {}


def run(*command):
    text = io.StringIO()
    with redirect_stdout(text):
        status = main([*command])
    found[command[0]] = status
    assert status == 0, (command, text.getvalue())
    return text.getvalue()


for kind, name in (("models", "parity_net"), ("targets", "torch-program"), ("chips", "toychip"), ("tasks", "sign"),
                   ("transforms", "scaled_input"), ("kernels", "clipped")):
    listed = json.loads(run("list", kind, "--json"))
    assert name in [row["name"] for row in listed[kind]], (kind, listed)
    assert listed["broken"] == {}, listed["broken"]

x = np.random.default_rng(0).normal(size=(40, 6)).astype(np.float32)
net = nk.load("parity_net").build()
labels = (net(torch.from_numpy(x * 3)[None].repeat(4, 1, 1)).detach().numpy()[:, 0] > 0).astype(int)
np.savez(out / "data.npz", x=x, y=labels)
folder = str(out / "artifact")
transform = ("--transform", "scaled_input:factor=3")
export = json.loads(run("export", "parity_net", "--target", "torch-program", "--out", folder, *transform, "--data",
                        str(out / "data.npz"), "--json"))
assert export["parity"]["verdict"] != "failed", export["parity"]
assert (export["accuracy"]["task"], export["accuracy"]["headline"]) == ("sign", "right"), export["accuracy"]
assert export["accuracy"]["before"] == export["accuracy"]["after"] == 1.0, export["accuracy"]
run("verify", folder)
with nk.open(folder) as runner:
    y = runner(x[None].repeat(4, 0))
assert ((y[:, 0] > 0) == labels).all()
manifest = json.loads((out / "artifact" / "manifest.json").read_text())
assert manifest["task"]["name"] == "sign", manifest["task"]
assert manifest["transforms"][0]["settings"] == {"factor": 3.0}
run("bench", folder, "--out", str(out / "bench.json"), "--seconds", "0.05")
row = json.loads((out / "bench.json").read_text())["reports"][0]
assert row["target"] == "torch-program", row
run("energy", "parity_net", "--chip", "toychip", "--out", str(out / "energy.json"))
chips = json.loads((out / "energy.json").read_text())["chips"]
assert chips[0]["chip"] == "toychip", chips
run("report", folder, str(out / "bench.json"), str(out / "energy.json"), "--html", str(out / "page.html"))
page = (out / "page.html").read_text()
assert "torch-program" in page and "toychip" in page.lower() or "toy chip" in page.lower()

kernel, device = KERNELS.get("clipped"), torch.device("cpu")
assert checks.parity(kernel, device, torch.float16) == (3, [])
assert checks.gradients(kernel, device) == (1, [])
assert checks.coverage(kernel, device) == []
print(json.dumps(found))
"""


def test_another_distribution_adds_one_of_each(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(FOREIGN), str(ROOT)]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], env=environment, cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    statuses = json.loads(done.stdout.splitlines()[-1])
    assert set(statuses) == {"list", "export", "verify", "bench", "energy", "report"}
    assert set(statuses.values()) == {0}

"""The command line as a process: how fast it starts, what a signal leaves, and the demo."""

import json
import os
import resource
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from neurokit import cli

ROOT = Path(__file__).parents[3]


def process(*arguments, **options):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=env, **options)


def processor_time(*arguments):
    """Returns what a process printed, and the seconds of processor time it took: others may keep the machine busy."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = process(*arguments)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0
    return done.stdout, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def test_help_is_fast_and_loads_nothing_heavy():
    text, taken = processor_time("-m", "neurokit", "--help")
    assert "export" in text
    # The library that prints any command's help takes more than half of it, on a slow machine as on a fast one.
    assert taken < 2.6 * processor_time("-c", "import typer.rich_utils")[1]
    heavy = "torch", "onnx", "onnxruntime", "tensorrt", "triton", "numba", "numpy", "spikingjelly"
    code = (
        "import sys; from neurokit.cli import main; main(['trust', '--help']); "
        "print('neurokit.cli.export' in sys.modules); "
        f"main(['--help']); print([m for m in {heavy} if m in sys.modules])"
    )
    said = process("-c", code).stdout.splitlines()
    assert "False" in said  # the other commands' files are not read for one of them
    assert said[-1] == "[]"


def test_every_command_has_json_debug_and_help(capsys):
    for name, _ in cli.COMMANDS:
        assert cli.main([name, "--help"]) == 0
        said = capsys.readouterr().out
        assert "--json" in said, name
        assert "--debug" in said, name


def test_version():
    from neurokit import __version__

    assert process("-m", "neurokit", "--version").stdout == f"neurokit {__version__}\n"


SLEEPER = """
import signal, sys, time, types, neurokit
signal.signal(signal.SIGINT, signal.default_int_handler)  # a runner in the background hands down SIG_IGN
from neurokit.artifact import write_artifact
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import TARGETS, TargetInfo

def lower(captured, target, out, force, **options):
    with write_artifact(out) as draft:
        (draft.path / "model.onnx").write_bytes(b"half")
        print("now", flush=True)
        time.sleep(60)

spec = ModelSpec("m", lambda: None, (TensorSpec("x", (3,)),))
pipeline = types.SimpleNamespace(
    capture=lambda spec, **options: None, lower=lower, with_random=lambda transforms, random: list(transforms)
)
sys.modules["neurokit.pipeline"] = pipeline
sys.modules["neurokit.loading"] = types.SimpleNamespace(load=lambda model, **options: spec)
TARGETS._items["fake"] = types.SimpleNamespace(info=TargetInfo("fake", "for tests"))
from neurokit.cli import main
sys.argv = ["neurokit", "export", "m", "--target", "fake", "--out", "out/m"]
sys.exit(main())
"""


@pytest.mark.parametrize(("sent", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_export_leaves_nothing(tmp_path, sent, status):
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", textwrap.dedent(SLEEPER)]
    with subprocess.Popen(
        command, cwd=tmp_path, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline() == "now\n"
        running.send_signal(sent)
        _, said = running.communicate(timeout=30)
    assert running.returncode == status
    assert "Traceback" not in said
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_the_demo_keeps_its_promises(tmp_path):
    """The whole road, as `make demo` takes it."""
    done = process("-m", "neurokit", "demo", "--json", "--out", "demo", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    accuracy = found["accuracy"]
    assert accuracy["torch"] >= 0.97
    assert all(abs(accuracy[row["target"]] - accuracy["torch"]) <= 0.002 for row in found["forms"])
    assert {row["target"] for row in found["forms"]} == {"onnx", "onnx-scan", "onnx-step"}
    puppets = {row["target"]: row for row in found["puppets"]["forms"]}
    assert set(puppets) == {"onnx", "onnx-int8", "onnx-step"}
    assert all(row["passed"] for row in puppets.values())
    assert puppets["onnx"]["accuracy"] >= 0.75
    assert puppets["onnx-int8"]["accuracy"] >= puppets["onnx"]["accuracy"] - 0.02
    assert puppets["onnx-step"]["accuracy"] >= 0.95
    stream = found["puppets"]["stream"]
    assert len(stream["spikes"]) == len(stream["answer_after_each_step"]) == 4
    assert all(0 < count < stream["neurons"] for count in stream["spikes"])
    digits = [f"demo/{row['target']}" for row in found["forms"]]  # of one model, so they are compared with each other
    for folders in (digits, *([f"demo/puppets/{name}"] for name in puppets)):
        assert process("-m", "neurokit", "verify", *folders, cwd=tmp_path).returncode == 0

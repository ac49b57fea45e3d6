"""A sound artifact, and a command that must end in one clear line."""

import signal
import time
from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit import cli

LIMIT_S = 5
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
        lines = [line for line in said.err.splitlines() if not line.startswith(("done ", "epoch ", "  - "))]
        assert status == 2, (status, said.err[-600:])
        assert [line.split(":")[0] for line in lines] == ["error", "expected", "fix"], said.err
        assert "Traceback" not in said.err + said.out
        assert spent < LIMIT_S
        assert [path for path in sorted(Path().rglob("*")) if "__pycache__" not in path.parts] == before
        return said.err

    return run

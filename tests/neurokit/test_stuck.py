"""A command whose runtime does not come back is ended; calls in a row, other calls and other processes are not."""

import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import pytest

from neurokit import stuck

LONG = """
import time
from types import SimpleNamespace
from neurokit import stuck
stuck.FIRST_S, stuck._LOOK_S = 0.2, 0.05
stuck.watch()
artifact = SimpleNamespace(manifest=SimpleNamespace(inputs=(), files={}))
with stuck.allowing(artifact):
    exec(compile("time.sleep(30)", "site-packages/onnxruntime/capi/call.py", "exec"))
"""


def called(seconds, library="onnxruntime"):
    """Calls what a library would not come back from, as its Python file does."""
    exec(compile(f"time.sleep({seconds})", f"/x/{library}/capi/call.py", "exec"), {"time": time})


@pytest.fixture
def ended():
    said = []
    watch = stuck.Watch(said.append, look_s=0.02)
    watch.limit_s = 0.3
    yield said
    watch.close()


def test_a_call_that_does_not_end_is_told(ended):
    called(0.8)
    assert "one call of onnxruntime has not ended" in ended[0].what


def test_calls_that_end_are_not(ended):
    begun = time.monotonic()
    while time.monotonic() - begun < 0.5:
        called(0.05)
    called(0.5, "torch")
    time.sleep(0.5)
    waiting = threading.Thread(target=called, args=(0.5,))
    waiting.start()
    waiting.join()
    assert ended == []


def test_the_command_ends_in_a_line():
    begun = time.monotonic()
    made = subprocess.run([sys.executable, "-c", LONG], capture_output=True, text=True, timeout=25)
    assert made.returncode == 2
    assert [line.partition(":")[0] for line in made.stderr.splitlines()] == ["error", "expected", "fix"]
    assert time.monotonic() - begun < 25


def test_the_limit_grows_with_model_and_inputs_and_is_that_of_a_block(monkeypatch):
    watch = SimpleNamespace(limit_s=float("inf"))
    monkeypatch.setattr(stuck, "_watch", watch)
    port, file = SimpleNamespace(shape=(4, "B", 250_000)), SimpleNamespace(bytes=10_000_000)
    artifact = SimpleNamespace(manifest=SimpleNamespace(inputs=(port,), files={"model.onnx": file}))
    with stuck.allowing(artifact, 2):
        assert watch.limit_s == pytest.approx(60 + 20 + 200)
    assert watch.limit_s == float("inf")


def test_a_process_that_is_not_a_command_is_left_alone():
    assert stuck._watch is None
    with stuck.allowing(None):
        called(0.01)

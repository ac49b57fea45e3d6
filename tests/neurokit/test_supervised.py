"""A child that native code ends is told in a line; statuses and signals go through; nobody outlives its parent."""

import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="commands run files in a child on Linux")
WAITS = "ended = supervised.child_status()"


def begun(work):
    """Starts a process whose child does some work, and which prints what it says of the child."""
    code = (
        "import os, signal, sys, time\nfrom neurokit import supervised\n"
        f"{WAITS}\nif ended is None:\n    {work}\n"
        "print(ended if isinstance(ended, int) else ended.what, flush=True)\n"
    )
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


@pytest.mark.parametrize(
    ("work", "said"),
    [
        ("sys.exit(3)", "3"),
        ("os._exit(0)", "0"),
        ("os.abort()", "the process was ended by SIGABRT in native code of a runtime"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", "the process was ended by SIGSEGV in native code of a runtime"),
        ("os.kill(os.getpid(), signal.SIGKILL)", "137"),
    ],
)
def test_how_a_child_ended_is_told(work, said):
    out, _ = begun(work).communicate(timeout=60)
    assert out.strip() == said


def test_a_signal_reaches_the_child():
    done = "signal.signal(15, lambda *_: os._exit(143)); print('ready', flush=True); time.sleep(60)"
    process = begun(done)
    assert process.stdout.readline() == "ready\n"
    process.send_signal(signal.SIGTERM)
    out, _ = process.communicate(timeout=30)
    assert out.strip() == "143"


def test_a_child_does_not_outlive_what_waits_for_it():
    process = begun("print(os.getpid(), flush=True); time.sleep(60)")
    child = int(process.stdout.readline())
    process.kill()
    process.wait(timeout=30)
    for _ in range(300):
        if _is_gone(child):
            break
        time.sleep(0.02)
    assert _is_gone(child)


def _is_gone(process):
    """Whether it has ended: its entry is gone, or waits for somebody who asks for its status."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except FileNotFoundError:
        return True

"""Runs the kernel tests under the Triton interpreter, in a process that sets it before Triton is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from neurokit.kernels._compat import INTERPRET

ON_GPU = torch.cuda.is_available() and not INTERPRET

HERE = Path(__file__).parent
PART = "NEUROKIT_TESTS_PART"  # which tests of the folder that process runs: "1/2" is every second one


@pytest.mark.skipif(INTERPRET, reason="this is that process")
@pytest.mark.skipif(ON_GPU, reason="the kernels run on the GPU itself here")
@pytest.mark.parametrize(
    ("chosen", "part"),
    [("not slow", "0/2"), ("not slow", "1/2"), pytest.param("slow", "0/1", marks=pytest.mark.slow)],
)
def test_kernels_under_the_interpreter(chosen, part):
    """In parts, which two workers run at once."""
    pytest.importorskip("triton")
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1", PART: part}
    environment.pop("NEUROKIT_KERNELS", None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", chosen, str(HERE)],
        cwd=HERE.parents[1],
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout

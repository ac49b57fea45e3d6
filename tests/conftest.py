"""What all tests share: few threads, fixed seeds, and a skip with its reason where a GPU is needed."""

from __future__ import annotations

import random
import shutil

import numpy as np
import pytest
import torch

# The tests' tensors are small: more threads cost more than they bring, and other jobs want the cores.
torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def seeds():
    """The same random numbers in every test, alone or after others."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - libraries under test draw from the global generator
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def denormals():
    """Every test begins with denormal numbers on.

    The first ONNX Runtime session that sets denormals to zero does so for the thread that makes it, for good; what
    runs later in this process would compute, and be compared, with other arithmetic.
    """
    torch.set_flush_denormal(False)


@pytest.fixture(scope="session")
def chromium() -> str:
    """The command of a real browser."""
    found = [path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))]
    if not found:
        pytest.skip("no chromium on this machine: the pages were not seen in a browser (apt-get install chromium)")
    return found[0]


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA GPU, and this machine has none that torch can use")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)

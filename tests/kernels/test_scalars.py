"""A compiled program hands numbers to kernels as float64: every kernel makes float32 of them before it computes."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import pytest
import torch

from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.contract import KERNELS

pytestmark = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
DOUBLE = re.compile(r"^.*\bf64\b.*$", re.MULTILINE)
# A function's head and a call hand a number on; what becomes of it stands in the function, which is looked at, too.
HARMLESS = ("tt.func", "tt.call", "arith.truncf")


@pytest.fixture(scope="module")
def offline():
    pytest.importorskip("triton")
    spec = importlib.util.spec_from_file_location("offline", Path(__file__).with_name("offline.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def in_double(text):
    """Returns how many operations of a kernel compute in float64."""
    return sum(not any(word in line for word in HARMLESS) for line in DOUBLE.findall(text))


@pytest.mark.parametrize("name", KERNELS.names())
def test_what_computes_in_float32_does_so_with_float64_given(name, offline):
    """A kernel may compute in float64 by itself, as `search_blocks` does; no number that it is given may lead there."""
    kernel = KERNELS.get(name)
    with offline.capture(90, offline.Launch) as launches:
        for example in kernel.examples(torch.device("cpu"), torch.float16):
            kernel.function(*example.args, **example.kwargs)
    assert launches
    kinds = {(one.name, one.switches): one for one in reversed(launches)}
    found = {key: in_double(one.traced("fp64")) for key, one in kinds.items()}
    assert found == {key: in_double(kinds[key].traced("fp32")) if count else 0 for key, count in found.items()}

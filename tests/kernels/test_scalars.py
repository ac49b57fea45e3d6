"""A compiled program hands numbers to kernels as float64: every kernel makes float32 of them before it computes."""

from __future__ import annotations

import re

import pytest

from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.contract import KERNELS

pytestmark = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
DOUBLE = re.compile(r"^.*\bf64\b.*$", re.MULTILINE)
# A function's head and a call hand a number on; what becomes of it stands in the function, which is looked at, too.
HARMLESS = ("tt.func", "tt.call", "arith.truncf")


def in_double(text):
    """Returns how many operations of a kernel compute in float64."""
    return sum(not any(word in line for word in HARMLESS) for line in DOUBLE.findall(text))


@pytest.mark.parametrize("name", KERNELS.names())
def test_what_computes_in_float32_does_so_with_float64_given(name, offline):
    """A kernel may compute in float64 by itself, as `search_blocks` does; no number that it is given may lead there."""
    launches = offline.launches_of(KERNELS.get(name))
    assert launches
    found = [(one.name, one.switches, in_double(one.traced("fp64"))) for one in launches]
    own = [in_double(one.traced("fp32")) if count else 0 for one, (*_, count) in zip(launches, found, strict=True)]
    assert [count for *_, count in found] == own, found

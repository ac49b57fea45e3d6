"""What tests/kernels/interpreter.py keeps or leaves out changes no number: NumPy says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from neurokit.kernels._compat import INTERPRET

pytestmark = [
    pytest.mark.needs_kernel,
    pytest.mark.skipif(not INTERPRET, reason="the interpreter is not on; test_interpreter runs this"),
]

if INTERPRET:
    import triton
    import triton.language as tl

    @triton.jit
    def of_rows(x, xored, ordered, rows: tl.constexpr, columns: tl.constexpr):
        at = tl.arange(0, rows)[:, None] * columns + tl.arange(0, columns)[None, :]
        block = tl.load(x + at)
        tl.store(xored + tl.arange(0, columns), tl.xor_sum(block, 0))
        tl.store(ordered + at, tl.sort(block, 1))

    @triton.jit
    def overflowing(x, y, n: tl.constexpr):
        at = tl.arange(0, n)
        block = tl.load(x + at)
        tl.store(y + at, block * 3 + block)


@pytest.mark.parametrize("dtype", [torch.int8, torch.int32, torch.int64])
def test_sorting_and_exclusive_or_are_numpys(dtype):
    x = torch.randint(-100, 100, (4, 16), dtype=dtype)
    xored, ordered = torch.empty(16, dtype=dtype), torch.empty_like(x)
    of_rows[(1,)](x, xored, ordered, 4, 16)
    np.testing.assert_array_equal(xored.numpy(), np.bitwise_xor.reduce(x.numpy(), axis=0))
    np.testing.assert_array_equal(ordered.numpy(), np.sort(x.numpy(), axis=1))


def test_whole_numbers_wrap_as_on_a_gpu():
    """Twice, as what a launch remaps is put back behind it."""
    x = torch.tensor([1, -7, 2**30, 2**31 - 1], dtype=torch.int32)
    for _ in range(2):
        y = torch.empty_like(x)
        overflowing[(1,)](x, y, 4)
        assert y.tolist() == (x.long() * 4).to(torch.int32).tolist()
        assert tl.core.is_builtin(tl.load)


def test_numpys_types_are_those_of_the_interpreter():
    from triton.runtime import interpreter

    names = (*tl.dtype.SINT_TYPES, *tl.dtype.UINT_TYPES, "float16", "float32", "float64")
    named = [getattr(tl, name) for name in names]
    for scalar in (*named, tl.int1, tl.bfloat16, tl.float8e5):
        held = np.zeros(4, interpreter._get_np_dtype(tl.block_type(scalar, [4])))
        assert held.itemsize * 8 == max(scalar.primitive_bitwidth, 8)
        assert interpreter._get_np_dtype(scalar) == held.dtype
        assert interpreter._get_np_dtype(tl.pointer_type(scalar)) == np.uint64
    assert interpreter._get_np_dtype(tl.int16) == np.int16
    assert interpreter._get_np_dtype(tl.float32) == np.float32

"""What Triton's interpreter (3.6) looks up or computes anew at every operation is kept: the same numbers, sooner.

Of the processor time of the interpreted tests about half went there, measured by sampling: into members of
`triton.language` listed at every call of a device function (22 %), into a check of overflows whose result is thrown
away (19 %), into an exclusive or over an axis, element by element with calls of a device function (13 %), and into a
table of types (10 %).
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np


def hasten() -> None:
    """Does so for this process, which has to run with TRITON_INTERPRET=1."""
    from triton.runtime import interpreter

    check_no_overflows_in_vain(interpreter)
    patch_once_a_launch(interpreter)
    keep_types(interpreter)
    reduce_by_xor_at_once(interpreter)


def check_no_overflows_in_vain(interpreter: Any) -> None:
    """Leaves out the second computation of every sum and product in 64 bits; without `debug` nothing reads it."""
    builder = interpreter.interpreter_builder
    assert not builder.options.debug, "now there is somebody who reads it"
    builder.options = dataclasses.replace(builder.options, sanitize_overflow=False)


def patch_once_a_launch(interpreter: Any) -> None:
    """Remaps `triton.language` where a launch first needs it, not again at each call of a device function in it."""
    remap = interpreter._patch_lang
    language = (interpreter.tl, interpreter.tl.core)
    remapped: set[int] = set()

    @functools.cache
    def visible_to(function: Any) -> frozenset[int]:
        return frozenset(id(value) for value in function.__globals__.values() if any(value is one for one in language))

    def once(function: Any) -> Any:
        visible = visible_to(function)
        if visible and visible <= remapped:
            return interpreter._LangPatchScope()
        scope = remap(function)
        restore = scope.restore
        remapped.update(visible)

        def forget() -> None:
            remapped.clear()
            restore()

        scope.restore = forget
        return scope

    interpreter._patch_lang = once


def keep_types(interpreter: Any) -> None:
    """Keeps what NumPy's type of each of Triton's scalar types is; a block has that of its elements."""
    of_scalar = functools.cache(interpreter._get_np_dtype)
    tl = interpreter.tl

    def kept(dtype: Any) -> Any:
        scalar = dtype.element_ty if isinstance(dtype, tl.block_type) else dtype
        return np.dtype(np.uint64) if isinstance(scalar, tl.pointer_type) else of_scalar(scalar)

    interpreter._get_np_dtype = kept


def reduce_by_xor_at_once(interpreter: Any) -> None:
    """Lets NumPy reduce by exclusive or, of which sorting in Triton is made; an order of these does not matter."""
    standard = interpreter.tl.standard
    otherwise = interpreter.ReduceOps.apply_impl

    def apply(self: Any, input: Any) -> Any:
        if self.combine_fn is not standard._xor_combine:
            return otherwise(self, input)
        (given,) = input
        found = np.bitwise_xor.reduce(given.handle.data, axis=self.axis, keepdims=self.keep_dims)
        return self.to_tensor(found, given.dtype)

    interpreter.ReduceOps.apply_impl = apply

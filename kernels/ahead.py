"""Compiles a Triton kernel ahead of time to PTX that other runtimes can launch; no GPU is needed."""

from __future__ import annotations

import hashlib
import importlib
import re
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from neurokit.errors import MissingRuntimeError
from neurokit.kernels._compat import INTERPRET

# The driver compiles this PTX for every later GPU. Triton's own choice would ask for the newest driver, and for compute
# capability 9.0 for code that runs on no other.
CAPABILITY = 80
_PTX_VERSION = 80  # of CUDA 12.0
_SCRATCH = 2  # pointers that Triton appends to a kernel's parameters


def ptx_of(
    kernel: str, types: Mapping[str, str], constants: Mapping[str, Any], aligned: Collection[str], num_warps: int
) -> tuple[str, str]:
    """Compiles a kernel.

    Products and sums are rounded on their own: every instruction carries `.rn`, which forbids later assemblers, too,
    to contract them.

    Args:
        kernel: Module and name of the kernel, "neurokit.kernels.lif.triton:lif_sequence_kernel".
        types: Triton's type of every parameter that stays one ("*fp32", "i32"), by name.
        constants: The value of every parameter that becomes a constant.
        aligned: Parameters whose value is known to be a multiple of 16.
        num_warps: Warps a block.

    Returns:
        The name of the entry point, which is different for different code, and the PTX.

    Raises:
        MissingRuntimeError: If Triton is not installed or runs as an interpreter.
    """
    if INTERPRET:
        raise MissingRuntimeError("Triton runs as an interpreter, which compiles nothing", fix="unset TRITON_INTERPRET")
    try:
        from triton import compile, knobs
        from triton.backends.compiler import GPUTarget
        from triton.compiler import ASTSource
    except ImportError as error:
        raise MissingRuntimeError("Triton is not installed", fix="python -m pip install triton") from error

    module, _, function = kernel.partition(":")
    jitted = getattr(importlib.import_module(module), function)
    signature = {name: types.get(name, "constexpr") for name in jitted.arg_names}
    hints = {(i,): [["tt.divisibility", 16]] for i, name in enumerate(jitted.arg_names) if name in aligned}
    options = {"num_warps": num_warps, "enable_fp_fusion": False, "ptx_version": _PTX_VERSION}
    with knobs.compilation.scope():
        knobs.compilation.disable_line_info = True  # it holds paths of this machine
        with launched_in_order(jitted):
            source = ASTSource(jitted, signature, dict(constants), hints)
            compiled = compile(source, target=GPUTarget("cuda", CAPABILITY, 32), options=options)
    name, held = compiled.metadata.name, compiled.metadata
    if held.shared or held.global_scratch_size or held.profile_scratch_size:
        raise AssertionError(f"{name} needs memory that only Triton's own launcher hands out")
    return _rename(_without_scratch(compiled.asm["ptx"], name, len(types)), name)


@contextmanager
def launched_in_order(kernel: Any) -> Iterator[None]:
    """Context in which a kernel is compiled for launches that do not overlap, whichever GPU this machine has.

    Waiting for the launch before is an instruction of compute capability 9.0, and the assembler refuses it for others.

    Args:
        kernel: The kernel, a `triton.JITFunction`.
    """
    import triton.language as tl

    from neurokit.kernels.common import triton as shared

    _ = kernel.cache_key  # made once: Triton compares the constants that it was made with at every later launch
    here = shared.PROCESSORS
    shared.PROCESSORS = tl.constexpr(0)
    try:
        yield
    finally:
        shared.PROCESSORS = here


def _without_scratch(ptx: str, name: str, count: int) -> str:
    """Cuts Triton's own two pointers from the parameters: nobody else passes them, and the kernel reads neither."""
    head = re.search(rf"(\.entry {name}\()(.*?)(\n\))", ptx, re.DOTALL)
    assert head is not None
    parameters = [line.strip().rstrip(",") for line in head.group(2).strip().splitlines()]
    cut = [f"{name}_param_{index}" for index in range(count, count + _SCRATCH)]
    if len(parameters) != count + _SCRATCH or any(re.search(rf"\[{p}\]", ptx) for p in cut):
        raise AssertionError(f"{name} has parameters that this version of Triton was not known to add")
    kept = ",".join(f"\n\t{line}" for line in parameters[:count])
    return ptx[: head.start(2)] + kept + ptx[head.end(2) :]


def _rename(ptx: str, name: str) -> tuple[str, str]:
    """Gives different code different names: a runtime may load several into one module."""
    unique = f"{name}_{hashlib.sha256(ptx.encode()).hexdigest()[:12]}"
    return unique, re.sub(rf"\b{name}(?=\b|_param_)", unique, ptx)

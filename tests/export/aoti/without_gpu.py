"""What AOTInductor would compile for a GPU that is not there: the Python that tries the kernels, and the C++ around.

PyTorch asks the GPU for little until it runs kernels. Its answers are given here, tensors are fake ones, and the parts
that need compiled kernels are left out.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch._guards import detect_fake_mode

from neurokit.export.aoti import build, settings
from neurokit.export.aoti import compile as compiling
from neurokit.export.aoti.mutations import found_once
from neurokit.target import LowerOptions

_OPS = ("depthwise", "gate_lif", "lif", "pool_lif", "sdsa_lif", "spike_conv_lif", "spike_linear_lif")


@dataclass
class Generated:
    """Two programs.

    Attributes:
        tried: Python, which runs every kernel once while a package is compiled.
        source: C++, which runs the network.
    """

    tried: str = ""
    source: str = ""


class _Driver:
    def get_current_target(self) -> Any:
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


def _properties() -> Any:
    found = mock.Mock(
        multi_processor_count=132,
        major=9,
        minor=0,
        warp_size=32,
        max_threads_per_multi_processor=2048,
        regs_per_multiprocessor=65536,
        total_memory=2**37,
        shared_memory_per_block_optin=232448,
        L2_cache_size=2**25,
        gcnArchName="",
    )
    found.name = "a GPU that is not there"
    return found


def _moved(program: Any) -> Any:
    """Returns a program with fake tensors on the GPU in the place of its own."""
    mode: Any = detect_fake_mode([node.meta.get("val") for node in program.graph.nodes])
    mode.allow_non_fake_inputs = True
    fake = lambda value: mode.from_tensor(value) if isinstance(value, torch.Tensor) else value  # noqa: E731
    for held in (program._state_dict, program._constants):
        held.update({name: fake(value) for name, value in held.items()})
    program._example_inputs = torch.utils._pytree.tree_map(fake, program._example_inputs)
    with mode:
        return _usually_moved(program)


_usually_moved = compiling._moved


@contextmanager
def _pretended() -> Iterator[None]:
    from torch._inductor.fx_passes import joint_graph, post_grad
    from torch._subclasses import fake_tensor
    from triton.runtime import driver

    answers = {
        "get_device_capability": (9, 0),
        "get_device_name": "a GPU that is not there",
        "get_device_properties": _properties(),
        "current_device": 0,
        "device_count": 1,
        "is_available": True,
        "is_initialized": False,
        "get_rng_state": torch.zeros(16, dtype=torch.uint8),
        "set_rng_state": None,
        "synchronize": None,
        "_lazy_init": None,
        "_exchange_device": 0,
        "_maybe_exchange_device": 0,
    }
    zeros = lambda x: np.zeros(tuple(x.shape), float if x.dtype.is_floating_point else int).tolist()  # noqa: E731
    with ExitStack() as stack:
        stack.enter_context(_asked_anew())
        put = lambda *given, **more: stack.enter_context(mock.patch.object(*given, **more))  # noqa: E731
        for name, answer in answers.items():
            put(torch.cuda, name, return_value=answer)
        put(torch.cuda, "_get_device_properties", return_value=_properties(), create=True)
        put(type(driver), "active", _Driver())
        for name in _OPS:
            put(import_module(f"neurokit.kernels.{name}.op"), "use_triton", return_value=True)
        put(import_module("neurokit.kernels.spike_conv_lif.boxes"), "capability", return_value=(9, 0))
        put(fake_tensor, "init_gpu_context", return_value=None)
        put(fake_tensor.FakeTensor, "tolist", zeros)
        put(import_module("torch._inductor.graph"), "is_same_tensor", lambda a, b: a is b)
        for passes in (joint_graph, post_grad):
            put(passes, "lazy_init", return_value=None)
        put(compiling, "_moved", _moved)
        yield


@contextmanager
def _asked_anew() -> Iterator[None]:
    """Has PyTorch ask for Triton again, here and afterwards: it remembers what it found without a GPU, or with one."""
    from torch.utils import _triton

    memories = [known.cache_clear for known in vars(_triton).values() if hasattr(known, "cache_clear")]
    for forget in memories:
        forget()
    try:
        yield
    finally:
        for forget in memories:
            forget()


@contextmanager
def _kept(found: Generated) -> Iterator[None]:
    """Keeps both programs in place of running one and compiling the other."""
    from torch._inductor import codecache
    from torch._inductor.codegen import cpp_wrapper_gpu, wrapper

    def tried(self: Any) -> None:
        found.tried = self.kernel_autotune_defs.getvalue() + "\n" + self.kernel_autotune_calls.getvalue()

    def launched(self: Any, wrapper: Any) -> None:
        wrapper.prefix.writeline(
            f"template <typename... Given> static inline void {self.wrapper_name}(Given&&...) {{}}"
        )

    def written(graph: Any, *given: Any, **more: Any) -> None:
        found.source = next(text for text in given if isinstance(text, str) and "AOTInductorModel" in text)
        raise StopIteration

    with (
        mock.patch.object(wrapper.PythonWrapperCodegen, "generate_and_run_autotune_block", tried),
        mock.patch.object(cpp_wrapper_gpu.DeferredTritonCallWrapper, "generate", launched),
        mock.patch.object(codecache.AotCodeCompiler, "compile", written),
    ):
        yield


def generated(captured: Any, numerics: str, **extra: Any) -> Generated:
    """Returns what a package of a captured model is compiled of, for a GPU of compute capability 9.0."""
    from torch._inductor import aot_compile

    chosen = settings.Settings.of(LowerOptions(numerics, extra={"device": "cuda", **extra}))
    part, found = captured.graphs[0], Generated()
    body, _ = build.rewritten(part, chosen, numerics == "exact")
    with _pretended(), _kept(found), found_once(), torch.no_grad():
        program = build.traced(build.read_whole(body), part, "cuda")
        args, kwargs = program.example_inputs
        try:
            with compiling.mended(on_gpu=True):
                aot_compile(
                    program.module(check_guards=False),
                    args,
                    kwargs,
                    options={**compiling._CONFIG, **compiling._ON_GPU},
                )
        except Exception as error:
            if not found.source:
                raise AssertionError(f"no program: {error}") from error
    return found

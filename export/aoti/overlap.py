"""Launches that overlap: a kernel is set up while the one before it still runs, and waits for it on the GPU.

Programmatic dependent launch (CUDA C++ programming guide, from compute capability 9.0 on). A kernel that begins with
`griddepcontrol.wait` may be launched so; PyTorch 2.11 launches what it compiles into packages without.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch

from neurokit.export.aoti.replaced import replaced

_WAIT = "griddepcontrol.wait"
_BEGIN = (
    "tl.extra.cuda.gdc_wait()",
    "if tl.num_programs(0) * tl.num_programs(1) <= {}: tl.extra.cuda.gdc_launch_dependents()",
)
_LAUNCH = """
            static inline void launchOverlapping(
                    CUfunction func,
                    uint32_t gridX,
                    uint32_t gridY,
                    uint32_t gridZ,
                    uint32_t numWarps,
                    uint32_t sharedMemBytes,
                    void* args[],
                    cudaStream_t stream) {
                CUlaunchAttribute overlaps{};
                overlaps.id = CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION;
                overlaps.value.programmaticStreamSerializationAllowed = 1;
                CUlaunchConfig config{};
                config.gridDimX = gridX;
                config.gridDimY = gridY;
                config.gridDimZ = gridZ;
                config.blockDimX = 32 * numWarps;
                config.blockDimY = 1;
                config.blockDimZ = 1;
                config.sharedMemBytes = sharedMemBytes;
                config.hStream = stream;
                config.attrs = &overlaps;
                config.numAttrs = 1;
                CUDA_DRIVER_CHECK(cuLaunchKernelEx(&config, func, args, nullptr));
            }
"""


@contextmanager
def overlapping_launches() -> Iterator[None]:
    """Has a package launch what waits for the kernel before it while that one runs; Inductor's own kernels wait, too.

    A kernel of half as many programs as there are multiprocessors, or fewer, lets the next one begin; behind others it
    begins when they have ended, without the pause between launches.

    Whether a kernel waits is read from its compiled code, so that no other one is launched so. Every one that does
    waits before it touches memory: when it ends, all before it have ended.
    """
    from torch._inductor import codecache
    from torch._inductor.codegen import cpp_wrapper_gpu, triton
    from torch._inductor.codegen.cuda.device_op_overrides import CUDADeviceOpOverrides

    cache, wrapper = codecache.CudaKernelParamCache, cpp_wrapper_gpu.DeferredTritonCallWrapper
    keep, launch = cache.set, wrapper.generate_launch_kernel
    driver, body = CUDADeviceOpOverrides.kernel_driver, triton.TritonKernel.codegen_body

    def kept(key: str, params: dict[str, Any], cubin: str, bin_type: str, asm: str | None = None, *rest: Any) -> None:
        params["overlaps"] = bool(asm) and _WAIT in asm  # type: ignore[operator]
        keep(key, params, cubin, bin_type, asm, *rest)

    def launched(self: Any, prefix: Any, wrapper: Any, kernel: str, params: dict[str, Any]) -> None:
        begun = len(prefix._lines)
        launch(self, prefix, wrapper, kernel, params)
        if params.get("overlaps"):
            prefix._lines[begun:] = [
                line.replace("launchKernel(", "launchOverlapping(", 1) if isinstance(line, str) else line
                for line in prefix._lines[begun:]
            ]

    def waits(self: Any) -> None:
        body(self)
        if type(self) is triton.TritonKernel and torch.cuda.get_device_capability() >= (9, 0):
            # As in the kernels of neurokit (`common/triton.py`, `await_before`).
            processors = torch.cuda.get_device_properties(torch.cuda.current_device()).multi_processor_count
            self.body._lines[0:0] = [line.format(processors // 2) for line in _BEGIN]

    with ExitStack() as stack:
        for owner, name, new in (
            (cache, "set", staticmethod(kept)),
            (wrapper, "generate_launch_kernel", launched),
            (CUDADeviceOpOverrides, "kernel_driver", lambda self: driver(self) + _LAUNCH),
            (triton.TritonKernel, "codegen_body", waits),
        ):
            stack.enter_context(replaced(owner, name, new))
        yield

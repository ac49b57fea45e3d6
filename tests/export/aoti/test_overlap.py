"""Launches that overlap: of kernels that wait for those before them, and of no others."""

from importlib import import_module
from types import SimpleNamespace

import pytest
import torch

from neurokit.export.aoti.overlap import overlapping_launches

WAITS = "griddepcontrol.wait;"


@pytest.fixture
def inductor(monkeypatch):
    """PyTorch's parts that write launches, with simple ones in the place of those that need a GPU."""
    pytest.importorskip("triton")
    parts = SimpleNamespace(
        cache=import_module("torch._inductor.codecache").CudaKernelParamCache,
        wrapper=import_module("torch._inductor.codegen.cpp_wrapper_gpu").DeferredTritonCallWrapper,
        device=import_module("torch._inductor.codegen.cuda.device_op_overrides").CUDADeviceOpOverrides,
        triton=import_module("torch._inductor.codegen.triton").TritonKernel,
    )

    def body(self):
        self.body._lines.append("tmp0 = tl.load(in_ptr0)")

    def launch(self, prefix, wrapper, kernel, params):
        prefix._lines += ["void* kernel_args_[] = {};", "launchKernel(kernels_.f, grid_0);"]

    monkeypatch.setattr(parts.cache, "set", lambda key, params, *rest: None)
    monkeypatch.setattr(parts.wrapper, "generate_launch_kernel", launch)
    monkeypatch.setattr(parts.triton, "codegen_body", body)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: (9, 0))
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda i: SimpleNamespace(multi_processor_count=132))
    return parts


@pytest.mark.parametrize(
    ("code", "name"), [(WAITS, "launchOverlapping"), ("ret;", "launchKernel"), (None, "launchKernel")]
)
def test_what_waits_is_launched_before_the_kernel_before_it_ends(code, name, inductor):
    params, prefix = {}, SimpleNamespace(_lines=["launchKernel(another);"])
    with overlapping_launches():
        inductor.cache.set("f", params, "", "cubin", code, "ptx")
        inductor.wrapper.generate_launch_kernel(None, prefix, None, "kernels_.f", params)
        text = inductor.device().kernel_driver()
    assert prefix._lines[0] == "launchKernel(another);"
    assert prefix._lines[-1] == f"{name}(kernels_.f, grid_0);"
    assert f"static inline void {name}(" in text


@pytest.mark.parametrize(
    ("capability", "first"), [((9, 0), "tl.extra.cuda.gdc_wait()"), ((8, 6), "tmp0 = tl.load(in_ptr0)")]
)
def test_the_compilers_own_kernels_wait_before_they_load(capability, first, inductor, monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda: capability)
    kernel = object.__new__(inductor.triton)
    kernel.body = SimpleNamespace(_lines=[])
    with overlapping_launches():
        kernel.codegen_body()
    assert kernel.body._lines[0] == first
    lets = [line for line in kernel.body._lines if "gdc_launch_dependents" in line]
    assert len(lets) == (capability >= (9, 0))
    assert all(line.startswith("if tl.num_programs(0) * tl.num_programs(1) <= 66: ") for line in lets)


def test_pytorch_has_its_own_again(inductor):
    usual = [inductor.wrapper.generate_launch_kernel, inductor.device.kernel_driver, inductor.triton.codegen_body]
    with pytest.raises(ZeroDivisionError), overlapping_launches():
        raise ZeroDivisionError
    assert usual == [
        inductor.wrapper.generate_launch_kernel,
        inductor.device.kernel_driver,
        inductor.triton.codegen_body,
    ]

"""The first NVIDIA GPU as its driver shows it (NVML), where this process uses one."""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

# nvmlClocksEventReasons: hardware slowdown, software thermal, hardware thermal, hardware power brake.
_THROTTLED = 0x08 | 0x20 | 0x40 | 0x80


def nvml_if_used() -> Any:
    """Returns NVIDIA's management library, started, if this process uses a GPU and the library is installed."""
    runtime = sys.modules.get("onnxruntime")
    on_gpu = torch_if_used() is not None
    if not on_gpu and runtime is not None:
        on_gpu = "CUDAExecutionProvider" in runtime.get_available_providers()
    return _started() if on_gpu else None


def torch_if_used() -> Any:
    """Returns torch if this process has a GPU in use through it, else None."""
    torch = sys.modules.get("torch")
    used = torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized()
    return torch if used else None


@functools.cache
def _started() -> Any:
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # not installed, or no driver: then there is nothing to say of the GPU
        return None
    return pynvml


def handle(nvml: Any) -> Any:
    """Returns NVML's handle of the GPU in use; the two libraries may number GPUs differently, so by its UUID."""
    torch = torch_if_used()
    if torch is not None:
        uuid = getattr(torch.cuda.get_device_properties(torch.cuda.current_device()), "uuid", None)
        if uuid is not None:
            try:
                return nvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
            except nvml.NVMLError:
                pass  # a slice of a GPU has another kind of UUID
    return nvml.nvmlDeviceGetHandleByIndex(0)


def look() -> dict[str, Any]:
    """Returns what the GPU in use shows; what it does not tell is left out.

    Returns:
        "clock_hz", "memory_clock_hz", "temperature_c", "power_w", "reasons" (why its clock is held down) and
        "other_processes" (that compute on it); {} without a GPU.
    """
    nvml = nvml_if_used()
    if nvml is None:
        return {}
    try:
        device = handle(nvml)
    except nvml.NVMLError:
        return {}
    ask = {
        "clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_SM) * 1e6,
        "memory_clock_hz": lambda: nvml.nvmlDeviceGetClockInfo(device, nvml.NVML_CLOCK_MEM) * 1e6,
        "temperature_c": lambda: nvml.nvmlDeviceGetTemperature(device, nvml.NVML_TEMPERATURE_GPU),
        "power_w": lambda: nvml.nvmlDeviceGetPowerUsage(device) * 1e-3,
        "reasons": lambda: nvml.nvmlDeviceGetCurrentClocksEventReasons(device),
        # Within a container the driver shows process numbers of the host, so this one cannot be told by its own.
        "other_processes": lambda: max(len(nvml.nvmlDeviceGetComputeRunningProcesses(device)) - 1, 0),
    }
    found = {}
    for name, read in ask.items():
        try:
            found[name] = read()
        except nvml.NVMLError:
            continue
    return found


def throttled(seen: dict[str, Any]) -> bool:
    """Returns whether what `look` returned tells of a slowdown by heat or lack of power."""
    return bool(seen.get("reasons", 0) & _THROTTLED)


def peak_memory() -> float | None:
    """Returns the peak of this process's memory on the GPU in bytes: by torch's allocator, else by the driver."""
    torch = torch_if_used()
    if torch is not None and torch.cuda.max_memory_allocated():
        return float(torch.cuda.max_memory_allocated())
    nvml = nvml_if_used()
    if nvml is None:
        return None
    try:
        own = [p for p in nvml.nvmlDeviceGetComputeRunningProcesses(handle(nvml)) if p.pid == os.getpid()]
    except nvml.NVMLError:
        return None
    return float(own[0].usedGpuMemory) if own and own[0].usedGpuMemory else None

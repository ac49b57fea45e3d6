"""The GPU's counters, on a driver made up for the purpose."""

import sys
import types

import pytest

from neurokit.bench import gpu
from neurokit.bench.environment import Snapshot, judge
from neurokit.bench.meters import Absent, counters


class NVMLError(Exception):
    pass


class Driver:
    """NVML of a machine with two GPUs; the second is the one that torch uses."""

    NVMLError, NVML_CLOCK_SM, NVML_CLOCK_MEM, NVML_TEMPERATURE_GPU = NVMLError, 1, 2, 0

    def __init__(self):
        self.millijoules = 5_000
        self.processes = [types.SimpleNamespace(pid=1, usedGpuMemory=None)]

    def nvmlDeviceGetHandleByUUID(self, name):  # noqa: N802 - the driver's names
        if name != "GPU-second":
            raise NVMLError
        return 1

    def nvmlDeviceGetHandleByIndex(self, index):  # noqa: N802
        return index

    def nvmlDeviceGetClockInfo(self, device, kind):  # noqa: N802
        return {1: 1980, 2: 3201}[kind]

    def nvmlDeviceGetTemperature(self, device, sensor):  # noqa: N802
        return 40 + device

    def nvmlDeviceGetPowerUsage(self, device):  # noqa: N802
        raise NVMLError("not supported")

    def nvmlDeviceGetCurrentClocksEventReasons(self, device):  # noqa: N802
        return 0x4

    def nvmlDeviceGetComputeRunningProcesses(self, device):  # noqa: N802
        return self.processes

    def nvmlDeviceGetTotalEnergyConsumption(self, device):  # noqa: N802
        assert device == 1
        return self.millijoules


@pytest.fixture
def driver(monkeypatch):
    found = Driver()
    cuda = types.SimpleNamespace(
        is_available=lambda: True,
        is_initialized=lambda: True,
        current_device=lambda: 0,
        get_device_properties=lambda device: types.SimpleNamespace(uuid="second"),
        max_memory_allocated=lambda: 123,
    )
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=cuda))
    monkeypatch.setattr(gpu, "_started", lambda: found)
    return found


def test_the_gpu_in_use_is_looked_at_and_what_it_lacks_left_out(driver):
    assert gpu.look() == {
        "clock_hz": 1980e6,
        "memory_clock_hz": 3201e6,
        "temperature_c": 41,
        "reasons": 4,
        "other_processes": 0,
    }
    assert not gpu.throttled(gpu.look())
    assert gpu.peak_memory() == 123.0
    driver.processes *= 3
    assert gpu.look()["other_processes"] == 2


def test_nvml_counts_millijoules_of_that_gpu(driver):
    meter = counters.Nvml()
    meter.start()
    driver.millijoules += 2_500
    assert meter.stop() == pytest.approx(2.5)


def test_without_a_gpu_nothing_is_said(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=bool)))
    monkeypatch.delitem(sys.modules, "onnxruntime", raising=False)
    assert gpu.look() == {}
    assert gpu.peak_memory() is None
    with pytest.raises(Absent, match="no NVIDIA GPU"):
        counters.Nvml()


@pytest.mark.parametrize(
    ("before", "after", "reason"),
    [
        ({"clock_hz": 2e9}, {"clock_hz": 1.7e9}, "GPU's clock fell from 2.00 to 1.70 GHz"),
        ({"clock_hz": 2e9}, {"clock_hz": 1.9e9}, ""),
        ({"reasons": 0x20}, {"reasons": 0}, "GPU reports a slowdown"),
        ({}, {"other_processes": 1}, "1 other processes hold the GPU"),
        ({}, {}, ""),
    ],
)
def test_what_disturbs_the_gpu_is_a_reason(before, after, reason):
    _, reasons = judge(Snapshot(0.0, 0.0, gpu=before), Snapshot(10.0, 9.9, gpu=after))
    assert len(reasons) == bool(reason)
    assert not reason or reason in reasons[0]

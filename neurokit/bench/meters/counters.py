"""Counters of energy: of the processor (RAPL) and of an NVIDIA GPU (NVML)."""

from __future__ import annotations

from pathlib import Path

from neurokit.bench import gpu
from neurokit.bench.meters.base import Absent, text_of


class Rapl:
    """The energy counters of the processor packages and, where they are counted apart, of the memory.

    Args:
        root: Where sys is.
    """

    name = "RAPL"

    def __init__(self, root: Path = Path("/")) -> None:
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        self._zones = [zone for zone in zones if text_of(zone / "name").startswith(("package", "dram"))]
        if not self._zones:
            raise Absent("no RAPL counters")
        try:
            self._read()
        except OSError as error:
            raise Absent(f"RAPL counters cannot be read ({error.strerror}); they need root") from error
        self.name = "RAPL " + ", ".join(text_of(zone / "name") for zone in self._zones)

    def start(self) -> None:
        """Starts measuring."""
        self._before = self._read()

    def stop(self) -> float:
        """Returns the joules since `start`; a counter may have wrapped around once."""
        joules = 0.0
        for zone, before, after in zip(self._zones, self._before, self._read(), strict=True):
            span = int((zone / "max_energy_range_uj").read_text()) if after < before else 0
            joules += (after - before + span) * 1e-6
        return joules

    def _read(self) -> list[int]:
        return [int((zone / "energy_uj").read_text()) for zone in self._zones]


class Nvml:
    """The energy counter of the NVIDIA GPU in use (the whole board, in millijoules)."""

    name = "NVML, GPU board"

    def __init__(self) -> None:
        self._nvml = gpu.nvml_if_used()
        if self._nvml is None:
            raise Absent("no NVIDIA GPU in use, or nvidia-ml-py is not installed")
        try:
            self._handle = gpu.handle(self._nvml)
            self.start()
        except self._nvml.NVMLError as error:
            raise Absent(f"the GPU has no energy counter ({error})") from error

    def start(self) -> None:
        """Starts measuring."""
        self._before = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)

    def stop(self) -> float:
        """Returns the joules since `start`."""
        return (self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) - self._before) * 1e-3

"""Meters of energy: what the machine has is used, and what it lacks is said."""

from __future__ import annotations

import csv
import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol

from neurokit.bench.environment import nvml_if_used
from neurokit.errors import InputError

_POLL_S = 0.05
METERS = ("auto", "none", "rapl", "nvml", "ina", "jtop", "tegrastats", "csv:FILE")


class Meter(Protocol):
    """Measures the energy between two moments."""

    name: str

    def start(self) -> None:
        """Starts measuring."""
        ...

    def stop(self) -> float:
        """Returns the joules since `start`."""
        ...


class Absent(Exception):  # noqa: N818 - no error: a machine without this meter
    """This machine does not have the meter; the message says why."""


class Rapl:
    """The energy counters of the processor packages and, where they are counted apart, of the memory.

    Args:
        root: Where sys is.
    """

    name = "RAPL"

    def __init__(self, root: Path = Path("/")) -> None:
        zones = sorted((root / "sys/class/powercap").glob("intel-rapl:*"))
        self._zones = [zone for zone in zones if _zone_name(zone).startswith(("package", "dram"))]
        if not self._zones:
            raise Absent("no RAPL counters")
        try:
            self._read()
        except OSError as error:
            raise Absent(f"RAPL counters cannot be read ({error.strerror}); they need root") from error
        self.name = "RAPL " + ", ".join(_zone_name(zone) for zone in self._zones)

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


def _zone_name(zone: Path) -> str:
    try:
        return (zone / "name").read_text().strip()
    except OSError:
        return ""


class Nvml:
    """The energy counter of the first NVIDIA GPU (the whole board, in millijoules)."""

    name = "NVML, GPU board"

    def __init__(self) -> None:
        self._nvml = nvml_if_used()
        if self._nvml is None:
            raise Absent("no NVIDIA GPU in use, or nvidia-ml-py is not installed")
        try:
            self._handle = self._nvml.nvmlDeviceGetHandleByIndex(0)
            self.start()
        except self._nvml.NVMLError as error:
            raise Absent(f"the GPU has no energy counter ({error})") from error

    def start(self) -> None:
        """Starts measuring."""
        self._before = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle)

    def stop(self) -> float:
        """Returns the joules since `start`."""
        return (self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._handle) - self._before) * 1e-3


class Polled:
    """Reads a power again and again in a thread and integrates it by the trapezoidal rule.

    Args:
        name: Name of the meter.
        power: Returns the present power in watts.
        clock: Time in seconds.
    """

    def __init__(self, name: str, power: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self.name = name
        self._power, self._clock = power, clock
        self._points: list[tuple[float, float]] = []

    def start(self) -> None:
        """Starts measuring."""
        self._points = [(self._clock(), self._power())]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._poll, daemon=True)
        self._thread.start()

    def stop(self) -> float:
        """Returns the joules since `start`."""
        self._end.set()
        self._thread.join()
        self._points.append((self._clock(), self._power()))
        return integrate(self._points)

    def _poll(self) -> None:
        while not self._end.wait(_POLL_S):
            self._points.append((self._clock(), self._power()))


def integrate(points: Sequence[tuple[float, float]]) -> float:
    """Returns the joules under (seconds, watts), by the trapezoidal rule."""
    return sum((t1 - t0) * (p0 + p1) / 2 for (t0, p0), (t1, p1) in pairwise(points))


def ina(root: Path = Path("/")) -> Polled:
    """Returns a meter of the INA power monitors that Linux shows as hwmon (Jetson and other boards).

    Of several channels, one that measures the board's whole input is taken alone.
    """
    channels: list[tuple[str, Callable[[], float]]] = []
    for device in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if not _text(device / "name").startswith("ina"):
            continue
        for current in sorted(device.glob("curr[0-9]*_input")):
            number = current.name[4:].partition("_")[0]
            label = _text(device / f"in{number}_label") or f"{device.name}.{number}"
            channels.append((label, _channel(device / f"in{number}_input", current)))
    if not channels:
        raise Absent("no INA power monitors")
    whole = [entry for entry in channels if entry[0] in ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")]
    used = whole[:1] or channels
    return Polled("INA " + ", ".join(label for label, _ in used), lambda: sum(read() for _, read in used))


def _channel(volts: Path, amperes: Path) -> Callable[[], float]:
    return lambda: float(volts.read_text()) * float(amperes.read_text()) * 1e-6  # mV x mA


def _text(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def jtop() -> Polled:
    """Returns a meter of a Jetson's whole board through the jtop service."""
    try:
        from jtop import jtop as service
    except ImportError as error:
        raise Absent("jtop is not installed") from error
    try:
        board = service(interval=_POLL_S)
        board.start()
    except Exception as error:  # its own exceptions, where the service does not run
        raise Absent(f"jtop does not run: {error}") from error
    return Polled("jtop, whole board", lambda: float(board.power["tot"]["power"]) * 1e-3)


_RAIL = re.compile(r"\b(VDD_IN|POM_5V_IN|VIN_SYS_5V0)\s+(\d+)(?:mW)?/")


class Tegrastats:
    """A Jetson's whole board through the tegrastats command.

    Args:
        command: The command and its arguments.
    """

    def __init__(self, command: Sequence[str] = ("tegrastats", "--interval", "50")) -> None:
        self._command = list(command)
        try:
            line = self._first_line()
        except OSError as error:
            raise Absent("no tegrastats command") from error
        if not _RAIL.search(line):
            raise Absent("tegrastats shows no power of the whole board")
        self.name = f"tegrastats {_RAIL.search(line).group(1)}"  # type: ignore[union-attr]

    def _first_line(self) -> str:
        with subprocess.Popen(self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
            line = child.stdout.readline() if child.stdout else ""
            child.terminate()
        return line

    def start(self) -> None:
        """Starts measuring."""
        self._points: list[tuple[float, float]] = []
        self._child = subprocess.Popen(
            self._command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, bufsize=1
        )
        self._thread = threading.Thread(target=self._collect, daemon=True)
        self._from = time.monotonic()
        self._thread.start()

    def stop(self) -> float:
        """Returns the joules since `start`: mean power times time."""
        seconds = time.monotonic() - self._from
        self._child.terminate()
        self._child.wait()
        self._thread.join()
        if not self._points:
            raise Absent("tegrastats showed no power during the run")
        return seconds * sum(power for _, power in self._points) / len(self._points)

    def _collect(self) -> None:
        for line in self._child.stdout or ():
            found = _RAIL.search(line)
            if found:
                self._points.append((time.monotonic(), float(found.group(2)) * 1e-3))


class Csv:
    """An external meter that writes a CSV file: a time (seconds since 1970, or ISO 8601) and a power, or V and A.

    Args:
        path: The file; it is read when the measurement ends.
    """

    def __init__(self, path: str | Path, clock: Callable[[], float] = time.time) -> None:
        self._path, self._clock = Path(path), clock
        self.name = f"external meter, {self._path.name}"

    def start(self) -> None:
        """Starts measuring."""
        self._from = self._clock()

    def stop(self) -> float:
        """Returns the joules since `start`.

        Raises:
            InputError: If the file is no such table, or does not cover the measurement.
        """
        start, end = self._from, self._clock()
        points = read_csv(self._path)
        if points[0][0] > start or points[-1][0] < end:
            raise InputError(
                f"{self._path.name} covers {points[0][0]:.3f} to {points[-1][0]:.3f} s, not the measurement",
                expected=f"{start:.3f} to {end:.3f} s since 1970", fix="let the meter run longer, and set its clock",
            )  # fmt: skip
        inside = [point for point in points if start < point[0] < end]
        return integrate([(start, _at(points, start)), *inside, (end, _at(points, end))])


def read_csv(path: Path) -> list[tuple[float, float]]:
    """Returns the (seconds, watts) of an external meter's file, in the order of time.

    Raises:
        InputError: If it is no such table.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a CSV file of an external meter") from error
    columns = {re.sub(r"[^a-z]", "", (name or "").lower()): name for name in (rows[0] if rows else {})}
    when = next((columns[key] for key in ("time", "times", "timestamp", "t") if key in columns), None)
    power = next((columns[key] for key in ("power", "powerw", "watts", "w", "watt") if key in columns), None)
    volts = next((columns[key] for key in ("voltage", "voltagev", "volts", "v") if key in columns), None)
    amperes = next((columns[key] for key in ("current", "currenta", "amps", "amperes", "a") if key in columns), None)
    if when is None or (power is None and (volts is None or amperes is None)) or len(rows) < 2:
        raise InputError(
            f"{path} has the columns {', '.join(map(str, columns.values())) or '(none)'} and {len(rows)} rows",
            expected="time and power, or time, voltage and current, in at least two rows",
        )
    try:
        return sorted(
            (_seconds(row[when]), float(row[power]) if power else float(row[volts]) * float(row[amperes]))
            for row in rows
        )
    except (TypeError, ValueError) as error:
        raise InputError(f"{path} holds something else than numbers: {error}") from error


def _seconds(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00")).timestamp()


def _at(points: Sequence[tuple[float, float]], moment: float) -> float:
    """Returns the power at a moment between two readings."""
    for (t0, p0), (t1, p1) in pairwise(points):
        if t0 <= moment <= t1:
            return p0 + (p1 - p0) * ((moment - t0) / (t1 - t0) if t1 > t0 else 0.0)
    return points[-1][1]


_KINDS: dict[str, Callable[[], Any]] = {"nvml": Nvml, "rapl": Rapl, "jtop": jtop, "ina": ina, "tegrastats": Tegrastats}


def find(which: str = "auto") -> tuple[Meter | None, str]:
    """Returns a meter and its name, or None and why there is none.

    Args:
        which: "auto" takes the first that this machine has; else one of `METERS`.

    Raises:
        InputError: If there is no meter of that name.
    """
    if which == "none":
        return None, "not asked for"
    if which.startswith("csv:"):
        meter = Csv(which[4:])
        return meter, meter.name
    if which != "auto" and which not in _KINDS:
        raise InputError(f"unknown meter {which!r}", expected="one of " + ", ".join(METERS))
    why = []
    for kind in _KINDS if which == "auto" else (which,):
        try:
            meter = _KINDS[kind]()
        except Absent as reason:
            why.append(str(reason))
        else:
            return meter, meter.name
    return None, "absent: " + "; ".join(why)

"""Power monitors of boards: INA sensors as Linux shows them, and a Jetson's jtop and tegrastats."""

from __future__ import annotations

import re
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from neurokit.bench.meters.base import Absent, Polled, text_of

_JTOP_S = 0.05


def ina(root: Path = Path("/")) -> Polled:
    """Returns a meter of the INA power monitors that Linux shows as hwmon (Jetson and other boards).

    Of several channels, one that measures the board's whole input is taken alone.
    """
    channels: list[tuple[str, Callable[[], float]]] = []
    for device in sorted((root / "sys/class/hwmon").glob("hwmon*")):
        if not text_of(device / "name").startswith("ina"):
            continue
        for current in sorted(device.glob("curr[0-9]*_input")):
            number = current.name[4:].partition("_")[0]
            label = text_of(device / f"in{number}_label") or f"{device.name}.{number}"
            channels.append((label, _channel(device / f"in{number}_input", current)))
    if not channels:
        raise Absent("no INA power monitors")
    whole = [entry for entry in channels if entry[0] in ("VDD_IN", "VIN_SYS_5V0", "POM_5V_IN")]
    used = whole[:1] or channels
    return Polled("INA " + ", ".join(label for label, _ in used), lambda: sum(read() for _, read in used))


def _channel(volts: Path, amperes: Path) -> Callable[[], float]:
    return lambda: float(volts.read_text()) * float(amperes.read_text()) * 1e-6  # mV x mA


def jtop() -> Polled:
    """Returns a meter of a Jetson's whole board through the jtop service."""
    try:
        from jtop import jtop as service
    except ImportError as error:
        raise Absent("jtop is not installed") from error
    try:
        board = service(interval=_JTOP_S)
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

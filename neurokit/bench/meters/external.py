"""An external meter's CSV file."""

from __future__ import annotations

import csv
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path

from neurokit.bench.meters.base import integrate, power_at
from neurokit.errors import InputError
from neurokit.plain import MOST_BYTES, check_regular


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
                expected=f"{start:.3f} to {end:.3f} s since 1970",
                fix="let the meter run longer, and set its clock",
            )
        inside = [point for point in points if start < point[0] < end]
        return integrate([(start, power_at(points, start)), *inside, (end, power_at(points, end))])


def read_csv(path: Path) -> list[tuple[float, float]]:
    """Returns the (seconds, watts) of an external meter's file, in the order of time.

    Raises:
        InputError: If it is no such table.
    """
    try:
        with check_regular(path, MOST_BYTES).open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
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

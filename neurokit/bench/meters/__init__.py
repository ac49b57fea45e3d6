"""Meters of energy: what the machine has is used, and what it lacks is said."""

from __future__ import annotations

from collections.abc import Callable

from neurokit.bench.meters.base import Absent, Meter
from neurokit.bench.meters.boards import Tegrastats, ina, jtop
from neurokit.bench.meters.counters import Nvml, Rapl
from neurokit.bench.meters.external import Csv
from neurokit.errors import InputError

__all__ = ["METERS", "Absent", "Meter", "check", "find"]

_FILE = "csv:"
_KINDS: dict[str, Callable[[], Meter]] = {
    "nvml": Nvml,
    "rapl": Rapl,
    "jtop": jtop,
    "ina": ina,
    "tegrastats": Tegrastats,
}
METERS = ("auto", "none", *_KINDS, f"{_FILE}FILE")


def check(which: str) -> None:
    """Refuses the name of a meter that there is not.

    Raises:
        InputError: If so.
    """
    named = which[len(_FILE) :] if which.startswith(_FILE) else ""
    if not named and which not in ("auto", "none", *_KINDS):
        raise InputError(f"unknown meter {which!r}", expected="one of " + ", ".join(METERS))


def find(which: str = "auto") -> tuple[Meter | None, str]:
    """Returns a meter and its name, or None and why there is none.

    Args:
        which: "auto" takes the first that this machine has; else one of `METERS`.

    Raises:
        InputError: If there is no meter of that name.
    """
    check(which)
    if which == "none":
        return None, "not asked for"
    if which.startswith(_FILE):
        meter: Meter = Csv(which[len(_FILE) :])
        return meter, meter.name
    why = []
    for kind in _KINDS if which == "auto" else (which,):
        try:
            meter = _KINDS[kind]()
        except Absent as reason:
            why.append(str(reason))
        else:
            return meter, meter.name
    return None, "absent: " + "; ".join(why)

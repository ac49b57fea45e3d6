"""Devices by name, from .toml files, or from the report of a run of `neurokit bench` that measured joules."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from neurokit.errors import InputError
from neurokit.hw_sim.devices.device import Device
from neurokit.plain import json_of, toml_of
from neurokit.registry import Registry
from neurokit.reports.latency import LatencyReport

DEVICE_FOLDER = Path(__file__).parent
_ADAPTER = TypeAdapter(Device)


def device_names() -> list[str]:
    """Returns the name of every device."""
    return _registry().names()


def load_device(name: str | Path | Device) -> Device:
    """Returns a device by name, or from the path of a .toml file.

    Raises:
        UnknownNameError: If there is no device of that name.
        InputError: If the file is not there, is no TOML, does not fit the schema, or states no source.
    """
    if isinstance(name, Device):
        return name
    path = Path(name) if isinstance(name, Path) or str(name).endswith(".toml") else _registry().get(name)
    try:
        data = toml_of(path)
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read device file {path}: {error}", expected="a readable .toml file") from error
    except ValueError as error:
        raise InputError(f"{path}: not valid TOML: {error}", fix="correct that line") from error
    try:
        return _ADAPTER.validate_python(data)
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        message = first["msg"].removeprefix("Value error, ")
        raise InputError(f"{path}: field {field or 'points'}: {message}", expected="the fields of a device") from None


def _with_figures(device: Device) -> Device:
    if not device.points:
        raise InputError(
            f"{device.title}: no measured energy could be read at its source ({device.searched})",
            expected="a device with points: " + ", ".join(n for n in device_names() if load_device(n).points),
            fix="measure it yourself: neurokit bench on a machine with a meter, then --compare FILE.json",
        )
    return device


@cache
def _registry() -> Registry[Path]:
    devices: Registry[Path] = Registry("device")
    for path in sorted(DEVICE_FOLDER.glob("*.toml")):
        devices.add(path.stem, path)
    return devices


def load_comparator(name: str | Path | Device | LatencyReport) -> Device | LatencyReport:
    """Returns a device, or a run of `neurokit bench` that measured joules (its .json report).

    Raises:
        UnknownNameError: If there is no device of that name.
        InputError: If the file cannot be read, its run had no meter of energy, or the device has no figure.
    """
    if isinstance(name, LatencyReport):
        return name
    if not str(name).endswith(".json"):
        return _with_figures(load_device(name))
    try:
        data = json_of(Path(str(name)))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read {name}: {error}", expected="the JSON report of neurokit bench") from error
    if not isinstance(data, dict):
        raise InputError(f"{name} is no report", expected="the JSON report of neurokit bench")
    entries = data.get("reports") if data.get("report") == "bench" else [data]
    reports = [LatencyReport.from_json(entry) for entry in entries or ()]
    measured = [report for report in reports if report.energy is not None]
    if not measured:
        why = next((report.energy_note for report in reports if report.energy_note), "the run had no meter")
        fix = "neurokit bench on a machine with a meter, or --compare DEVICE"
        raise InputError(f"{name} has no measured energy: {why}", fix=fix)
    return min(measured, key=lambda report: report.energy.value if report.energy else 0.0)

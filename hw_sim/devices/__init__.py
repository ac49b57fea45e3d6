"""Edge devices that anybody can buy, with what they were measured to take: what a spiking network is compared with."""

from __future__ import annotations

from neurokit.hw_sim.devices.device import Device, Point
from neurokit.hw_sim.devices.file import device_names, load_comparator, load_device

__all__ = ["Device", "Point", "device_names", "load_comparator", "load_device"]

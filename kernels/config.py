"""Launch parameters a kernel runs with: measured ones keyed by GPU and shape, defaults elsewhere."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import torch

from neurokit.kernels.dispatch import log_once

Config = dict[str, Any]


@functools.cache
def _tables() -> Mapping[str, Mapping[str, Any]]:
    """Returns the shipped measurements by the name of the GPU."""
    folder = resources.files("neurokit.kernels").joinpath("configs")
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".json")), key=lambda f: f.name)
    read = [json.loads(file.read_text(encoding="utf-8")) for file in files]
    return {table["gpu"]: table for table in read}


@functools.cache
def _table(gpu: str, capability: str) -> Mapping[str, Mapping[str, Config]]:
    """Returns kernel -> key -> parameters of a GPU, else of the first one of its compute capability."""
    tables = _tables()
    if gpu not in tables:
        kin = [name for name, table in tables.items() if table["compute_capability"] == capability]
        if not kin:
            return {}
        log_once("configuration", f"parameters measured on {kin[0]}, because there are none of {gpu}")
        gpu = kin[0]
    return tables[gpu]["kernels"]


@functools.cache
def gpu_at(index: int) -> tuple[str, str]:
    """Returns the name under which a GPU's measurements are kept, and its compute capability ("9.0")."""
    return torch.cuda.get_device_name(index), ".".join(map(str, torch.cuda.get_device_capability(index)))


@functools.cache
def processors(device: torch.device) -> int:
    """Returns the multiprocessors of a GPU; 1 for the interpreter."""
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 1


_OVERRIDE: dict[str, Config] = {}


class override:  # noqa: N801 - reads as a verb where it is used
    """Context in which one kernel runs with given parameters; the tuner and tests use it.

    Args:
        kernel: Name of the kernel.
        config: Its parameters.
    """

    def __init__(self, kernel: str, config: Config) -> None:
        self.kernel = kernel
        self.config = config

    def __enter__(self) -> None:
        _OVERRIDE[self.kernel] = self.config

    def __exit__(self, *exc: object) -> None:
        _OVERRIDE.pop(self.kernel, None)


def lookup(kernel: str, key: Sequence[object], device: torch.device, default: Config) -> Config:
    """Returns the parameters for a kernel on a device.

    An entry for the very shape wins, then the entry "*" of the GPU, then `default`, which is chosen to run on
    every GPU from compute capability 8.0 on. A GPU without measurements takes those of one of its compute capability.

    Args:
        kernel: Name of the kernel.
        key: What the best parameters depend on, in a fixed order.
        device: Where the kernel runs.
        default: Parameters that always work.
    """
    if kernel in _OVERRIDE:
        return {**default, **_OVERRIDE[kernel]}
    if device.type != "cuda":
        return default
    index = device.index if device.index is not None else torch.cuda.current_device()
    entries = _table(*gpu_at(index)).get(kernel, {})
    found = entries.get(",".join(map(str, key)), entries.get("*", {}))
    return {**default, **found}

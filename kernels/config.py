"""Launch parameters a kernel runs with: measured ones keyed by GPU and shape, defaults elsewhere."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

import torch

Config = dict[str, Any]


@functools.cache
def _table(gpu: str) -> Mapping[str, Mapping[str, Config]]:
    """Returns the shipped measurements of a GPU: kernel -> shape key -> parameters."""
    file = resources.files("neurokit.kernels").joinpath("configs", f"{gpu.replace(' ', '_')}.json")
    if not file.is_file():
        return {}
    return json.loads(file.read_text(encoding="utf-8"))["kernels"]


@functools.cache
def gpu_name(index: int) -> str:
    """Returns the name under which a GPU's measurements are kept."""
    return torch.cuda.get_device_name(index)


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
    every GPU from compute capability 8.0 on.

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
    entries = _table(gpu_name(index)).get(kernel, {})
    found = entries.get(",".join(map(str, key)), entries.get("*", {}))
    return {**default, **found}

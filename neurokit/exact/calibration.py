"""Calibration data of the exact form: every input of the reference, checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from neurokit.capture import Captured
from neurokit.capture.drawing import drawn_beside
from neurokit.capture.probe import input_shape
from neurokit.capture.reference import example_inputs
from neurokit.errors import InputError
from neurokit.feeds import named_inputs
from neurokit.spec import TensorSpec

Given = Tensor | Mapping[str, Tensor]


def shape_of(captured: Captured, port: TensorSpec, batch: int) -> tuple[int, ...]:
    """Returns the shape of an input of the reference."""
    steps = captured.time_steps if isinstance(captured.time_steps, int) else None
    return input_shape(replace(captured.spec, inputs=(port,), arguments=None), steps, batch)


def calibration_of(captured: Captured, given: Given | None) -> tuple[Tensor, ...]:
    """Returns calibration data of every input, in order."""
    steps = captured.time_steps if isinstance(captured.time_steps, int) else None
    batch = 2 if captured.batch == "dynamic" else captured.batch
    ports = captured.spec.inputs
    if given is None:
        return tuple(example_inputs(captured.spec, steps, batch, 0).values())
    named = named_inputs(drawn_beside(captured, given), [port.name for port in ports])
    found = tuple(_checked(captured, named[port.name], port, batch) for port in ports)
    if len({batch_of(captured, x, port) for x, port in zip(found, ports, strict=True)}) > 1:
        raise InputError("calibration data of the inputs differ in samples", expected="as many of each input")
    return found


def _checked(captured: Captured, given: Tensor, port: TensorSpec, batch: int) -> Tensor:
    wanted = shape_of(captured, port, batch)
    axis = len(wanted) - len(port.shape) - 1
    shape = list(given.shape) if isinstance(given, Tensor) else []
    free = [size for i, size in enumerate(shape) if i != axis]
    if len(shape) != len(wanted) or free != [size for i, size in enumerate(wanted) if i != axis] or not shape[axis]:
        names = ["B" if i == axis else str(size) for i, size in enumerate(wanted)]
        raise InputError(f"calibration data have shape {shape}", expected=f"[{', '.join(names)}]")
    if not bool(torch.isfinite(given).all()):
        raise InputError("calibration data hold numbers that are not finite", expected="finite numbers")
    return given.to(getattr(torch, port.dtype))


def batch_of(captured: Captured, x: Tensor, port: TensorSpec | None = None) -> int:
    """Returns the number of samples of an input, the first one without `port`."""
    return int(x.shape[x.dim() - len((port or captured.spec.inputs[0]).shape) - 1])

"""Dry runs of a twin on tensors without data, and what is said where one fails."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode

from neurokit.capture.fault_place import fault_place
from neurokit.capture.masked_parts import MaskedParts
from neurokit.capture.probe import example_values, set_time_steps
from neurokit.capture.shapes_alone import ShapesAlone
from neurokit.capture.slots import Slot
from neurokit.capture.twin import Twin
from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.spec import ModelSpec


@dataclass(frozen=True)
class DryRun:
    """What one dry run gave.

    Attributes:
        outputs: The outputs, then declared states, without data.
        memories: Slot, name, shape and type of every state that was carried.
    """

    outputs: tuple[Tensor, ...]
    memories: tuple[tuple[Slot, str, tuple[int, ...], torch.dtype], ...]


class DryRuns:
    """Dry runs of one twin, none of which is made twice; its parameters lose their data once.

    Args:
        twin: The twin, whose parameters stay as they are between the runs.
        spec: What it is a twin of.
    """

    def __init__(self, twin: Twin, spec: ModelSpec) -> None:
        self.twin, self.spec = twin, spec
        self._mode = FakeTensorMode(allow_non_fake_inputs=True)
        self._made: dict[tuple[int | None, int, bool, str], DryRun] = {}

    def sequence(self, time_steps: int | None, batch: int) -> DryRun:
        """Runs all steps from the initial state, once for each number of steps and samples."""
        kind = self.twin.time_output if self.twin.time_input == "step" else ""
        key = (time_steps, batch, self.twin.opened, kind)
        if key not in self._made:
            self._made[key] = self.anew(time_steps, batch, single=False)
        return self._made[key]

    def anew(self, time_steps: int | None, batch: int, single: bool) -> DryRun:
        """Runs once, and leaves the twin's slots as they are after that.

        Raises:
            InputError: If the module does not run on inputs of the declared shape.
        """
        outputs = _dry_run(self.twin, self.spec, time_steps, batch, single, self._mode)
        memories = (
            (slot, name, tuple(int(size) for size in value.shape), value.dtype)
            for slot in self.twin.slots
            for name, value in zip(getattr(slot.module, "_memories", ()), slot.values, strict=False)
            if isinstance(value, Tensor) and slot.carried
        )
        return DryRun(outputs, tuple(memories))


def _dry_run(
    twin: Twin, spec: ModelSpec, time_steps: int | None, batch: int, single: bool, mode: FakeTensorMode
) -> tuple[Tensor, ...]:
    given = example_values(spec, time_steps, batch, single)
    twin.single = single
    for slot in twin.slots:
        slot.names = ()
    if time_steps is not None:
        set_time_steps(twin.net, 1 if single else time_steps)
    try:
        with mode, torch.no_grad(), ShapesAlone(), MaskedParts():
            return twin(*(mode.from_tensor(value) for value in given))
    except UnsupportedError:
        raise
    except Exception as error:
        raise _explain(error, spec, given, time_steps, single, twin.net) from error
    finally:
        twin.single = False


def _explain(
    error: Exception,
    spec: ModelSpec,
    given: tuple[Tensor, ...],
    time_steps: int | None,
    single: bool,
    net: nn.Module,
) -> Exception:
    """Tells a model whose control flow needs data from one that does not take the declared input, or not this T."""
    name = type(error).__name__
    first = str(error).strip().splitlines()[0] if str(error).strip() else name
    if "DataDependent" in name or "data-dependent" in str(error).lower() or "DynamicOutputShape" in name:
        why = f"its control flow depends on the values of tensors ({first})"
        path, call = fault_place(error, net)
        fix = "use torch.where, or move the decision out of the model"
        reason = Unsupported(path, call or spec.name, why, fix)
        return UnsupportedError(f"model {spec.name!r} cannot be captured", [reason])
    if single and time_steps != 1:  # all of its steps at once have run by now
        why = f"one step of it does not run alone ({first}): what it computes is of several steps"
        reason = Unsupported("", spec.name, why, "use the sequence form (target onnx)")
        return UnsupportedError(f"model {spec.name!r} cannot be captured", [reason])
    if time_steps != spec.time_steps and spec.time_steps is not None:
        why = f"it does not run over {time_steps} steps ({first})"
        reason = Unsupported("", spec.name, why, f"use T = {spec.time_steps}, the number that it was made for")
        return UnsupportedError(f"model {spec.name!r} cannot have another T than {spec.time_steps}", [reason])
    ports = zip((*spec.inputs, *spec.states), given, strict=True)
    shapes = f"an input of shape {list(given[0].shape)}"
    if len(given) > 1:
        shapes = "inputs " + ", ".join(f"{port.name} {list(value.shape)} {port.dtype}" for port, value in ports)
    return InputError(
        f"model {spec.name!r} does not run on {shapes}: {first}",
        expected="an input that the module's forward takes",
        fix="give --input-shape (one sample, without time and batch), or time_input= in the ModelSpec",
    )

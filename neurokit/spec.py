"""What a model is before anything is done to it: how to build it and what it takes in."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from neurokit.errors import InputError
from neurokit.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

TimeOutput = Literal["auto", "sequence", "mean", "sum", "last"]
TimeInput = Literal["sequence", "image", "step"]


@dataclass(frozen=True)
class TensorSpec:
    """One input of a model, without its time and batch axes.

    Attributes:
        name: Name of the input in every lowered form.
        shape: Shape of one sample, for example (3, 224, 224).
        dtype: Numpy name of the element type.
        layout: One letter an axis, for example "CHW", "L" (length), "F" (features).
        low: Smallest value that a real input takes (for generated test inputs).
        high: Largest value that a real input takes.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str = "float32"
    layout: str = "CHW"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not all(isinstance(size, int) and size > 0 for size in self.shape):
            raise InputError(f"input {self.name!r} has shape {self.shape}", expected="positive whole numbers")


@dataclass(frozen=True)
class TaskSpec:
    """The kind of work that a model does (`neurokit.tasks`).

    Attributes:
        name: Name of a registered task.
        settings: Settings of the task, plain JSON values: names of classes, mean and deviation of the input.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class AppliedTransform:
    """A transform that a specification has been through.

    Attributes:
        name: Name of the transform.
        settings: All its settings, those that were left at their defaults included.
        notes: What it approximated or found out, one line each.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ModelSpec:
    """A model that was defined once: everything that lowering and simulation need to know.

    Attributes:
        name: Name in listings, manifests and reports.
        build: Returns the module, in evaluation mode, with freshly initialised or given weights.
        inputs: Inputs, each without time and batch axes.
        time_steps: Default number of time steps T of a spiking model, or None for a model without neurons.
        time_input: What the module's forward takes: "sequence" `[T, B, *shape]`; "image" `[B, *shape]`, which
            the module repeats T times itself; "step" `[B, *shape]`, one time step a call.
        time_output: What its output is over time: "sequence" `[T, B, ...]`, or the "mean", "sum" or "last"
            of the steps; "auto" finds out by trying.
        classes: Names of the output classes, if it classifies.
        description: One line for listings.
        source: Paper or project the architecture is from.
        options: Options of `build` that were chosen (they go into manifests).
        merge_reparameterised: If given, returns the module with its re-parameterised branches merged exactly
            into single convolutions; targets whose hardware needs spikes as operands ask for it.
        task: The kind of work it does: metrics, pre- and postprocessing. Default is classification for a model with
            classes, else None.
        transforms: What the specification has been through, in order (`neurokit.transforms`).
        example: If given, returns realistic inputs for (batch, time_steps, seed), `[T, B, *shape]` or
            `[B, *shape]` without time; else uniform values between the input's low and high are drawn.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...]
    time_steps: int | None = None
    time_input: TimeInput = "sequence"
    time_output: TimeOutput = "auto"
    classes: tuple[str, ...] = ()
    description: str = ""
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    merge_reparameterised: Callable[[nn.Module], nn.Module] | None = None
    task: TaskSpec | None = None
    transforms: tuple[AppliedTransform, ...] = ()
    example: Callable[[int, int, int], torch.Tensor] | None = None

    def __post_init__(self) -> None:
        if self.task is None and self.classes:
            object.__setattr__(self, "task", TaskSpec("classification", {"classes": list(self.classes)}))
        if self.time_steps is not None and self.time_steps < 1:
            raise InputError(f"model {self.name!r} has time_steps={self.time_steps}", expected="a whole number >= 1")
        if not self.inputs:
            raise InputError(f"model {self.name!r} has no inputs", expected="at least one TensorSpec")

    @property
    def spiking(self) -> bool:
        """Whether the model runs over time steps."""
        return self.time_steps is not None

    def sample_size(self) -> int:
        """Returns the number of elements of one sample of the first input."""
        return math.prod(self.inputs[0].shape)


MODELS: Registry[Callable[[], ModelSpec]] = Registry(
    "model", "neurokit.models", "neurokit.models", command="neurokit models"
)


def register_model(factory: Callable[[], ModelSpec]) -> Callable[[], ModelSpec]:
    """Registers a function without arguments that returns a `ModelSpec`, under the function's name."""
    return MODELS.add(factory.__name__, factory)

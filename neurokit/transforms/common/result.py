"""What a conversion returns: the spiking network's specification, and how near it comes to its source."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

from neurokit.capture.reference import example_input
from neurokit.errors import InputError
from neurokit.spec import ModelSpec
from neurokit.tasks.choice import agreement_of

SAMPLES = 16  # of the specification's example, where no calibration data are given


@dataclass(frozen=True)
class Converted:
    """A converted network, and how near it comes to its source on the calibration samples.

    Attributes:
        spec: The spiking network: an image in every step, the mean of the outputs.
        neurons: Number of ReLUs that were replaced.
        samples: Number of samples compared.
        error: Relative L2 error of the outputs after T steps.
        top1_agreement: Share of samples with the same strongest output, or None for a single output.
        notes: What was done to it.
    """

    spec: ModelSpec
    neurons: int
    samples: int
    error: float
    top1_agreement: float | None
    notes: tuple[str, ...] = ()

    @property
    def what(self) -> str:
        """What the network has become, in words."""
        return f"{self.neurons} ReLU layers as IF neurons"

    def summary(self) -> str:
        """Returns one line on how near it comes to its source."""
        same = "" if self.top1_agreement is None else f", top-1 agreement {self.top1_agreement:.0%}"
        return (
            f"{self.what} over {self.spec.time_steps} steps: output error "
            f"{self.error:.2g} (relative L2) against the network without spikes on {self.samples} samples{same}"
        )


class OverTime(nn.Module):
    """Runs a graph on every step of a sequence and takes the mean of its outputs.

    Args:
        net: A graph that takes `[T * B, *shape]` and the sequence itself, which its neurons read the sizes of.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """Maps `[T, B, *shape]` to outputs `[B, ...]`."""
        y: Tensor = self.net(x.flatten(0, 1), x)
        return y.unflatten(0, x.shape[:2]).mean(0)


def result(
    spec: ModelSpec, net: nn.Module, time_steps: int, x: Tensor, reference: Tensor, neurons: int, notes: list[str]
) -> Converted:
    """Runs a converted network beside its source and returns both as one result.

    Args:
        spec: The source.
        net: Takes sequences `[T, B, *shape]`.
        time_steps: T.
        x: Calibration inputs `[B, *shape]`.
        reference: The source's outputs.
        neurons: Number of layers of neurons.
        notes: What was done.
    """
    net.eval().requires_grad_(False)
    functional.reset_net(net)
    with torch.no_grad():
        found = net(x.unsqueeze(0).expand(time_steps, *x.shape))
    functional.reset_net(net)
    error, same = closeness(found, reference)
    return Converted(over_time(spec, net, time_steps), neurons, len(x), error, same, tuple(notes))


def closeness(found: Tensor, reference: Tensor) -> tuple[float, float | None]:
    """Returns the relative L2 error of outputs, and the top-1 agreement, or None where there is a single output.

    The scores of places `[B, classes, H, W]` are compared place by place.
    """
    same = agreement_of(found.numpy(), reference.numpy())
    return float((found - reference).norm() / reference.norm().clamp_min(1e-30)), same


def calibration_inputs(spec: ModelSpec, given: Tensor | None) -> Tensor:
    """Returns inputs `[B, *shape]` to calibrate on: those given, or the specification's example.

    Raises:
        InputError: If they do not fit the model.
    """
    x = example_input(spec, None, SAMPLES, 0) if given is None else given
    if tuple(x.shape[1:]) != tuple(spec.inputs[0].shape) or not len(x):
        sizes = ", ".join(map(str, spec.inputs[0].shape))
        raise InputError(f"inputs of shape {list(x.shape)}", expected=f"[B, {sizes}]")
    return x


def image_in_every_step(spec: ModelSpec) -> Callable[[int, int, int], Tensor]:
    """Returns the example inputs `[T, B, ...]` of a converted network: the source's images, in every step."""

    def example(batch: int, time_steps: int, seed: int) -> Tensor:
        image = example_input(spec, None, batch, seed)
        return image.unsqueeze(0).expand(time_steps, *image.shape).contiguous()

    return example


def over_time(spec: ModelSpec, net: nn.Module, steps: int) -> ModelSpec:
    """Returns the specification of a converted network: the source's, with an image in every step."""
    return ModelSpec(
        name=f"{spec.name}_spiking",
        build=lambda: copy.deepcopy(net),
        inputs=spec.inputs,
        time_steps=steps,
        time_input="sequence",
        time_output="mean",
        classes=spec.classes,
        task=spec.task,
        example=image_in_every_step(spec),
        description=f"{spec.name}, converted to IF neurons",
        source=spec.source,
        options=dict(spec.options),
        preprocess=spec.preprocess,
    )

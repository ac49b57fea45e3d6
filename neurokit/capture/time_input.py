"""Finds out, by small runs, what a module with spiking neurons takes over time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from spikingjelly.activation_based import functional
from torch import nn

from neurokit.capture.legacy import revive
from neurokit.errors import ModelLoadError
from neurokit.spec import TensorSpec, TimeInput

_NEURONS = "spikingjelly.activation_based.neuron"


def neurons_of(module: nn.Module) -> dict[str, nn.Module]:
    """Returns SpikingJelly's neurons in `module`, and classes derived from them, by module path."""
    return {
        name: layer
        for name, layer in module.named_modules()
        if any(cls.__module__.startswith(_NEURONS) for cls in type(layer).__mro__)
    }


def element_type(module: nn.Module) -> str:
    """Returns the numpy name of the module's floating type: that of its first floating parameter."""
    for parameter in module.parameters():
        if parameter.is_floating_point():
            return str(parameter.dtype).removeprefix("torch.")
    return "float32"


@dataclass
class _Trial:
    """What was seen while the module ran on one input: per neuron, the shape of its input at each call."""

    shapes: dict[str, list[tuple[int, ...]]] = field(default_factory=dict)
    error: str = ""

    def calls_are_multiples_of(self, count: int) -> bool:
        return all(len(shapes) % count == 0 for shapes in self.shapes.values())

    def first(self, axes: int) -> tuple[int, ...]:
        return next(iter(self.shapes.values()))[0][:axes]


def find_time_semantics(module: nn.Module, tensor: TensorSpec, steps: int, *, repeats: bool, ref: str) -> TimeInput:
    """Returns what the module's forward takes; see `ModelSpec.time_input`.

    A module fits "sequence" if `[T, B, *shape]` runs and its neurons see T steps, all at once (step mode 'm') or one
    a call ('s' inside a container); "step" if `[B, *shape]` runs and single-step neurons see the batch once;
    "image" if it has a whole-number attribute `T` and its neurons then see T steps of a `[B, *shape]`. A module that
    takes both a sequence and an image is one that takes a sequence: more can be done with it.

    Args:
        module: The module, in evaluation mode; it is copied.
        tensor: Its input.
        steps: Number of steps T of the trial.
        repeats: Whether the module has an attribute `T`, so that it may repeat an image itself.
        ref: What to call the model in messages.

    Raises:
        ModelLoadError: If it runs on neither.
    """
    batch = 2 if steps == 1 else 1  # another number than T, so that the axes can be told apart
    single = all(getattr(layer, "step_mode", "m") == "s" for layer in neurons_of(module).values())
    one = _try(module, (batch, *tensor.shape), tensor)
    if single and not one.error:
        if repeats and steps > 1 and one.calls_are_multiples_of(steps):
            return "image"
        if one.first(1) == (batch,):
            return "step"
    many = _try(module, (steps, batch, *tensor.shape), tensor)
    if not many.error and (
        many.first(2) == (steps, batch) or (many.first(1) == (batch,) and many.calls_are_multiples_of(steps))
    ):
        return "sequence"
    if repeats and not one.error and one.first(2) == (steps, batch):
        return "image"
    raise ModelLoadError(
        f"{ref}: it is unclear what the module takes over time: "
        f"[T={steps}, B={batch}, *{tensor.shape}] {_outcome(many)}; [B={batch}, *{tensor.shape}] {_outcome(one)}",
        expected="a forward over [T, B, ...], or over [B, ...] with single-step neurons or an attribute T",
        fix="check the input shape, or return a ModelSpec that states time_input",
    )


def _outcome(trial: _Trial) -> str:
    return f"raised {trial.error}" if trial.error else f"gave its first neuron a {next(iter(trial.shapes.values()))[0]}"


def _try(module: nn.Module, shape: tuple[int, ...], tensor: TensorSpec) -> _Trial:
    """Runs a copy of the module on random values and notes what its neurons are given."""
    trial = _Trial()
    module = revive(copy.deepcopy(module))
    for layer in module.modules():  # the user's hooks are not copied with it: they would see these runs
        layer._forward_hooks.clear()
        layer._forward_pre_hooks.clear()
    functional.reset_net(module)

    def note(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            trial.shapes.setdefault(name, []).append(tuple(inputs[0].shape))

        return hook

    for name, layer in neurons_of(module).items():
        layer.register_forward_pre_hook(note(name))
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator).to(device, getattr(torch, tensor.dtype))
    try:
        with torch.no_grad():
            module(x)
    except Exception as error:
        text = str(error).strip()
        trial.error = f"{type(error).__name__}: {text.splitlines()[0][:120] if text else 'no message'}"
    else:
        if not trial.shapes:
            trial.error = "nothing, but no neuron was called"
    return trial

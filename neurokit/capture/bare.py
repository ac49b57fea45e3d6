"""What is to be known of a bare module: its specification, from examples of its inputs and small runs."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence

import torch
from torch import nn

from neurokit.capture.attribute_state import mark_states
from neurokit.capture.handed_state import marked
from neurokit.capture.ordinary import hides_parts, ordinary_copy, uncompiled
from neurokit.capture.signature import Signature
from neurokit.capture.time_input import find_time_semantics, neurons_of, quiet_copy, steps_of_its_own, takes_one_step
from neurokit.capture.twin import Twin, private_copy
from neurokit.errors import InputError
from neurokit.spec import ONE_GRAPH, GraphSpec, ModelSpec, TensorSpec, TimeInput

Examples = torch.Tensor | Sequence[torch.Tensor] | Mapping[str, torch.Tensor]


def spec_of(module: nn.Module, example_inputs: Examples | None, time_steps: int | str | None = None) -> ModelSpec:
    """Returns a spec for a bare module and examples of its inputs."""
    given = _named_examples(module, example_inputs)
    first = next(iter(given.values()))
    single = len(given) == 1  # with several inputs nothing is tried out
    module = uncompiled(module)
    if hides_parts(module):
        module = ordinary_copy(module)
    module = _with_states_by_hand(module, first) if single else module
    timed = isinstance(time_steps, int) and not isinstance(time_steps, bool)
    net = private_copy(module)[0]
    graph = GraphSpec(ONE_GRAPH, tuple(TensorSpec(name, (1,)) for name in given))
    spiking = timed or bool(Twin(net, "none", Signature(graph, net)).slots)
    looped = _steps_of_an_image(module, first) if spiking and single and not timed else None
    axes = 1 if looped is not None or not spiking else 2
    for name, value in given.items():
        if value.dim() <= axes - 1 or min(value.shape, default=0) < 1:
            what = "example_inputs" if single else f"example input {name!r}"
            raise InputError(f"{what} has shape {list(value.shape)}", expected="[T, B, *shape]")
    tensors = tuple(_tensor_spec(name, value, axes) for name, value in given.items())
    steps = looped or (int(first.shape[0]) if spiking and not isinstance(time_steps, int) else time_steps)
    semantics: TimeInput = "image" if looped else "sequence"
    if single and not looped:
        semantics = _time_input(module, tensors[0], int(first.shape[0]))
        module = marked(module, tensors[0]) if semantics == "step" else module
    return ModelSpec(
        name=type(module).__name__,
        build=lambda: module,
        inputs=tensors,
        time_steps=steps if isinstance(steps, int) else None,
        time_input=semantics,
    )


def _with_states_by_hand(module: nn.Module, example_inputs: torch.Tensor) -> nn.Module:
    """Returns the module, or a copy in which the attributes that it keeps from call to call are marked as states."""
    shape = tuple(example_inputs.shape[2:])
    if not shape or neurons_of(module):
        return module
    try:
        marked = quiet_copy(module).eval()
    except Exception:  # what cannot be copied is refused further on, with its reason
        return module
    mark_states(marked, TensorSpec("x", shape, str(example_inputs.dtype).removeprefix("torch.")))
    return marked if neurons_of(marked) else module


def _steps_of_an_image(module: nn.Module, example_inputs: torch.Tensor) -> int | None:
    """Returns how many time steps a bare module makes of one image itself, or None if it takes steps."""
    neurons, shape = neurons_of(module).values(), tuple(example_inputs.shape[1:])
    if not shape or not neurons or not all(takes_one_step(part) for part in neurons):
        return None
    return steps_of_its_own(module, TensorSpec("x", shape, str(example_inputs.dtype).removeprefix("torch.")))


def _named_examples(module: nn.Module, given: Examples | None) -> dict[str, torch.Tensor]:
    """Returns examples by name: of several in a tuple, by the parameters of forward."""
    named = {"x": given} if isinstance(given, torch.Tensor) else given
    if isinstance(named, list | tuple):
        parameters = list(inspect.signature(module.forward).parameters)
        plain = len(parameters) >= len(named) and all(name.isidentifier() for name in parameters)
        named = dict(zip(parameters if plain else (f"x{i}" for i in range(len(named))), named, strict=False))
    if not isinstance(named, Mapping) or not named or not all(isinstance(v, torch.Tensor) for v in named.values()):
        raise InputError(
            "a bare module was given without example_inputs",
            expected="a tensor [T, B, *shape], or [B, *shape] without neurons; several in a tuple or a dict",
            fix="nk.capture(module, example_inputs=x), or describe it with nk.ModelSpec",
        )
    return dict(named)


def _tensor_spec(name: str, value: torch.Tensor, axes: int) -> TensorSpec:
    shape = tuple(int(size) for size in value.shape[axes:])
    dtype = str(value.dtype).removeprefix("torch.")
    low, high = float(value.min()), float(value.max())
    return TensorSpec(name, shape or ((1,) if name == "x" else ()), dtype, low=min(low, 0.0), high=max(high, 1.0))


def _time_input(module: nn.Module, tensor: TensorSpec, steps: int) -> TimeInput:
    """Returns what a bare module takes over time; one whose neurons are all single-step may take a step at a time.

    Such a module would run on a sequence too, with time taken for the batch, and keep no state from step to step.
    """
    neurons = neurons_of(module).values()
    if not neurons or not all(takes_one_step(part) for part in neurons):
        return "sequence"
    return find_time_semantics(module, tensor, steps, repeats=False, ref=type(module).__name__)

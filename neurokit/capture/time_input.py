"""Finds out, by small runs, what a module with spiking neurons takes over time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from spikingjelly.activation_based import functional
from torch import nn

from neurokit.capture.attribute_parts import anew
from neurokit.capture.cells import REST, STATES, cell_kind, library_of, step_mode_of
from neurokit.capture.legacy import steps_of_its_own_code
from neurokit.capture.ordinary import ordinary_copy
from neurokit.capture.raised import raised_at
from neurokit.capture.resets import acting_on
from neurokit.errors import InputError, ModelLoadError
from neurokit.spec import TensorSpec, TimeInput

_NEURONS = "spikingjelly.activation_based.neuron"
_SCALES = (1.0, 10.0, 100.0)  # of the inputs that look for a memory
_MANY = 16  # samples of them


def neurons_of(module: nn.Module) -> dict[str, nn.Module]:
    """Returns the neurons of SpikingJelly, snnTorch and norse in `module`, derived classes too, by module path.

    And those by hand that `attribute_state.mark_states` marked, or that say what a step is by SpikingJelly's memories.
    """
    return {
        name: layer
        for name, layer in module.named_modules()
        if any(cls.__module__.startswith(_NEURONS) for cls in type(layer).__mro__)
        or cell_kind(layer) is not None
        or steps_of_its_own_code(type(layer))
        or STATES in vars(layer)
    }


def takes_one_step(neuron: nn.Module) -> bool:
    """Returns whether a neuron is called once a time step with `[B, ...]`."""
    by_call = library_of(neuron) or STATES in vars(neuron)
    mode = step_mode_of(neuron) if by_call else getattr(neuron, "step_mode", "m")
    return bool(mode == "s")


def start_over(module: nn.Module) -> None:
    """Brings every neuron back to its initial state, those of other libraries too."""
    functional.reset_net(module)
    for layer in module.modules():
        for name, value in vars(layer).get(REST, {}).items():
            setattr(layer, name, anew(value))
        if library_of(layer) == "snntorch" and cell_kind(layer) is not None:
            for name, value in layer._buffers.items():
                if name in layer._non_persistent_buffers_set and value is not None:
                    layer._buffers[name] = value.new_zeros(0)  # the library makes it anew, of the input's shape


def quiet_copy(module: nn.Module) -> nn.Module:
    """Returns a copy for trials, in its initial state and without the user's hooks, which would see these runs."""
    module = ordinary_copy(module)
    for layer in module.modules():
        layer._forward_hooks.clear()
        layer._forward_pre_hooks.clear()
    start_over(module)
    return module


def steps_of_its_own(module: nn.Module, tensor: TensorSpec) -> int | None:
    """Returns how often a module runs its single-step neurons on one `[B, *shape]`, or None if that is no number > 1.

    Such a module repeats an image itself, in a loop in its forward.
    """
    if not all(takes_one_step(layer) for layer in neurons_of(module).values()):
        return None
    found: set[int] = set()
    for batch in (2, 3):
        trial = _try(module, (batch, *tensor.numbers), tensor)
        if trial.error or any(shape[:1] != (batch,) for shapes in trial.shapes.values() for shape in shapes):
            return None
        found |= {len(shapes) for shapes in trial.shapes.values()}
    return found.pop() if len(found) == 1 and max(found) > 1 else None


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
    raised: bool = False
    outputs: list[torch.Tensor] = field(default_factory=list)
    given: list[torch.Tensor] = field(default_factory=list)  # inputs of the neuron that was called first

    def calls_are_multiples_of(self, count: int) -> bool:
        return all(len(shapes) % count == 0 for shapes in self.shapes.values())

    def sees_steps(self, steps: int, batch: int) -> bool:
        """Returns whether every neuron is given all steps at once, or one a call."""
        return all(
            all(shape[:2] == (steps, batch) for shape in shapes)
            or (len(shapes) % steps == 0 and all(shape[:1] == (batch,) for shape in shapes))
            for shapes in self.shapes.values()
        )

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
    single = all(takes_one_step(layer) for layer in neurons_of(module).values())
    one = _try(module, (batch, *tensor.numbers), tensor)
    step = False
    if single and not one.error:
        if repeats and steps > 1 and one.calls_are_multiples_of(steps):
            return "image"
        step = one.first(1) == (batch,)
        if step and not _loops_over_samples(module, tensor):
            return "step"
    many = _try(module, (steps, batch, *tensor.numbers), tensor)
    if not many.error and (
        many.first(2) == (steps, batch)
        or (many.first(1) == (batch,) and many.calls_are_multiples_of(steps))
        or many.sees_steps(steps, batch)
    ):
        return "sequence"
    if repeats and not one.error and one.first(2) == (steps, batch):
        return "image"
    if step:
        return "step"
    if single and all(_one_a_call(module, tensor, steps, count) for count in (batch, batch + 2)):
        return "sequence"  # a loop that ends before the last step
    raise ModelLoadError(
        f"{ref}: it is unclear what the module takes over time: "
        f"[T={steps}, B={batch}, *{tensor.shape}] {_outcome(many)}; [B={batch}, *{tensor.shape}] {_outcome(one)}",
        expected="a forward over [T, B, ...], or over [B, ...] with single-step neurons or an attribute T",
        fix="check the input shape, or return a ModelSpec that states time_input",
    )


def _one_a_call(module: nn.Module, tensor: TensorSpec, steps: int, batch: int) -> bool:
    """Returns whether every neuron is given one step `[B, ...]` a call of a sequence, however many of them."""
    trial = _try(module, (steps, batch, *tensor.numbers), tensor)
    return not trial.error and all(shape[:1] == (batch,) for shapes in trial.shapes.values() for shape in shapes)


def _loops_over_samples(module: nn.Module, tensor: TensorSpec) -> bool:
    """Returns whether a forward runs over the first axis of `[B, *shape]`: it would take the samples for time steps."""
    counts = (2, 3)
    trials = [_try(module, (count, *tensor.numbers), tensor) for count in counts]
    if any(trial.error for trial in trials):
        return False
    calls = [{name: len(shapes) for name, shapes in trial.shapes.items()} for trial in trials]
    return all(trial.first(1) != (count,) for trial, count in zip(trials, counts, strict=True)) and calls[0] != calls[1]


def calls_differ(module: nn.Module, tensor: TensorSpec) -> bool:
    """Returns whether the first neuron is given another input at every call of one `[B, *shape]`.

    A module that repeats an image gives it the same; one that has its neuron at several places does not.
    """
    trial = _try(module, (2, *tensor.numbers), tensor)
    return not trial.error and any(not torch.equal(trial.given[0], later) for later in trial.given[1:])


def batch_first_outputs(module: nn.Module, tensor: TensorSpec, steps: int) -> list[bool] | None:
    """Returns, of a module that takes `[B, T, *shape]`, which of its outputs are `[B, T, ...]`; None if it does not.

    Args:
        module: The module, in evaluation mode; it is copied.
        tensor: Its input.
        steps: Number of steps T of the trial.
    """
    batch = 3 if steps == 2 else 2
    trial = _try(module, (batch, steps, *tensor.numbers), tensor)
    if trial.error:
        return None
    at_once = trial.first(2) == (steps, batch)
    one_by_one = trial.first(1) == (batch,) and steps > 1 and trial.calls_are_multiples_of(steps)
    if not (at_once or one_by_one):
        return None
    return [tuple(y.shape[:2]) == (batch, steps) for y in trial.outputs]


def steps_inside(module: nn.Module, tensor: TensorSpec) -> int | None:
    """Returns how many steps the multi-step neurons of a module see of one `[B, *shape]`, or None if they see one.

    Time is an axis of a sample, as of a signal `[B, C, T]` that the module brings to `[T, B, C]`, or the module repeats
    an image a number of times that is no attribute `T`.
    """
    seen = set()
    for batch in (2, 3):
        trial = _try(module, (batch, *tensor.numbers), tensor)
        first = () if trial.error else trial.first(2)
        if len(first) < 2 or first[1] != batch or first[0] < 2:
            return None
        seen.add(first[0])
    return seen.pop() if len(seen) == 1 else None


def calls_no_neuron(module: nn.Module, tensor: TensorSpec, steps: int | None) -> bool:
    """Returns whether a forward runs without any of the neurons that its module holds, as one with its own dynamics.

    Args:
        module: The module, in evaluation mode; it is copied.
        tensor: Its input.
        steps: Number of steps T of `[T, B, *shape]`, or None for `[B, *shape]`.
    """
    trial = _try(module, (*(() if steps is None else (steps,)), 2, *tensor.numbers), tensor)
    return not trial.raised and not trial.shapes


def check_takes_sequence(module: nn.Module, tensor: TensorSpec, steps: int, ref: str) -> None:
    """Refuses time steps for a module without known neurons, unless its forward runs over them.

    Args:
        module: The module, in evaluation mode; it is copied.
        tensor: Its input.
        steps: Number of steps T.
        ref: What to call the model in messages.

    Raises:
        InputError: If it does not take `[T, B, *shape]`, or gives every step the answer that the step alone has.
    """
    many = _try(module, (steps, 2, *tensor.numbers), tensor)
    if many.raised:
        raise InputError(
            f"{ref} has no neurons of SpikingJelly, snnTorch or norse, and its forward does not take a sequence "
            f"[T={steps}, B=2, *{tensor.shape}]: it raised {many.error}",
            fix="leave time_steps away, or let its forward take [T, B, ...]",
        )
    if steps > 1 and tensor.dtype.startswith(("float", "bfloat")) and _memoryless(module, tensor, steps):
        raise InputError(
            f"{ref} has no spiking neurons, and its answer at a time step is that of the step alone",
            fix="leave time_steps away",
        )


def answers_over_time(module: nn.Module, tensor: TensorSpec, steps: int) -> list[bool]:
    """Returns, of a module that is given `[B, T, *shape]`, which of its outputs are `[B, T, ...]`; [] if it fails."""
    batch = 3 if steps == 2 else 2
    trial = _try(module, (batch, steps, *tensor.numbers), tensor)
    return [] if trial.raised else [tuple(y.shape[:2]) == (batch, steps) for y in trial.outputs]


def _memoryless(module: nn.Module, tensor: TensorSpec, steps: int) -> bool:
    """Returns whether every step of a sequence has the answer of that step alone, on inputs weak and strong.

    Inputs of both signs and of several scales, so that neurons that are silent or fire always do not hide a membrane.
    """
    generator = torch.Generator().manual_seed(0)
    for scale in _SCALES:
        x = torch.randn((steps, _MANY, *tensor.numbers), generator=generator).to(getattr(torch, tensor.dtype)) * scale
        try:
            last = _answers(module, x[-1:])
        except Exception:  # its forward is written for T steps: what came before the last one is another instead
            last = _answers(module, torch.cat((x[:-1].flip(1), x[-1:])))
        whole = _answers(module, x)
        pairs = [(a[-1:], b) for a, b in zip(whole, last, strict=False) if a.dim() and a[-1:].shape == b.shape]
        if not pairs or not all(torch.allclose(a, b, rtol=1e-4, atol=1e-5 * scale) for a, b in pairs):
            return False
    return True


def _answers(module: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        leaves = torch.utils._pytree.tree_leaves(quiet_copy(module)(x))
    return [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]


def _outcome(trial: _Trial) -> str:
    return f"raised {trial.error}" if trial.error else f"gave its first neuron a {next(iter(trial.shapes.values()))[0]}"


def _try(module: nn.Module, shape: tuple[int, ...], tensor: TensorSpec) -> _Trial:
    """Runs a copy of the module on random values and notes what its neurons are given."""
    trial = _Trial()
    module = quiet_copy(module)

    def note(name: str) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        def hook(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            trial.shapes.setdefault(name, []).append(tuple(inputs[0].shape))
            if next(iter(trial.shapes)) == name:
                trial.given.append(inputs[0].detach().clone())

        return hook

    for name, layer in neurons_of(module).items():
        layer.register_forward_pre_hook(note(name))
    device = next((parameter.device for parameter in module.parameters()), torch.device("cpu"))
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(shape, generator=generator).to(device, getattr(torch, tensor.dtype))
    try:
        with torch.no_grad(), acting_on(module):
            leaves = torch.utils._pytree.tree_leaves(module(x))
            trial.outputs = [leaf for leaf in leaves if isinstance(leaf, torch.Tensor)]
    except Exception as error:
        text = str(error).strip()
        trial.error = f"{type(error).__name__}: {text.splitlines()[0][:120] if text else raised_at(error)}"
        trial.raised = True
    else:
        if not trial.shapes:
            trial.error = "nothing, but no neuron was called"
    return trial

"""From a model to its captured program, in float or in exact numerics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from neurokit.accepted import as_model
from neurokit.errors import InputError
from neurokit.stages import stage

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neurokit.capture import Captured
    from neurokit.data.labelled import Labelled
    from neurokit.exact import Exact
    from neurokit.spec import ModelSpec
    from neurokit.transforms import Step

_RANDOM = ("refuse", "input")


def capture(
    model: ModelSpec | nn.Module | str,
    example_inputs: torch.Tensor | None = None,
    *,
    time_steps: int | Literal["dynamic"] | None = None,
    batch: int | Literal["dynamic"] = "dynamic",
    merge: bool = False,
    transforms: Sequence[Step] = (),
    random: Literal["refuse", "input"] = "refuse",
) -> Captured:
    """Captures a model as one program in which every neuron takes and returns its state.

    Args:
        model: A spec, what `neurokit.load` takes, or a module together with `example_inputs`, which is left as it
            was found.
        example_inputs: For a bare module: `[T, B, *shape]` if it has neurons, else `[B, *shape]`.
        time_steps: T, or "dynamic"; default is the spec's.
        batch: A fixed batch size, or "dynamic".
        merge: Whether to merge re-parameterised branches (RepConv) into single convolutions.
        transforms: Transforms to apply to the spec before, in order: names, "NAME:KEY=VALUE,...", or pairs of a name
            and settings (`neurokit list transforms`).
        random: What becomes of random draws in the forward: "refuse", or "input" for an input of each (the transform
            `random_input`).

    Raises:
        UnsupportedError: If the model cannot be captured or transformed; lists every reason.
        InputError: If T or the batch size is no positive number, or the module does not take such inputs.
        ModelLoadError: If the module cannot be built or copied.
    """
    from neurokit.capture import capture as trace  # torch comes with it: verifying and running do without

    taken = as_model(model)
    steps = with_random(transforms, random)
    if steps:
        from neurokit.capture import spec_of
        from neurokit.spec import ModelSpec as IsSpec
        from neurokit.transforms import transform

        taken = taken if isinstance(taken, IsSpec) else spec_of(taken, example_inputs, time_steps)
        taken, example_inputs = transform(taken, steps), None
    with stage("capture"):
        return trace(taken, example_inputs, time_steps=time_steps, batch=batch, merge=merge, compare=True)


def with_random(transforms: Sequence[Step], random: str) -> list[Step]:
    """Returns the transforms that were asked for, with that of random draws first.

    Raises:
        InputError: If `random` is none of what may become of draws.
    """
    if random not in _RANDOM:
        raise InputError(f"random is {random!r}", expected="one of " + ", ".join(_RANDOM))
    return [*(["random_input"] if random == "input" else []), *transforms]


def exact(
    model: Captured | ModelSpec,
    calibration: torch.Tensor | Mapping[str, torch.Tensor] | None = None,
    *,
    bits: int = 8,
    search: bool | None = None,
) -> Exact:
    """Turns a model into its exact form: the same spikes on every target, bit for bit, with a proof.

    Args:
        model: A captured model, or a spec. Re-parameterised branches are merged.
        calibration: Inputs `[T, B, *shape]`, of several inputs by name; default is the spec's example.
        bits: Bits of a weight, 2 to 8.
        search: Whether to search for the rounding that keeps the sums; default is with calibration data.

    Raises:
        InputError: If the bits or the calibration data do not fit.
        UnsupportedError: If the model cannot be captured.
    """
    from neurokit.exact import exact as make

    return make(model, calibration, bits=bits, search=search)


def exact_finetune(
    model: Captured | ModelSpec,
    data: Labelled,
    calibration: torch.Tensor | None = None,
    *,
    bits: int = 4,
    **training: Any,
) -> Exact:
    """Turns a model into its exact form and trains it on its grid: for few bits, and what they lose.

    Args:
        model: A captured model, or a spec.
        data: Labelled training data (`neurokit.data.labelled.Labelled`): `[N, *shape]` or `[N, T, *shape]`, and `[N]`.
        calibration: Inputs `[T, B, *shape]`; default are the first 256 training samples.
        bits: Bits of a weight, 2 to 8.
        training: epochs (20), learning_rate (0.02, in units of a weight's grid), batch (64), seed (0).

    Raises:
        InputError: If bits, data or settings do not fit.
        UnsupportedError: If the model cannot be captured.
    """
    from neurokit.exact import exact_finetune as make

    return make(model, data, calibration, bits=bits, **training)

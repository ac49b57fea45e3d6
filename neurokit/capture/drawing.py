"""Random values for the ports of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from neurokit.feeds import with_draws
from neurokit.spec import ModelSpec, TensorSpec

if TYPE_CHECKING:
    from neurokit.capture.types import Captured


def random_values(port: TensorSpec, like: Tensor, spread: float | None, generator: torch.Generator) -> Tensor:
    """Returns numbers in a port's range, or normal ones of a spread; whole numbers and booleans stay in their range."""
    if port.distribution:
        return uniform(port, tuple(like.shape), generator)
    if spread is not None and like.is_floating_point():
        return torch.randn(like.shape, generator=generator, dtype=torch.float64) * spread
    if not like.is_floating_point():
        return uniform(port, tuple(like.shape), generator)
    return torch.rand(like.shape, generator=generator, dtype=torch.float64) * (port.high - port.low) + port.low


def uniform(port: TensorSpec, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    """Returns uniform values from a port's low to its high, whole numbers both ends included; of a draw its own."""
    dtype = getattr(torch, port.dtype)
    if port.distribution == "normal":
        return torch.randn(shape, generator=generator, dtype=torch.float64).to(dtype)
    if port.distribution == "uniform":  # a multiple of 2^-24, which float32 keeps below 1
        return (torch.rand(shape, generator=generator, dtype=torch.float32)).to(dtype)
    if dtype == torch.bool:
        return torch.rand(shape, generator=generator) < (port.low + port.high) / 2
    if not dtype.is_floating_point:
        return torch.randint(int(port.low), int(port.high) + 1, shape, generator=generator).to(dtype)
    values = torch.rand(shape, generator=generator, dtype=torch.float64)
    return (values * (port.high - port.low) + port.low).to(dtype)


def drawn_beside(captured: Captured, given: Any, seed: int = 0) -> Any:
    """Adds the random draws that data of many samples lack, as a runner would.

    Args:
        captured: What they are for.
        given: One tensor, or several by name, as the captured program takes them.
        seed: Of the draws.

    Returns:
        The data as they are where nothing is missing, else every input by its name.
    """
    if given is None or not any(port.distribution for port in captured.inputs):
        return given
    first = next(port.name for port in captured.inputs if not port.distribution)
    named = dict(given) if isinstance(given, Mapping) else {first: given}
    feeds = {name: np.asarray(value) for name, value in named.items()}
    made = with_draws(feeds, captured.inputs, np.random.default_rng(seed))
    return {name: named.get(name, torch.as_tensor(value)) for name, value in made.items()}


def completed(spec: ModelSpec, given: Any, steps: int | None, seed: int) -> Any:
    """Adds the random draws that a sample lacks.

    Args:
        spec: The model.
        given: One sample, `[T, 1, *shape]` or `[1, *shape]`, or several inputs by name.
        steps: T, or None.
        seed: Of the draws.

    Returns:
        The sample as it is, where nothing is missing, else its inputs by name, in the order of the ports.
    """
    drawn = [port for port in spec.inputs if port.distribution]
    if not drawn:
        return given
    first = next(port.name for port in spec.inputs if not port.distribution)
    named = dict(given) if isinstance(given, Mapping) else {first: given}
    lead = (1,) if steps is None or spec.time_input == "image" else (steps, 1)
    generator = torch.Generator().manual_seed(seed)
    for port in drawn:
        named.setdefault(port.name, uniform(port, (*lead, *port.numbers), generator))
    return {port.name: named[port.name] for port in spec.inputs if port.name in named}

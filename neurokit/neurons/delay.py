"""A delay line: every element comes out a whole number of time steps after it went in, zeros before."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import base
from torch import Tensor

from neurokit.neurons.sizes import refuse_shape

MOST_STEPS = 65_536
_CLOSE = 1e-6  # of a delay in steps: what float32 leaves of a whole number of them


def whole_steps(delay: np.ndarray, dt: float) -> np.ndarray:
    """Returns delays in time steps.

    Args:
        delay: Seconds, of any shape.
        dt: Seconds a time step.

    Raises:
        ValueError: If one is negative, no whole number of steps, or longer than a delay line may be.
    """
    steps = np.asarray(delay, dtype=np.float64) / dt
    near = np.round(steps)
    odd = (np.abs(steps - near) > _CLOSE * np.maximum(1.0, near)) | (near < 0) | (near > MOST_STEPS)
    if odd.any():
        at = int(np.argmax(odd.reshape(-1)))
        seconds, exact = float(np.ravel(delay)[at]), float(steps.reshape(-1)[at])
        raise ValueError(f"delays by {seconds:g} s, which is {exact:g} time steps of {dt:g} s")
    return near.astype(np.int64)


class Delay(base.MemoryModule):  # type: ignore[misc]
    """Gives x[t - steps] of `[T, B, *shape]`; its state is the line of the last D inputs, `[D, B, *shape]`.

    Args:
        steps: Time steps, one number or one an element of a sample; D is the largest.
        kept: Steps that a loop around it adds to each, of which it is the state.

    Raises:
        ValueError: If the line would hold more numbers than anything but a bomb makes.
    """

    def __init__(self, steps: np.ndarray | int, kept: int = 0) -> None:
        super().__init__()
        array = np.asarray(steps, dtype=np.int64)
        if (array < 0).any():
            raise ValueError(f"delays by {array.min()} steps")
        self.kept = kept
        self.longest = int(array.max(initial=0))
        refuse_shape((self.longest, max(1, math.prod(array.shape))))
        uniform = bool((array == self.longest).all())
        self.register_buffer("steps", torch.from_numpy(array.reshape(()) if array.size == 1 else array.copy()))
        self.uniform = uniform
        self.register_memory("line", 0.0)
        self.step_mode = "m"

    def materialize_states(self, inputs: Any, states: Any, step_mode: str) -> tuple[Any, ...]:
        """Turns the initial number into an empty line for the input's shape."""
        x = inputs[0] if step_mode == "s" else inputs[0][0]
        return tuple(x.new_full((self.longest, *x.shape), v) if isinstance(v, float) else v for v in states)

    def multi_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Runs a sequence `[T, B, *shape]` from the given line."""
        x_seq = inputs[0]
        (line,) = self.materialize_states(inputs, states, "m")
        count, whole = x_seq.shape[0], torch.cat((line, x_seq))
        if self.uniform:
            return (whole[:count],), (whole[count:],)
        now = torch.arange(count, device=x_seq.device).reshape(-1, *[1] * (x_seq.dim() - 1))
        at = (now + self.longest - self.steps).expand(x_seq.shape)
        return (whole.gather(0, at),), (whole[count:],)

    def single_step_functional_forward(
        self, inputs: tuple[Any, ...], states: tuple[Any, ...], **kwargs: Any
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Runs one step `[B, *shape]` from the given line."""
        (y,), states = self.multi_step_functional_forward((inputs[0].unsqueeze(0),), states)
        return (y.squeeze(0),), states

    def single_step_forward(self, x: Tensor) -> Tensor:
        """Runs one step `[B, *shape]` from the module's own line."""
        return self.multi_step_forward(x.unsqueeze(0)).squeeze(0)

    def multi_step_forward(self, x_seq: Tensor) -> Tensor:
        """Runs a sequence `[T, B, *shape]` from the module's own line."""
        (y,), (self._memories["line"],) = self.multi_step_functional_forward((x_seq,), (self._memories["line"],))
        return y

    def extra_repr(self) -> str:
        """Returns what `print` shows of it."""
        return f"up to {self.longest} steps"

"""The layers of the conversion: an activation of L levels, and the neurons that take its place."""

from __future__ import annotations

import torch
from spikingjelly.activation_based import neuron, surrogate
from torch import Tensor, nn

from neurokit.transforms.common.graph import as_channels


class QCFS(nn.Module):
    """Quantisation, clip, floor and shift: an activation with the levels that T = L steps of spikes can have.

    `y = s / L * clip(floor(x L / s + 1/2), 0, L)` with a learnt scale s (Bu et al., ICLR 2022, equation 14, with a
    shift of one half). Backward the floor counts as the identity, so that s gets the gradient of their equation 15.

    Args:
        scale: What L levels stand for, `[C]` or `[1]`, positive.
        levels: L.
    """

    def __init__(self, scale: Tensor, levels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale.detach().clone())
        self.levels = levels

    def forward(self, x: Tensor) -> Tensor:
        """Maps currents `[B, C, ...]` to levels, elementwise."""
        scale = as_channels(self.scale, x)
        share = (x / scale).clamp(0.0, 1.0)
        level = torch.floor(share.detach() * self.levels + 0.5) / self.levels
        return (share + (level - share).detach()) * scale


class Spikes(nn.Module):
    """IF neurons in the place of a `QCFS`: their mean over T steps stands for its value.

    The reset subtracts the threshold, and the membrane begins at half of it, which is the shift of one half.

    Args:
        scale: What a spike in every step stands for, `[C]` or `[1]`.
        threshold: Threshold of the neurons.
        learnt: Whether the scale is trained, with currents divided by it and spikes multiplied; otherwise currents
            and spikes are what they are, and the weights around the neurons have the scale in them.
    """

    def __init__(self, scale: Tensor, threshold: float = 1.0, *, learnt: bool = True) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale.detach().clone()) if learnt else None
        self.spikes = neuron.IFNode(
            v_threshold=threshold, v_reset=None, surrogate_function=surrogate.ATan(), detach_reset=True, step_mode="m"
        )
        self.set_threshold(threshold)

    def set_threshold(self, threshold: float) -> None:
        """Sets the threshold, and the membrane to begin at half of it."""
        self.spikes.v_threshold = threshold
        self.spikes.set_reset_value("v", threshold / 2)
        self.spikes.reset()

    def forward(self, x: Tensor, sequence: Tensor) -> Tensor:
        """Maps currents to spikes.

        Args:
            x: Currents `[T * B, C, ...]`.
            sequence: A tensor `[T, B, ...]`, for its first two sizes.
        """
        steps = sequence.shape[:2]
        if self.scale is None:
            return self.spikes(x.unflatten(0, steps)).flatten(0, 1)
        scale = as_channels(self.scale, x)
        return self.spikes((x / scale).unflatten(0, steps)).flatten(0, 1) * scale

"""A small convolutional spiking network for handwritten digits, trainable on a CPU in under a minute."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.spec import ModelSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SHAPE = (1, 8, 8)
TIME_STEPS = 4


@register_model
def spiking_cnn() -> ModelSpec:
    """Three convolutions with LIF neurons and a linear read-out; `neurokit.data.digits.train_digits` trains it."""
    return ModelSpec(
        name="spiking_cnn",
        build=_build,
        inputs=(TensorSpec("digit", SHAPE),),
        time_steps=TIME_STEPS,
        time_input="sequence",
        time_output="mean",
        classes=tuple("0123456789"),
        description="small spiking network, 8x8 digits",
        source="neurokit",
        example=_example,
    )


def _build() -> nn.Module:
    from neurokit.models.common.untrained import build_untrained
    from neurokit.models.spiking_cnn.net import SpikingCNN

    return build_untrained(SpikingCNN, _example(32, TIME_STEPS, 0))


def _example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
    from neurokit.data.synthetic import repeated_images

    # Brightness between 0 and 1, as the digits have.
    return (0.3 + 0.4 * repeated_images(batch, time_steps, seed, SHAPE)).clamp(0, 1)

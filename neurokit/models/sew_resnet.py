"""Spike-element-wise ResNets as SpikingJelly ships them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.models.common.ports import imagenet_image
from neurokit.spec import ModelSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SHAPE = (3, 224, 224)
TIME_STEPS = 4


@register_model
def sew_resnet18() -> ModelSpec:
    """SEW-ResNet-18: IF neurons, spikes added at the shortcuts (so up to several spikes a step there)."""
    return _spec("sew_resnet18", (2, 2, 2, 2), 1000, SHAPE)


def sew_resnet_small() -> ModelSpec:
    """One block a stage, for images of 64 x 64: 12 neurons instead of 20."""
    return _spec("sew_resnet_small", (1, 1, 1, 1), 10, (3, 64, 64))


def _spec(name: str, blocks: tuple[int, int, int, int], classes: int, shape: tuple[int, int, int]) -> ModelSpec:
    def build() -> nn.Module:
        from spikingjelly.activation_based import functional, neuron
        from spikingjelly.activation_based.model.sew_resnet import BasicBlock, SEWResNet

        from neurokit.data.synthetic import repeated_images
        from neurokit.models.common.untrained import build_untrained

        def make() -> nn.Module:
            module: nn.Module = SEWResNet(
                BasicBlock, list(blocks), num_classes=classes, cnf="ADD", spiking_neuron=neuron.IFNode
            )
            functional.set_step_mode(module, "m")
            return module

        # Untrained weights fire plausibly only with statistics to match; a small input is enough for those.
        return build_untrained(make, repeated_images(2, TIME_STEPS, 0, (3, 64, 64)))

    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        from neurokit.data.synthetic import repeated_images

        return repeated_images(batch, time_steps, seed, shape)

    return ModelSpec(
        name=name,
        build=build,
        inputs=(imagenet_image(shape),),
        time_steps=TIME_STEPS,
        time_input="sequence",
        time_output="sequence",
        description="spiking residual network, ImageNet classes",
        source="Fang et al., Deep Residual Learning in Spiking Neural Networks, NeurIPS 2021; SpikingJelly",
        options={"neuron": "IF", "connection": "ADD"},
        example=example,
        small=sew_resnet_small,
    )

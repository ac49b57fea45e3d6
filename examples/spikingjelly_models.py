"""SpikingJelly models outside the zoo, each with a small twin of fewer blocks for quick runs.

    neurokit export examples/spikingjelly_models.py:ms_resnet18 --target onnx --out build/ms_resnet18

The weights are random; batch statistics are set so that 5 to 30 % of the neurons fire, as in trained networks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from spikingjelly.activation_based import functional, layer, neuron
from spikingjelly.activation_based.model import (
    ms_resnet,
    qkformer,
    spike_driven_transformer,
    spikformer,
    spiking_vgg,
)
from torch import nn

from neurokit.data.synthetic import repeated_images
from neurokit.models.common.untrained import build_untrained
from neurokit.spec import ModelSpec, TensorSpec

TIME_STEPS = 4
SMALL_CLASSES = 10


def _spec(
    name: str,
    size: int,
    module: Callable[[], nn.Module],
    time_output: Literal["sequence", "mean"],
    scale: float | None = None,
) -> ModelSpec:
    """Returns the spec of a model that takes `[T, B, 3, size, size]`.

    The transformers want a larger scale of their normalisations, or random queries and keys never meet.
    """
    shape = (3, size, size)

    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        return repeated_images(batch, time_steps, seed, shape)

    def build() -> nn.Module:
        return build_untrained(module, example(2, TIME_STEPS, seed=0), scale)

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("image", shape, low=-2.118, high=2.640),),
        time_steps=TIME_STEPS,
        time_input="sequence",
        time_output=time_output,
        description="SpikingJelly model with random weights",
        source="SpikingJelly 2.0.0",
        example=example,
    )


# Spiking VGG-11: IF neurons, pooled spikes; logits at every step.
def spiking_vgg11_bn() -> ModelSpec:
    return _spec("spiking_vgg11_bn", 224, _vgg, "sequence")


def spiking_vgg11_bn_small() -> ModelSpec:
    return _spec("spiking_vgg11_bn_small", 32, _vgg_small, "sequence")


def _vgg() -> nn.Module:
    module = spiking_vgg.spiking_vgg11_bn(pretrained=False, norm_layer=layer.BatchNorm2d, spiking_neuron=neuron.IFNode)
    functional.set_step_mode(module, "m")
    return module


def _vgg_small() -> nn.Module:
    """The convolutions with the single linear layer that is usual for 32x32 images: 9 instead of 133 M parameters."""
    module = spiking_vgg.SpikingVGG(
        spiking_vgg.cfgs["A"],
        batch_norm=True,
        norm_layer=layer.BatchNorm2d,
        spiking_neuron=neuron.IFNode,
        init_weights=False,
    )
    module.avgpool = layer.AdaptiveAvgPool2d((1, 1))
    module.classifier = nn.Sequential(layer.Linear(512, SMALL_CLASSES))
    module._initialize_weights()
    functional.set_step_mode(module, "m")
    return module


# MS-ResNet-18: LIF neurons, membrane shortcuts; logits averaged over time.
def ms_resnet18() -> ModelSpec:
    return _spec("ms_resnet18", 224, lambda: ms_resnet.ms_resnet18(T=TIME_STEPS), "mean")


def ms_resnet18_small() -> ModelSpec:
    return _spec(
        "ms_resnet18_small",
        64,
        lambda: ms_resnet.MSResNet(TIME_STEPS, 3, SMALL_CLASSES, layers=(1, 1, 1, 1), base_channels=32),
        "mean",
    )


# Spikformer-Ti: spiking self-attention without softmax; logits at every step.
def spikformer_ti() -> ModelSpec:
    return _spec("spikformer_ti", 224, lambda: spikformer.spikformer_ti(T=TIME_STEPS), "sequence", 1.5)


def spikformer_ti_small() -> ModelSpec:
    return _spec(
        "spikformer_ti_small",
        64,
        lambda: spikformer.Spikformer(TIME_STEPS, 3, 64, 64, num_classes=SMALL_CLASSES, depths=2),
        "sequence",
        1.8,
    )


# QKFormer-10-384: query-key attention in two stages, spiking self-attention in the third.
def qkformer_10_384() -> ModelSpec:
    return _spec("qkformer_10_384", 224, lambda: qkformer.qkformer_10_384(T=TIME_STEPS), "mean", 1.5)


def qkformer_10_384_small() -> ModelSpec:
    return _spec(
        "qkformer_10_384_small",
        64,
        lambda: qkformer.QKFormer(TIME_STEPS, 3, SMALL_CLASSES, num_heads=(6, 6, 6), depths=(1, 1, 1)),
        "mean",
        1.8,
    )


# Spike-driven Transformer V1 (SDT 8-384): attention by masks and additions.
def sdt_8_384() -> ModelSpec:
    return _spec("sdt_8_384", 224, lambda: spike_driven_transformer.sdt_8_384(T=TIME_STEPS), "mean", 1.5)


def sdt_8_384_small() -> ModelSpec:
    return _spec(
        "sdt_8_384_small",
        64,
        lambda: spike_driven_transformer.SpikeDrivenTransformer(TIME_STEPS, 3, SMALL_CLASSES, depths=2),
        "mean",
        1.5,
    )

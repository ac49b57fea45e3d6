"""Spiking classifiers of hand-shadow puppets for direct training: MobileNetV2, SEW-ResNet-34 and MS-ResNet-34."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from neurokit.data.puppets.names import CLASSES
from neurokit.pretrained import Pretrained
from neurokit.spec import ModelSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

TIME_STEPS = 4
SIZE, SMALL = 64, 32
_MOBILENET = "Sandler et al., MobileNetV2, CVPR 2018, with LIF neurons for its ReLU6"
_SEW = "Fang et al., Deep Residual Learning in Spiking Neural Networks, NeurIPS 2021; SpikingJelly"
_MS = "Hu et al., Advancing Spiking Neural Networks Towards Deep Residual Learning, TNNLS 2024; SpikingJelly"
_SMALL_STAGES = ((1, 8, 1, 1), (6, 8, 2, 2), (6, 16, 1, 2))  # expansion, width, blocks, stride


@register_model
def puppets_spiking_mobilenet_v2() -> ModelSpec:
    """MobileNetV2 of width 0.35 with LIF neurons; its shortcuts carry membranes' currents, as its bottlenecks do."""
    return _spec("puppets_spiking_mobilenet_v2", _MOBILENET, SIZE, partial(_mobilenet, None), small_spiking_mobilenet)


@register_model
def puppets_sew_resnet34() -> ModelSpec:
    """SEW-ResNet-34 with IF neurons, spikes added at the shortcuts."""
    return _spec("puppets_sew_resnet34", _SEW, SIZE, partial(_sew, (3, 4, 6, 3)), small_spiking_mobilenet)


@register_model
def puppets_ms_resnet34() -> ModelSpec:
    """MS-ResNet-34 with LIF neurons and an eighth of its published width; membranes' currents at the shortcuts.

    Its pretrained weights are from `benchmarks/puppets_training.py`: synthetic puppets, 60 epochs on one H200,
    with the surrogate gradient of SpikingJelly's network (Rect, where this one has ATan).
    """
    from neurokit.models.common.pretrained import load_shipped

    spec = _spec("puppets_ms_resnet34", _MS, SIZE, partial(_ms, (3, 4, 6, 3), 8), small_ms_resnet)
    path = Path(__file__).parent / f"{spec.name}.safetensors"
    return replace(spec, pretrained=Pretrained(partial(load_shipped, path=path)))


def small_spiking_mobilenet() -> ModelSpec:
    """Four of MobileNetV2's seventeen blocks. It stands for SEW-ResNet-34 too: `sew_resnet18` has SEW's own twin."""
    make = partial(_mobilenet, _SMALL_STAGES)
    return _spec("puppets_spiking_mobilenet_small", _MOBILENET, SMALL, make, small_spiking_mobilenet)


def small_ms_resnet() -> ModelSpec:
    """One block a stage."""
    return _spec("puppets_ms_resnet_small", _MS, SMALL, partial(_ms, (1, 1, 1, 1), 4), small_ms_resnet)


def _mobilenet(stages: tuple[tuple[int, ...], ...] | None) -> nn.Module:
    from neurokit.models.spiking_puppets.net import SpikingMobileNetV2

    return SpikingMobileNetV2(len(CLASSES), 0.35, stages)


def _sew(blocks: tuple[int, ...]) -> nn.Module:
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.model.sew_resnet import BasicBlock, SEWResNet

    net = SEWResNet(BasicBlock, list(blocks), num_classes=len(CLASSES), cnf="ADD", spiking_neuron=neuron.IFNode)
    net.conv1 = layer.Conv2d(1, 64, 7, stride=2, padding=3, bias=False)  # a shadow has no colours
    functional.set_step_mode(net, "m")
    return net


def _ms(blocks: tuple[int, ...], channels: int) -> nn.Module:
    from spikingjelly.activation_based import neuron, surrogate
    from spikingjelly.activation_based.model.ms_resnet import MSResNet

    net = MSResNet(TIME_STEPS, 1, len(CLASSES), blocks, base_channels=channels, tau=2.0)
    for part in net.modules():
        if isinstance(part, neuron.BaseNode):  # its own, Rect, has no fused kernel and no gradient in captured programs
            part.surrogate_function = surrogate.ATan()
    return net


def _spec(
    name: str, source: str, size: int, make: Callable[[], nn.Module], small: Callable[[], ModelSpec]
) -> ModelSpec:
    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        from neurokit.data.puppets.pictures import pictures

        return pictures(batch, size, seed).unsqueeze(0).repeat(time_steps, 1, 1, 1, 1)

    def build() -> nn.Module:
        from neurokit.models.common.silhouette import Silhouette
        from neurokit.models.common.untrained import build_untrained
        from neurokit.models.spiking_puppets.net import SequenceOfShadows

        def made() -> nn.Module:
            return SequenceOfShadows(Silhouette(size, (1.0,), (-1.0,)), make())

        return build_untrained(made, example(4, TIME_STEPS, 0))

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("image", (1, size, size), "uint8", high=255, meaning="brightness of a grey picture"),),
        time_steps=TIME_STEPS,
        time_input="sequence",
        time_output="mean",
        classes=CLASSES,
        description=f"spiking classifier of hand-shadow puppets from grey bytes, {size} x {size}",
        source=source,
        example=example,
        small=small,
    )

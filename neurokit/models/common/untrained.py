"""Realistic activity for a network without trained weights: batch statistics from one pass over given inputs."""

from __future__ import annotations

from collections.abc import Callable

import torch
from spikingjelly.activation_based import base, functional
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


def calibrate_batch_norm(module: nn.Module, inputs: torch.Tensor, scale: float | None = None) -> nn.Module:
    """Sets the running statistics of every batch normalisation to those of one pass over `inputs`.

    A spiking network with random weights and untouched statistics often stays silent, and a silent network passes any
    comparison. Afterwards each normalised current has zero mean and, with the usual scale of 1, unit variance, so
    neurons fire at a plausible rate.

    Args:
        module: The network; changed in place. Only batch normalisations are in training mode during the pass.
        inputs: What its forward takes, for example `[T, B, C, H, W]`; at least two values a channel.
        scale: Standard deviation that every normalisation is made to give (its learnt weight), or None to leave it:
            the stronger the currents against the threshold, the more spikes.

    Returns:
        `module`, with modes and momenta as they were and all neurons reset.
    """
    norms = [layer for layer in module.modules() if isinstance(layer, _BatchNorm) and layer.track_running_stats]
    if not norms:  # a pass would change nothing, and takes a minute of swin_unetr
        functional.reset_net(module)
        return module
    training = {part: part.training for part in module.modules()}
    momenta = [layer.momentum for layer in norms]
    module.eval()
    try:
        for layer in norms:
            if scale is not None and layer.affine:
                nn.init.constant_(layer.weight, scale)
            layer.reset_running_stats()
            layer.momentum = None  # cumulative average: the statistics of this pass alone
            layer.train()
        functional.reset_net(module)
        with torch.no_grad():
            module(inputs)
    finally:
        for layer, momentum in zip(norms, momenta, strict=True):
            layer.momentum = momentum
        for part, mode in training.items():
            part.training = mode
        functional.reset_net(module)
    return module


def build_untrained(make: Callable[[], nn.Module], inputs: torch.Tensor, scale: float | None = None) -> nn.Module:
    """Returns a network with random weights that are the same every time, in evaluation mode and calibrated.

    Two exports of one untrained model are then equal, and measurements can be repeated. torch's own generator is left
    alone.

    Args:
        make: Constructs the network on the CPU.
        inputs: What its forward takes, for `calibrate_batch_norm`.
        scale: As for `calibrate_batch_norm`.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        module = make().eval()
    return calibrate_batch_norm(module, inputs, scale)


def firing_rates(module: nn.Module, inputs: torch.Tensor) -> dict[str, float]:
    """Returns the share of ones in the output of every spiking neuron, by module path, over one pass.

    Neurons are reset before and after; a neuron that is called several times has its calls averaged by size.
    """
    spikes: dict[str, list[float]] = {}

    def record(name: str) -> Callable[[nn.Module, object, torch.Tensor], None]:
        def hook(_module: nn.Module, _inputs: object, output: torch.Tensor) -> None:
            total = spikes.setdefault(name, [0.0, 0.0])
            total[0] += float(output.detach().double().sum())
            total[1] += output.numel()

        return hook

    hooks = [
        layer.register_forward_hook(record(name))
        for name, layer in module.named_modules()
        if isinstance(layer, base.MemoryModule) and hasattr(layer, "v_threshold")
    ]
    try:
        functional.reset_net(module)
        with torch.no_grad():
            module(inputs)
    finally:
        for hook in hooks:
            hook.remove()
        functional.reset_net(module)
    return {name: count / size for name, (count, size) in spikes.items()}

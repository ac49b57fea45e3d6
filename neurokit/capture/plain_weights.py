"""Weights that are computed from others (weight_norm, spectral_norm, orthogonal, pruned, the user's own), as they are.

What they are computed from is not needed any more, and a program would compute them again in every run, by operations
that targets need not have: the QR of an orthogonal weight is none of ONNX's.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.nn.utils import parametrize, prune, remove_spectral_norm, remove_weight_norm
from torch.nn.utils.spectral_norm import SpectralNorm
from torch.nn.utils.weight_norm import WeightNorm


def plain_weights(module: nn.Module) -> nn.Module:
    """Puts the value of every computed weight in its place; one that two calls make differently stays computed.

    Args:
        module: A copy in evaluation mode; changed in place.
    """
    with torch.no_grad():
        for part in list(module.modules()):
            _settle_hooks(part)
            if parametrize.is_parametrized(part):
                _settle_parametrizations(part)
    return module


def _settle_hooks(part: nn.Module) -> None:
    """Settles weights of the functions of torch before parametrizations."""
    for hook in list(part._forward_pre_hooks.values()):
        if isinstance(hook, prune.BasePruningMethod):
            prune.remove(part, hook._tensor_name)
        elif isinstance(hook, WeightNorm):
            remove_weight_norm(part, hook.name)
        elif isinstance(hook, SpectralNorm):
            remove_spectral_norm(part, hook.name)


def _settle_parametrizations(part: nn.Module) -> None:
    """Settles weights of torch.nn.utils.parametrize, all of a module or none.

    Not by remove_parametrizations: it takes them from the class, which a copy shares with the user's module, and writes
    over the tensor that they are computed from, which may be another part's weight.
    """
    named: nn.ModuleDict = part.parametrizations  # type: ignore[assignment]
    values = {name: getattr(part, name).clone() for name in named}
    if not all(torch.equal(value, getattr(part, name)) for name, value in values.items()):
        return
    learnt = {name: bool(list(named[name].parameters(recurse=False))) for name in named}
    before = parametrize.type_before_parametrizations(part)
    del part.parametrizations
    part.__class__ = before
    for name, value in values.items():
        if learnt[name]:
            part.register_parameter(name, nn.Parameter(value, requires_grad=value.is_floating_point()))
        else:
            part.register_buffer(name, value)

"""Runs SpikingJelly's IF, LIF and PLIF neurons on the fused kernel, in place and reversibly."""

from __future__ import annotations

import functools
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.kernels.dispatch import log_once
from neurokit.kernels.lif.op import lif

_SURROGATES = {"Sigmoid": "sigmoid", "ATan": "atan", "PiecewiseQuadratic": "triangle"}
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)


def _obstacle(node: Any, x: Tensor) -> str:
    """Returns why a neuron's call cannot take the fused kernel, or ""."""
    surrogate = node.surrogate_function
    if type(surrogate).__name__ not in _SURROGATES or not getattr(surrogate, "spiking", True):
        return f"surrogate {type(surrogate).__name__} has no fused gradient"
    if node.store_v_seq:
        return "store_v_seq asks for every membrane"
    if getattr(node, "_neuron_precision", None) is not None:
        return "an explicit precision is set"
    if x.dtype not in _DTYPES or x.dim() < 2 or x.shape[0] == 0:
        return f"input {x.dtype} of shape {tuple(x.shape)}"
    return ""


def _run(node: Any, x: Tensor, parameters: dict[str, Any]) -> Tensor:
    """One multi-step call on the kernel; the last membrane becomes the node's state."""
    (v,) = node.materialize_states((x,), tuple(node._memories.values()), "m")
    spikes, last, _ = lif(
        x,
        v.to(torch.float32),
        threshold=float(node.v_threshold),
        v_reset=None if node.v_reset is None else float(node.v_reset),
        surrogate=_SURROGATES[type(node.surrogate_function).__name__],
        alpha=float(node.surrogate_function.alpha),
        detach_reset=node.detach_reset,
        **parameters,
    )
    node._memories["v"] = last
    return spikes


def _if_parameters(node: Any) -> dict[str, Any]:
    return {"tau": None}


def _lif_parameters(node: Any) -> dict[str, Any]:
    return {"tau": float(node.tau), "decay_input": node.decay_input}


def _plif_parameters(node: Any) -> dict[str, Any]:
    return {"decay": node.w.float().sigmoid(), "decay_input": node.decay_input}


@functools.cache
def _classes() -> dict[type, type]:
    """Returns SpikingJelly's classes and their fused subclasses."""
    from spikingjelly.activation_based import neuron

    def fuse(base: Any, parameters: Any) -> type:
        def multi_step_forward(self: Any, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
            obstacle = _obstacle(self, x_seq) or ("further arguments are given" if args or kwargs else "")
            if obstacle:
                log_once(base.__name__, f"SpikingJelly's own path, because {obstacle}")
                return base.multi_step_forward(self, x_seq, *args, **kwargs)
            return _run(self, x_seq, parameters(self))

        body = {"multi_step_forward": multi_step_forward, "__doc__": f"{base.__name__} on the fused kernel."}
        return type(f"Fused{base.__name__}", (base,), body)

    return {
        neuron.IFNode: fuse(neuron.IFNode, _if_parameters),
        neuron.LIFNode: fuse(neuron.LIFNode, _lif_parameters),
        neuron.ParametricLIFNode: fuse(neuron.ParametricLIFNode, _plif_parameters),
    }


def patch(model: nn.Module) -> nn.Module:
    """Makes every IFNode, LIFNode and ParametricLIFNode of a model run on the fused kernel, where it can.

    The modules stay the same objects, with their parameters, states and hooks: only their class changes, so
    `state_dict`, `reset_net` and references elsewhere keep working. Subclasses of the three are left alone. A call the
    kernel cannot serve (single-step mode, another surrogate, `store_v_seq`) takes SpikingJelly's own path.

    Args:
        model: A module with SpikingJelly neurons; changed in place.

    Returns:
        `model`.
    """
    classes = _classes()
    for module in model.modules():
        if type(module) in classes:
            module.__class__ = classes[type(module)]
    return model


def unpatch(model: nn.Module) -> nn.Module:
    """Undoes `patch`, in place; returns `model`."""
    originals = {fused: base for base, fused in _classes().items()}
    for module in model.modules():
        if type(module) in originals:
            module.__class__ = originals[type(module)]
    return model

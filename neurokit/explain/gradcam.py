"""Grad-CAM: which places of a feature map raise a class's score; of a spiking network at every time step."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.explain.maps import Tapped


@dataclass(frozen=True)
class Cam:
    """Where a network looks, before any scaling.

    Attributes:
        total: `[B, h, w]`, >= 0: the ReLU of the sum over the time steps.
        over_time: `[B, T, h, w]`, with sign: what every time step adds; T = 1 without time.
    """

    total: np.ndarray
    over_time: np.ndarray


def grad_cam(network: Tapped, x: Tensor, classes: Tensor) -> Cam:
    """Returns Grad-CAM (Selvaraju et al., ICCV 2017, eq. 1 and 2) of a feature map, by captum.

    A spiking network's map has one more axis: channels are weighted with the gradient's mean over places at every time
    step, through the surrogate gradients of the neurons behind it, and the steps are summed.

    Args:
        network: The network, from `tapped`.
        x: Inputs of the program.
        classes: The class to explain of each sample, int64 `[B]`.
    """
    from captum.attr import LayerGradCam

    with warnings.catch_warnings(), torch.enable_grad():
        warnings.simplefilter("ignore")  # that inputs of bytes have no gradient, which nobody asks for
        found = LayerGradCam(network.scores, network.shown.seen).attribute(x, target=classes, attr_dim_summation=False)
    weighted = found.detach().double()
    over_time = weighted.unflatten(1, (-1, network.channels)).sum(2)  # [B, T, h, w]
    return Cam(over_time.sum(1).clamp(min=0).numpy(), over_time.numpy())

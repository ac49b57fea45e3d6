"""Rounding search: which of the two neighbours on the grid each weight takes.

Rounding every weight to its nearest neighbour minimises the error of the weights; what counts is the error of the
sums. Weights are rounded one input after the other, and what each rounding leaves over is made up for by those not
yet rounded, weighted by how the inputs go together on calibration data (Frantar et al., "GPTQ", ICLR 2023).
"""

from __future__ import annotations

import torch
from torch import Tensor

from neurokit.exact.quantise import levels

_DAMPING = 0.01


def round_jointly(weight: Tensor, exponent: Tensor, bits: int, moments: Tensor) -> Tensor:
    """Returns the weights' integers, int8.

    Args:
        weight: `[C_out, ...]`, fan-in K after the first axis.
        exponent: Grid of every output channel.
        bits: Bits of a weight.
        moments: Second moments of the inputs, `[K, K]`, float64.
    """
    scale = torch.exp2(exponent.double())[:, None]
    rest = weight.double().reshape(len(weight), -1).clone()
    top = levels(bits)
    order = torch.argsort(moments.diagonal(), descending=True)
    h = moments[order][:, order].clone()
    damping = _DAMPING * float(h.diagonal().mean())
    if damping <= 0:
        return torch.round(rest / scale).clamp(-top, top).to(torch.int8).reshape(weight.shape)
    h.diagonal().add_(damping)
    upper = torch.linalg.cholesky(torch.cholesky_inverse(torch.linalg.cholesky(h)), upper=True)
    rest = rest[:, order]
    made = torch.empty_like(rest)
    for k in range(rest.shape[1]):
        made[:, k] = torch.round(rest[:, k] / scale[:, 0]).clamp(-top, top)
        error = (rest[:, k] - made[:, k] * scale[:, 0]) / upper[k, k]
        rest[:, k + 1 :] -= error[:, None] * upper[k, k + 1 :][None]
    back = torch.empty_like(made)
    back[:, order] = made
    return back.to(torch.int8).reshape(weight.shape)

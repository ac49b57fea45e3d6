"""Lightning attention by the fastest path: flash-linear-attention on a GPU in half precision, else the definition."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Sequence

import torch
from torch import Tensor

from neurokit.attention.mixers.lightning import Lightning
from neurokit.errors import InputError

_LOG = logging.getLogger("neurokit.attention")
_HALF = (torch.float16, torch.bfloat16)


def lightning_attention(
    q: Tensor, k: Tensor, v: Tensor, log_decay: Sequence[float], state: Tensor, scale: float = 1.0
) -> tuple[Tensor, Tensor]:
    """Mixes tokens as `Lightning.block`; no kernel of our own, as the library's is as good.

    flash-linear-attention multiplies in half precision and adds in float32, so it is taken for tensors that are in half
    precision on a CUDA GPU; for others, and where it is not installed, the definition runs. It reads `[B, S, H, D]`:
    views of such tensors, as projections give them, are passed on. Where the heads come first in memory, each is a
    sequence of its own with one head, which has the same bytes; what is neither is copied.

    Args:
        q: Queries `[B, H, S, D]`.
        k: Keys `[B, H, S, D]`.
        v: Values `[B, H, S, Dv]`.
        log_decay: Logarithm of each head's decay a token, from 0 down.
        state: State of the tokens before `[B, H, D, Dv]`.
        scale: Factor of the outputs.

    Returns:
        Outputs `[B, H, S, Dv]` and the state after the last token, in float32 where the library ran.

    Raises:
        InputError: If a decay is above 0 or not finite, or there is not one a head.
    """
    mixer = Lightning(tuple(log_decay), scale)
    why = _obstacle(q)
    _said(why or "flash-linear-attention")
    if len(mixer.log_decay) != q.shape[1]:
        raise InputError(f"{len(mixer.log_decay)} decays for {q.shape[1]} heads", expected="one a head")
    if why or not q.shape[2]:
        return mixer.block(q, k, v, state)
    from fla.ops.simple_gla import chunk_simple_gla

    gamma, begin = _on(mixer.log_decay, q.device), state.float()
    settings = {"scale": scale, "output_final_state": True}
    if all(x.is_contiguous() for x in (q, k, v)):
        alone = [x.reshape(-1, x.shape[2], 1, x.shape[3]) for x in (q, k, v)]
        each = gamma.repeat(q.shape[0])[:, None, None].expand(-1, q.shape[2], 1).contiguous()
        start = begin.reshape(-1, 1, *begin.shape[2:])
        out, after = chunk_simple_gla(*alone, g=each, initial_state=start, **settings)
        return out.reshape(v.shape), after.reshape(begin.shape)
    flat = [x.transpose(1, 2).contiguous() for x in (q, k, v)]
    out, after = chunk_simple_gla(*flat, g_gamma=gamma, initial_state=begin, **settings)
    return out.transpose(1, 2), after


@functools.cache
def _on(log_decay: tuple[float, ...], device: torch.device) -> Tensor:
    """Returns the decays on a device, once: a copy from the host at every call would wait for the GPU."""
    return torch.tensor(log_decay, device=device)


def _obstacle(q: Tensor) -> str:
    """Returns why the library is not taken, or ""."""
    if not q.is_cuda or q.dtype not in _HALF:
        return f"the definition, because of {str(q.dtype).removeprefix('torch.')} on {q.device.type}"
    if importlib.util.find_spec("fla") is None:
        return "the definition, because flash-linear-attention is not installed"
    return ""


@functools.cache
def _said(path: str) -> None:
    _LOG.info("lightning attention: %s", path)

"""The seven forms of Deconstructing Attention as one module: which of query, key and content may decide the weights."""

from __future__ import annotations

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.attention.definition import attend, causal_mask
from neurokit.attention.mixers.approximate import Approximate, NonApproximate
from neurokit.errors import InputError

Form = Literal["standard", "approximate", "non_approximate", "rnd_emb_qk", "fixed_seq_qk", "static_emb_qk", "mlp"]


class Deconstructed(nn.Module):
    """Causal multi-head attention in one of the forms (arXiv 2510.11602, equations 1 to 13), without rotation.

    "rnd_emb_qk" and "fixed_seq_qk" take queries and keys from a stream that does not depend on the input: their weights
    are a constant, `freeze` computes it, and what is deployed is one product with it. "static_emb_qk" takes them from
    the token embeddings. "mlp" mixes nothing; its width makes the number of parameters that of attention.

    Args:
        form: Which form.
        width: Width of the stream.
        heads: Number of heads, divides the width.
    """

    map: Tensor

    def __init__(self, form: Form, width: int, heads: int) -> None:
        super().__init__()
        if form not in get_args(Form) or heads < 1 or width % heads:
            raise InputError(
                f"form {form!r}, width {width}, {heads} heads",
                expected=f"one of {', '.join(get_args(Form))}, and heads that divide the width",
            )
        self.form, self.heads = form, heads
        inner = round(4 * width / 3)
        if form == "mlp":
            self.gate, self.up = nn.Linear(width, inner, bias=False), nn.Linear(width, inner, bias=False)
            self.down = nn.Linear(inner, width, bias=False)
            return
        self.q, self.k = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.v, self.o = nn.Linear(width, width, bias=False), nn.Linear(width, width, bias=False)
        self.register_buffer("map", torch.zeros(0), persistent=False)

    def forward(self, x: Tensor, stream: Tensor | None = None) -> Tensor:
        """Mixes a whole sequence.

        Args:
            x: `[B, L, width]`.
            stream: What queries and keys are made of where it is not x: embeddings `[B, L, width]`, or a fixed stream
                `[L, width]`, which `freeze` makes unnecessary.

        Raises:
            InputError: If a form needs a stream and has none, or the input is longer than its fixed map.
        """
        if self.form == "mlp":
            return self.down(F.silu(self.gate(x)) * self.up(x))
        v = self._split(self.v(x))
        if self.form in ("rnd_emb_qk", "fixed_seq_qk"):
            weights = self.map if stream is None else self.fixed_map(stream)
            if weights.numel() == 0 or x.shape[1] > weights.shape[-1]:
                raise InputError(f"{x.shape[1]} tokens for a fixed map of {weights.shape[-1]}", fix="freeze(stream)")
            mixed = weights[:, : x.shape[1], : x.shape[1]] @ v
        else:
            if self.form == "static_emb_qk" and stream is None:
                raise InputError("form 'static_emb_qk' without embeddings", expected="stream [B, L, width]")
            mixed = self._mix(x if stream is None else stream, v)
        return self.o(mixed.transpose(1, 2).flatten(2))

    def fixed_map(self, stream: Tensor) -> Tensor:
        """Returns the weights that a fixed stream `[L, width]` gives, `[heads, L, L]`: rows sum to 1, causal."""
        q, k = self._split(self.q(stream)[None]), self._split(self.k(stream)[None])
        scores = (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5)[0]
        return scores.masked_fill(~causal_mask(scores.shape[1], scores.shape[2], stream.device), float("-inf")).softmax(
            -1
        )

    def freeze(self, stream: Tensor) -> Deconstructed:
        """Keeps the weights of a fixed stream as a constant of the module, and returns the module."""
        with torch.no_grad():
            self.map = self.fixed_map(stream)
        return self

    def synapses(self, length: int) -> nn.Linear:
        """Returns a fixed map as one matrix of synapses, from `[B, length * width]` to the same.

        With A the map of a head, M_(i a, j b) = sum_h A_h,ij (Wo_h Wv_h)_ab: what a spike of channel b at position j
        adds to channel a at position i. It is zero where j comes after i; a chip that stores a layer whole routes
        events through those synapses, too.

        Args:
            length: Positions.

        Raises:
            InputError: If the weights are no constant yet, or are for fewer positions.
        """
        if self.form not in ("rnd_emb_qk", "fixed_seq_qk") or self.map.numel() == 0 or length > self.map.shape[-1]:
            raise InputError(
                f"form {self.form!r} with a map of {tuple(self.map.shape)} as synapses of {length} positions",
                expected="a fixed map of at least so many",
                fix="freeze(stream)",
            )
        width = self.v.weight.shape[1]
        into, out = self.v.weight.unflatten(0, (self.heads, -1)), self.o.weight.unflatten(1, (self.heads, -1))
        both = torch.einsum("ahd,hdb->hab", out, into)
        matrix = torch.einsum("hij,hab->iajb", self.map[:, :length, :length], both)
        layer = nn.Linear(length * width, length * width, bias=False, device="meta")
        layer.weight = nn.Parameter(matrix.reshape(length * width, length * width).detach())
        return layer

    def _mix(self, source: Tensor, v: Tensor) -> Tensor:
        q, k = self._split(self.q(source)), self._split(self.k(source))
        if self.form == "approximate":
            return Approximate().quadratic(q, k, v)
        if self.form == "non_approximate":
            return NonApproximate().quadratic(q, k, v)
        return attend(q, k, v, causal_mask(q.shape[2], k.shape[2], q.device)[None, None])[0]

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

"""A decoder as a scorer of texts: the loss of every token, with heads masked by an input."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.dims import Dim
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.net import Decoder
from neurokit.models.decoder.one_pass import (
    decoder_of,
    embedded,
    plain,
    through,
    token_losses,
    tokens_of,
)
from neurokit.models.decoder.tokens import Tokens
from neurokit.spec import ModelSpec, TensorSpec

IDS, MASK, LOSS = "ids", "head_mask", "loss"


class Scorer(nn.Module):
    """The losses of whole texts under a mask of heads; the weights are those of the decoder.

    A masked head's queries are multiplied by 0, so all its scores are equal, and row t of it has the weight 1 / (t + 1)
    on each token from 0 to t (Hua et al., AttentionInfluence, 2025; causal, see docs/attention-tools.md). The mask is a
    number, not a switch: what is between 0 and 1 flattens the rows of a head by that much.
    """

    def __init__(self, net: Decoder) -> None:
        super().__init__()
        self.net = net

    def forward(self, ids: Tensor, head_mask: Tensor) -> dict[str, Tensor]:
        """Returns "loss" `[B, S]` in nats; 0 for the first token of a text and for padding.

        Args:
            ids: Tokens `[B, S]`; -1 is padding, left of a text.
            head_mask: 1 leaves a query head as it is, 0 masks it, `[B, layers, H]`.
        """
        x, tokens = embedded(self.net, ids), tokens_of(self.net, ids)

        def masked(at: int, q: Tensor, k: Tensor, v: Tensor, tokens: Tokens) -> Tensor:
            return plain(at, q * head_mask[:, at, :, None, None].to(q.dtype), k, v, tokens)

        for at, layer in enumerate(self.net.model.layers):
            x = through(layer, at, x, tokens, masked)
        return {LOSS: token_losses(self.net, x, ids)}


def scorer_spec(name: str, config: DecoderConfig, build: Callable[[], nn.Module]) -> ModelSpec:
    """Returns a decoder as a scorer of whole texts.

    Args:
        name: Name of the decoder.
        config: Its sizes.
        build: Returns its module.
    """
    length = Dim("S", min=2, max=config.longest)

    def example(batch: int, time_steps: int, seed: int, sizes: Mapping[str, int] | None = None) -> Any:
        generator = torch.Generator().manual_seed(seed)
        new = (sizes or {}).get("S", 12)
        ids = torch.randint(0, config.vocabulary, (batch, new), generator=generator)
        ids[1::2, : new // 3] = -1
        mask = (torch.rand(batch, config.layers, config.heads, generator=generator) > 0.3).float()
        return {IDS: ids, MASK: mask}

    return ModelSpec(
        name,
        lambda: Scorer(decoder_of(build(), name)).eval(),
        (
            TensorSpec(IDS, (length,), "int64", "L", high=config.vocabulary - 1, meaning="tokens; -1 is padding, left"),
            TensorSpec(MASK, (config.layers, config.heads), layout="LH", meaning="1 keeps a query head, 0 masks it"),
        ),
        description="losses of the tokens of a text, with heads masked by an input",
        source="AttentionInfluence (Hua et al., arXiv 2505.07293), from its equations",
        options={"scorer": True},
        example=example,
        outputs=(TensorSpec(LOSS, (length,), layout="L", meaning="-log p of each token given those before it, nats"),),
    )

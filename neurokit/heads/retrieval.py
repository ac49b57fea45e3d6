"""Retrieval scores of heads: how often a head's largest weight lies on the token that comes next."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.attention.scopes import HeadList, scopes_of
from neurokit.data.documents import Document, check_documents, padded, retrieval_documents
from neurokit.errors import InputError
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from neurokit.models.decoder.net import Decoder
    from neurokit.models.decoder.tokens import Tokens

ROWS = 128  # queries whose scores are held at once
SHARE = 0.05  # of all heads, as published


@dataclass(frozen=True)
class HeadScores:
    """A number for each query head.

    Attributes:
        model: Name of the model.
        method: What the numbers are.
        scores: `[layers, H]`; larger is earlier in the order.
        documents: How many texts they are means over.
    """

    model: str
    method: str
    scores: np.ndarray
    documents: int

    def order(self) -> list[tuple[int, int]]:
        """Returns (layer, head) from the largest score on; of equal ones the lower layer and head first."""
        flat = np.argsort(-self.scores.ravel(), kind="stable")
        return [(int(at) // self.scores.shape[1], int(at) % self.scores.shape[1]) for at in flat]

    def top(self, share: float = SHARE) -> HeadList:
        """Returns the heads of largest score: so many as `share` of all, rounded up.

        Raises:
            InputError: If the share is not above 0 and at most 1.
        """
        if not 0 < share <= 1:
            raise InputError(f"share is {share}", expected="a number above 0, up to 1")
        by_layer: dict[int, list[int]] = {}
        for layer, head in self.order()[: math.ceil(share * self.scores.size - 1e-9)]:
            by_layer.setdefault(layer, []).append(head)
        layers, heads = self.scores.shape
        return HeadList(scopes_of(by_layer), self.method, self.model, {}, layers, heads)


def retrieval_scores(spec: ModelSpec, documents: Sequence[Document] | None = None, *, seed: int = 0) -> HeadScores:
    """Scores every head by how often it looks at what has to be copied (AttentionInfluence, equations 1 to 4).

    For an answer token w at place a, a head is right if the largest weight of row a - 1 lies on a token equal to w;
    of equal weights the earliest counts. A document's score is the share of its answer tokens; a head's is the mean
    over documents. The weights are computed `ROWS` queries at a time, and only each row's largest key is kept: no
    attention matrix exists.

    Args:
        spec: A language model of softmax attention.
        documents: Texts with marked answers; without a mark every token but the first is an answer. Default is 32
            key-value questions in random tokens, as long as fits the model.
        seed: Seed of the default documents.

    Raises:
        InputError: If a document does not fit the model.
        UnsupportedError: If the model has other layers than softmax attention.
    """
    import torch

    from neurokit.models.decoder.one_pass import decoder_of

    net = decoder_of(spec.build(), spec.name)
    config = net.config
    documents = default_documents(config.vocabulary, config.longest, seed) if documents is None else documents
    check_documents(documents, config.vocabulary, config.longest)
    total = np.zeros((config.layers, config.heads))
    with torch.no_grad():
        for document in documents:
            ids = torch.from_numpy(padded([document]))
            first, last = document.answer or (1, len(document.ids))
            for at, keys in enumerate(largest_keys(net, ids)):
                right = ids[0, keys[0, :, first - 1 : last - 1]] == ids[0, first:last]
                total[at] += right.double().mean(-1).numpy()
    return HeadScores(spec.name, "retrieval", total / len(documents), len(documents))


def default_documents(vocabulary: int, longest: int, seed: int) -> list[Document]:
    """Returns the key-value questions that fit a model."""
    pairs = min(16, vocabulary - 2, longest // 8 - 4)
    if pairs < 4:
        raise InputError(
            f"a vocabulary of {vocabulary} and {longest} tokens hold no retrieval question",
            expected="20 tokens and a length of 64 at least",
            fix="give documents of your own",
        )
    return retrieval_documents(vocabulary, pairs=pairs, seed=seed)


def largest_keys(net: Decoder, ids: torch.Tensor, rows: int = ROWS) -> list[torch.Tensor]:
    """Returns, for each layer, the key of each row's largest weight, int64 `[B, H, S]`.

    Args:
        net: The decoder.
        ids: Whole texts `[B, S]`; -1 is padding, left of a text.
        rows: Queries whose scores are held at once; memory is B x H x rows x S numbers.
    """
    import torch

    from neurokit.models.decoder.one_pass import streams

    found: list[torch.Tensor] = []

    def attend(at: int, q: Any, k: Any, v: Any, tokens: Tokens) -> torch.Tensor:
        keys, outputs = [], []
        assert tokens.visible is not None
        groups = k.shape[1]
        for start in range(0, q.shape[2], rows):
            part = q[:, :, start : start + rows]
            grouped = part.unflatten(1, (groups, -1)).flatten(2, 3)  # rows of one product: keys are never repeated
            scores = (grouped @ k.transpose(-1, -2)).unflatten(2, (-1, part.shape[2])) * q.shape[-1] ** -0.5
            seen = tokens.visible[:, :, None, start : start + rows]
            scores = scores.masked_fill(~seen, float("-inf"))
            keys.append(_first_largest(scores).flatten(1, 2))
            outputs.append((scores.softmax(-1).flatten(2, 3) @ v).unflatten(2, (-1, part.shape[2])).flatten(1, 2))
        found.append(torch.cat(keys, 2))
        return torch.cat(outputs, 2)

    for _ in streams(net, ids, attend):
        pass
    return found


def _first_largest(scores: torch.Tensor) -> torch.Tensor:
    """Returns the lowest index of the largest entry; torch's argmax promises no order among equal ones."""
    import torch

    top = scores.amax(-1, keepdim=True)
    places = torch.arange(scores.shape[-1], device=scores.device)
    return torch.where(scores == top, places, scores.shape[-1]).amin(-1)

"""A language model of spikes in whole numbers: what the event engine reads of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class SpikingTextLayer:
    """The matrices of a layer, int64, from spiking channels (columns) to channels (rows).

    Attributes:
        qkv: Queries, keys and values one below the other.
        out: From the channels that won to the stream.
        up: From the stream to the inner channels.
        down: From the inner channels to the stream.
    """

    qkv: NDArray[np.int64]
    out: NDArray[np.int64]
    up: NDArray[np.int64]
    down: NDArray[np.int64]


@dataclass(frozen=True)
class SpikingText:
    """A decoder of spikes; every number is a multiple of 1 / grid, given as that multiple.

    Attributes:
        embed: What a token puts into the stream, int64 `[vocabulary, width]`.
        layers: The layers.
        head: From the stream's spikes to the logits.
        heads: Heads of linear attention.
        threshold: From which sum on a channel spikes.
        grid: Parts of 1.
    """

    embed: NDArray[np.int64]
    layers: tuple[SpikingTextLayer, ...]
    head: NDArray[np.int64]
    heads: int
    threshold: int
    grid: int

"""The shapes of the networks whose kernels are measured: three sizes of Meta-SpikeFormer and two SEW-ResNets."""

from __future__ import annotations

from collections.abc import Iterator

# Widths of the four stages; an image of 224 x 224 has 112, 56, 28, 14 and 14 pixels across behind each downsampling.
WIDTHS = {"15m": (64, 128, 256, 360), "31m": (96, 192, 384, 480), "55m": (128, 256, 512, 640)}
HEADS = 8
TOKENS = 196


def expansions(size: str, batch: int) -> list[tuple[int, int, int]]:
    """Returns (M, K, N) of the 1x1 products that expand in the convolutional stages."""
    c1, c2, _, _ = WIDTHS[size]
    return [(batch * 112**2, c1 // 2, c1), (batch * 56**2, c1, 2 * c1), (batch * 28**2, c2, 2 * c2)]


def reductions(size: str, batch: int) -> list[tuple[int, int, int]]:
    """Returns (M, K, N) of the 1x1 products that end a block: they add the shortcut."""
    return [(rows, cols, inner) for rows, inner, cols in expansions(size, batch)]


def mixers(size: str, batch: int) -> list[tuple[int, int, int]]:
    """Returns (M, K, N) of the first layers of the perceptrons in the transformer stages."""
    _, _, c3, c4 = WIDTHS[size]
    return [(batch * TOKENS, c3, 4 * c3), (batch * TOKENS, c4, 4 * c4)]


def shortcuts(batch: int) -> list[tuple[int, int, int]]:
    """Returns (M, K, N) of the 1x1 convolutions at the shortcuts of SEW-ResNet-18 and 34."""
    return [(batch * 28**2, 64, 128), (batch * 14**2, 128, 256), (batch * 7**2, 256, 512)]


def convolutions() -> Iterator[tuple[str, int, int, int, int]]:
    """Yields (network, channels in, channels out, pixels across, stride) of 3x3 convolutions."""
    for size in ("31m", "55m"):
        c1, c2, _, _ = WIDTHS[size]
        for width, across in ((c1 // 2, 112), (c1, 56), (c2, 28)):
            yield f"metaspikeformer_{size}", width, 4 * width, across, 1
            if size == "31m":
                yield f"metaspikeformer_{size}", 4 * width, width, across, 1
    for width, across in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield "sew_resnet18/34", width, width, across, 1


def attention_widths() -> list[int]:
    """Returns the widths of stages 3 and 4, each once."""
    return sorted({w for size in WIDTHS for w in WIDTHS[size][2:]})

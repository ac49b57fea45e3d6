"""A spiking TransDAE: weights meet spikes alone, and its efficient attention counts coincidences of spikes.

A design of its own on TransDAE's frame (Azad et al., 2024; no code is published). What differs from `net.py`:
softmaxes are left away, since queries, keys and values are spikes, and what attention counts goes through a neuron, as
in spike-driven attention (Yao et al., Spike-driven Transformer V2, ICLR 2024), normalised for its width; batch takes
the place of layer normalisation, which no chip can compute on spikes; skips add currents, not spikes; a scale's
interaction lets currents through where its neurons fire. Tensors are `[T, B, C, H, W]`, an image is given in every
step, and the scores are the mean over steps.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokit.models.metaspikeformer.net import lif, per_step


class Current(nn.Module):
    """A convolution and its batch normalisation: what neurons are given."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1, dilation: int = 1):
        super().__init__()
        padding = dilation * (kernel - 1) // 2 if stride < kernel else 0
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[T, B, inputs, H, W]`, returns `[T, B, outputs, H', W']`."""
        return self.norm(self.conv(x.flatten(0, 1))).unflatten(0, x.shape[:2])


def counted(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Returns efficient attention of spikes: how often keys met values, read by queries.

    Args:
        queries: Spikes `[..., C, N]` of N tokens.
        keys: Spikes `[..., C, M]` of M tokens.
        values: Spikes `[..., D, M]` of the same.

    Returns:
        Counts `[..., D, N]`, whole numbers: (V K^T) Q, which needs no N x M product and is exact in any order.
    """
    return (values @ keys.transpose(-2, -1)) @ queries


class SpikingAttention(nn.Module):
    """Efficient attention of spikes; with a reduction, keys and values are taken from a coarser map."""

    def __init__(self, width: int, heads: int = 1, reduction: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.fired = lif()
        self.queries, self.keys, self.values = (Current(width, width) for _ in range(3))
        self.coarser = Current(width, width, reduction, reduction, width) if reduction > 1 else None
        self.coarse_fired = lif() if reduction > 1 else None
        self.query_fired, self.key_fired, self.value_fired = lif(), lif(), lif()
        self.count_norm, self.counted = nn.BatchNorm2d(width), lif()
        self.reprojection = Current(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes currents `[T, B, width, H, W]` and returns some of the same shape."""
        spikes = coarse = self.fired(x)
        if self.coarser is not None and self.coarse_fired is not None:
            coarse = self.coarse_fired(self.coarser(spikes))
        q = self._heads(self.query_fired(self.queries(spikes)))
        k = self._heads(self.key_fired(self.keys(coarse)))
        v = self._heads(self.value_fired(self.values(coarse)))
        met = counted(q, k, v).flatten(2, 3).unflatten(3, x.shape[3:])
        return self.reprojection(self.counted(per_step(self.count_norm, met)))

    def _heads(self, x: Tensor) -> Tensor:
        """`[T, B, width, H, W]` to `[T, B, heads, width / heads, H W]`."""
        return x.unflatten(2, (self.heads, -1)).flatten(4)


class SpikingFeedForward(nn.Module):
    """Two pointwise maps with a depthwise convolution beside the identity between them."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fired, self.inner_fired, self.local_fired = lif(), lif(), lif()
        self.fc1, self.fc2 = Current(width, inner), Current(inner, width)
        self.dwconv = Current(inner, inner, 3, groups=inner)

    def forward(self, x: Tensor) -> Tensor:
        """Takes currents `[T, B, width, H, W]` and returns some of the same shape."""
        x = self.fc1(self.fired(x))
        return self.fc2(self.local_fired(self.dwconv(self.inner_fired(x)) + x))


class SpikingBlock(nn.Module):
    """Attention with keys and values from a coarser map, then efficient attention, each with a feed-forward layer."""

    def __init__(self, width: int, heads: int, reduction: int) -> None:
        super().__init__()
        self.attn, self.channel_attn = SpikingAttention(width, heads, reduction), SpikingAttention(width)
        self.mlp1, self.mlp2 = (SpikingFeedForward(width, 4 * width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Takes currents `[T, B, width, H, W]` and returns some of the same shape."""
        for part in (self.attn, self.mlp1, self.channel_attn, self.mlp2):
            x = x + part(x)
        return x


class SpikingInteraction(nn.Module):
    """A skip connection let through where neurons fire that see it and its neighbour scale (TransDAE's ISIM)."""

    def __init__(self, width: int, other: int, factor: float) -> None:
        super().__init__()
        self.fired, self.other_fired = lif(), lif()
        self.near_fired, self.far_fired, self.gate = lif(), lif(), lif()
        self.joined = Current(width + other, width)
        self.near, self.far = Current(width, width, 5, groups=width), Current(width, width, 7, groups=width, dilation=3)
        size = {"scale_factor": factor, "mode": "nearest"} if factor > 1 else {"kernel_size": round(1 / factor)}
        self.resized: nn.Module = nn.Upsample(**size) if factor > 1 else nn.MaxPool2d(**size)  # type: ignore[arg-type]

    def forward(self, x: Tensor, other: Tensor) -> Tensor:
        """Takes currents `[T, B, width, H, W]` and of the neighbour scale, returns `[T, B, width, H, W]`."""
        other = per_step(self.resized, self.other_fired(other))
        seen = self.near_fired(self.joined(torch.cat([self.fired(x), other], 2)))
        return x * self.gate(self.far(self.far_fired(self.near(seen))))


class SpikingCross(nn.Module):
    """Joins a skip connection with the decoder: its spikes are queries and keys, the decoder's the values."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.fired, self.skip_fired = lif(), lif()
        self.count_norm, self.counted = nn.BatchNorm2d(width), lif()
        self.reprojection = Current(width, 2 * width)
        self.mlp = SpikingFeedForward(2 * width, 4 * width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Takes two currents `[T, B, width, H, W]`, returns `[T, B, 2 width, H, W]`."""
        keys = self.skip_fired(skip).flatten(3)
        met = counted(keys, keys, self.fired(x).flatten(3)).unflatten(3, x.shape[3:])
        attended = self.reprojection(self.counted(per_step(self.count_norm, met)))
        joined = torch.cat([x, skip], 2) + attended
        return joined + self.mlp(joined)


class SpikingExpand(nn.Module):
    """A finer grid from wider currents, laid out over places."""

    def __init__(self, width: int, factor: int) -> None:
        super().__init__()
        outputs = width // 2 if factor == 2 else width
        self.fired = lif()
        self.expand = Current(width, factor * factor * outputs)
        self.laid = nn.PixelShuffle(factor)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[T, B, width, H, W]`, returns `[T, B, outputs, factor H, factor W]`."""
        return per_step(self.laid, self.expand(self.fired(x)))


class SpikingDecoderStage(nn.Module):
    """Joins a skip connection, then two blocks, then a finer grid."""

    def __init__(self, inputs: int, width: int, heads: int, reduction: int, factor: int) -> None:
        super().__init__()
        self.fired, self.joined_fired = lif(), lif()
        self.x1_linear, self.concat_linear = Current(inputs, width), Current(2 * width, width)
        self.cross_attn = SpikingCross(width)
        self.layer_former_1, self.layer_former_2 = (SpikingBlock(width, heads, reduction) for _ in range(2))
        self.layer_up = SpikingExpand(width, factor)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Takes currents `[T, B, inputs, H, W]` and a skip connection `[T, B, width, H, W]`, returns finer ones."""
        joined = self.cross_attn(self.x1_linear(self.fired(x)), skip)
        x = self.concat_linear(self.joined_fired(joined))
        return self.layer_up(self.layer_former_2(self.layer_former_1(x)))


class SpikingTransDAE(nn.Module):
    """Segmentation of an image whose sides are multiples of 16, over time steps.

    Args:
        widths: Of the three stages.
        classes: Number of classes.
        depth: Blocks of an encoder's stage.
        channels: Channels of the image.
    """

    def __init__(
        self, widths: tuple[int, int, int] = (128, 320, 512), classes: int = 9, depth: int = 2, channels: int = 1
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        heads = (2, 5, 8) if middle % 5 == 0 else (2, 4, 8)
        inputs = (channels, fine, middle)
        self.patches = nn.ModuleList(
            Current(inputs[index], width, 3 if index else 7, 2 if index else 4) for index, width in enumerate(widths)
        )
        self.patch_fired = nn.ModuleList(lif() for _ in range(2))
        self.stages = nn.ModuleList(
            nn.Sequential(*(SpikingBlock(width, heads[index], (4, 2, 1)[index]) for _ in range(depth)))
            for index, width in enumerate(widths)
        )
        self.interactions = nn.ModuleList(
            [SpikingInteraction(fine, middle, 2.0), SpikingInteraction(middle, fine, 0.5)]
        )
        self.layer_up = SpikingExpand(coarse, 2)
        self.decoder_1 = SpikingDecoderStage(coarse // 2, middle, heads[1], 2, 2)
        self.decoder_0 = SpikingDecoderStage(middle // 2, fine, heads[0], 4, 4)
        self.last_fired, self.last_layer = lif(), nn.Conv2d(fine, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Takes an image in every step `[T, B, channels, H, W]`, returns scores of the classes `[B, classes, H, W]`."""
        x, maps = image, []
        for index in range(3):
            x = self.stages[index](self.patches[index](self.patch_fired[index - 1](x) if index else x))
            maps.append(x)
        fine, middle, coarse = maps
        first, second = self.interactions
        fine, middle = first(fine, middle), second(middle, fine)
        finest = self.decoder_0(self.decoder_1(self.layer_up(coarse), middle), fine)
        return per_step(self.last_layer, self.last_fired(finest)).mean(0)

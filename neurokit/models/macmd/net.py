"""MACMD: a segmentation decoder with dilated gates and mixed levels on a Pyramid Vision Transformer.

Written from the published structure, with the names of the public checkpoints. Two faults of the public code are
mended: blocks that it makes anew in every call are layers, and the order of its in-place rectification is written out.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from neurokit.models.common.pvt import B0, PyramidSizes, PyramidTransformer
from neurokit.models.macmd.parts import (
    Bottleneck,
    ChannelAttention,
    Gate,
    LevelAttention,
    LevelMixing,
    SpatialAttention,
    resized,
)


class ConvNorm(nn.Module):
    """A convolution without bias and its batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, groups=groups, bias=False)
        self.norm = nn.BatchNorm2d(outputs, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, inputs, H, W]`, returns `[B, outputs, H, W]`."""
        return self.norm(self.conv(x))


class UpBlock(nn.Module):
    """Pointwise, depthwise 9x9 and pointwise convolutions, then twice the resolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.ln1 = nn.LayerNorm(inputs)  # in the public checkpoints, and unused
        self.conv = ConvNorm(inputs, inputs)
        self.proj = ConvNorm(inputs, outputs)
        self.conv_local = ConvNorm(inputs, inputs, 9, inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, inputs, H, W]`, returns `[B, outputs, 2 H, 2 W]`."""
        x = nn.functional.silu(self.conv_local(self.conv(x).relu()))
        return resized(self.proj(x).relu(), 2.0)


class Fusion(nn.Module):
    """Three maps of one grid joined, then attention over channels and over places."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fusion_conv = nn.Conv2d(3 * channels, 2 * channels, 1, bias=False)
        self.bn = nn.BatchNorm2d(2 * channels)
        self.channel_attention = ChannelAttention(2 * channels)
        self.spatial_attention = SpatialAttention()
        self.output_conv = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, 3 C, H, W]`, returns `[B, 2 C, H, W]`."""
        return self.output_conv(self.spatial_attention(self.channel_attention(self.bn(self.fusion_conv(x)))))


class Decoder(nn.Module):
    """From four levels of an encoder to maps at strides 8, 4 and 2."""

    def __init__(self, widths: tuple[int, int, int, int], last: int = 32) -> None:
        super().__init__()
        c1, c2, c3, c4 = widths
        self.acb = Bottleneck(c4)
        self.apm = LevelAttention(widths)
        self.ccm = LevelMixing((c3, c2, c1), c1)
        self.ag1, self.ag2, self.ag3, self.ag4 = (Gate(width) for width in widths)
        self.decoder1 = UpBlock(c4, c3)
        self.decoder2 = UpBlock(2 * c3, c2)
        self.decoder3 = UpBlock(2 * c2, c1)
        self.decoder4 = UpBlock(2 * c1, last)
        self.ffb = Fusion(c1)

    def forward(self, levels: list[Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """Takes the levels, finest first, returns the maps at strides 8, 4 and 2."""
        gated = [gate(x) for gate, x in zip((self.ag1, self.ag2, self.ag3, self.ag4), levels, strict=True)]
        mixed3, mixed2, mixed1 = self.ccm(levels[2::-1])
        gated[3] = self.acb(gated[3])
        coarse = self.decoder1(gated[3])
        middle = self.decoder2(torch.cat([coarse, mixed3], 1))
        fine = self.decoder3(torch.cat([middle, mixed2], 1))
        joined = self.ffb(torch.cat([fine, mixed1, self.apm(gated)], 1))
        return middle, fine, self.decoder4(joined)


class MACMD(nn.Module):
    """Segmentation of an image whose sides are multiples of 32.

    Args:
        sizes: Of the encoder.
        classes: Number of classes.
        last: Channels of the finest map.
    """

    def __init__(self, sizes: PyramidSizes = B0, classes: int = 9, last: int = 32) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(1, 3, 1), nn.BatchNorm2d(3), nn.ReLU())
        self.backbone = PyramidTransformer(sizes)
        self.decoder = Decoder(sizes.widths, last)
        c1, c2, _, _ = sizes.widths
        self.out_head3 = nn.Conv2d(c1, classes, 1)
        self.out_head2 = nn.Conv2d(c2, classes, 1)
        self.out_head = nn.Conv2d(last, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Takes `[B, 1 or 3, H, W]`, returns scores of the classes, `[B, classes, H, W]`.

        The public code gives their logistic function.
        """
        return self.heads(image)[0]

    def of_public(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns a public checkpoint with the module's own blocks that the public code makes anew in every call."""
        own = {name: value for name, value in self.state_dict().items() if ".apm.up_blocks." in name}
        return state if set(own) & set(state) else {**own, **state}

    def heads(self, image: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns the scores of the three heads in the image's size, the finest first, for training."""
        middle, fine, finest = self.decoder(self.backbone(self.conv(image) if image.shape[1] == 1 else image))
        return (
            resized(self.out_head(finest), 2.0),
            resized(self.out_head3(fine), 4.0),
            resized(self.out_head2(middle), 8.0),
        )

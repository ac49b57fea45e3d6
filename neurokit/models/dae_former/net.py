"""DAE-Former and TransDAE: U-shaped transformers with attention over places and over channels.

Written from the published structure of DAE-Former (Azad et al., 2022; MIT), with the names of its public checkpoints,
among them layers that nothing reads. TransDAE (2024) published no code: its parts stand in DAE-Former's frame as their
descriptions say, faithful in form.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.common.patches import PatchExpand
from neurokit.models.common.pvt import Depthwise, PatchEmbedding, ReducedAttention


class EfficientAttention(nn.Module):
    """Attention whose keys are normalised over tokens and queries over channels, so that no N x N product is needed.

    Shen et al., Efficient Attention, WACV 2021.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.keys = nn.Conv2d(width, width, 1)
        self.queries = nn.Conv2d(width, width, 1)
        self.values = nn.Conv2d(width, width, 1)
        self.reprojection = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        image = x.permute(0, 3, 1, 2)
        y = efficient(self.queries(image).flatten(2), self.keys(image).flatten(2), self.values(image).flatten(2))
        return self.reprojection(y.unflatten(2, x.shape[1:3])).permute(0, 2, 3, 1)


def efficient(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
    """Returns efficient attention, `[B, width, N]`, of queries, keys and values `[B, width, N]`."""
    context = keys.softmax(2) @ values.transpose(1, 2)
    return context.transpose(1, 2) @ queries.softmax(1)


class ChannelAttention(nn.Module):
    """Attention among channels: cosines over all tokens with a learnt temperature a head."""

    def __init__(self, width: int, heads: int = 8) -> None:
        super().__init__()
        self.heads = heads
        self.temperature = nn.Parameter(torch.ones(heads, 1, 1))
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        q, k, v = self.qkv(x).flatten(1, 2).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 4, 1)
        cosines = F.normalize(q, dim=3) @ F.normalize(k, dim=3).transpose(2, 3)
        y = (cosines * self.temperature).softmax(3) @ v
        return self.proj(y.permute(0, 3, 1, 2).flatten(2)).unflatten(1, x.shape[1:3])


class MixFeedForward(nn.Module):
    """A feed-forward layer with a depthwise convolution beside the identity."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, inner)
        self.dwconv = Depthwise(inner)
        self.fc2 = nn.Linear(inner, width)
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(inner) for _ in range(3))  # the public code reads norm1

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        x = self.fc1(x)
        return self.fc2(F.gelu(self.norm1(self.dwconv(x) + x)))


class DualBlock(nn.Module):
    """Attention over places, then over channels, each with a feed-forward layer, normalised before and added.

    Args:
        width: Of the tokens.
        heads: Of the attention with the smaller of the two; 0 for DAE-Former's: efficient over places, channels after.
        reduction: With heads (TransDAE), the stride of keys and values over places; efficient attention stands second.
    """

    def __init__(self, width: int, heads: int = 0, reduction: int = 1) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3, self.norm4 = (nn.LayerNorm(width) for _ in range(4))
        self.attn: nn.Module = ReducedAttention(width, heads, reduction) if heads else EfficientAttention(width)
        self.channel_attn: nn.Module = EfficientAttention(width) if heads else ChannelAttention(width)
        self.mlp1, self.mlp2 = (MixFeedForward(width, 4 * width) for _ in range(2))

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, H, W, width]`."""
        x = x + self.attn(self.norm1(x))
        x = x + self.mlp1(self.norm2(x))
        x = x + self.channel_attn(self.norm3(x))
        return x + self.mlp2(self.norm4(x))


class Encoder(nn.Module):
    """Three stages at strides 4, 8 and 16."""

    def __init__(self, widths: tuple[int, int, int], depth: int, heads: tuple[int, int, int], channels: int) -> None:
        super().__init__()
        inputs = (channels, *widths[:2])
        for index, width in enumerate(widths):
            kernel, stride = (7, 4) if index == 0 else (3, 2)
            blocks = [DualBlock(width, heads[index], (4, 2, 1)[index]) for _ in range(depth)]
            self.add_module(f"patch_embed{index + 1}", PatchEmbedding(inputs[index], width, kernel, stride))
            self.add_module(f"block{index + 1}", nn.ModuleList(blocks))
            self.add_module(f"norm{index + 1}", nn.LayerNorm(width))

    def forward(self, image: Tensor) -> list[Tensor]:
        """Takes `[B, channels, H, W]`, returns three maps `[B, H', W', width]`."""
        maps = []
        for index in range(1, 4):
            x = self.get_submodule(f"patch_embed{index}")(image)
            for block in self.get_submodule(f"block{index}").children():
                x = block(x)
            maps.append(self.get_submodule(f"norm{index}")(x))
            image = maps[-1].permute(0, 3, 1, 2)
        return maps


class CrossAttention(nn.Module):
    """Efficient attention of a skip connection with itself over the values of the decoder."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reprojection = nn.Conv2d(width, 2 * width, 1)
        self.norm = nn.LayerNorm(2 * width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Takes the decoder's and the skip's tokens `[B, H, W, width]`, returns `[B, H, W, 2 width]`."""
        keys = skip.flatten(1, 2).transpose(1, 2)
        y = efficient(keys, keys, x.flatten(1, 2).transpose(1, 2)).unflatten(2, x.shape[1:3])
        return self.norm(self.reprojection(y).permute(0, 2, 3, 1))


class CrossBlock(nn.Module):
    """Joins a skip connection with the decoder: cross attention and a feed-forward layer."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn = CrossAttention(width)
        self.norm2 = nn.LayerNorm(2 * width)
        self.mlp = MixFeedForward(2 * width, 4 * width)

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Takes two maps `[B, H, W, width]`, returns `[B, H, W, 2 width]`."""
        joined = torch.cat([x, skip], 3) + self.attn(self.norm1(x), self.norm1(skip))
        return joined + self.mlp(self.norm2(joined))


class DecoderStage(nn.Module):
    """Joins a skip connection, then two blocks, then a finer grid."""

    def __init__(self, inputs: int, width: int, heads: int, reduction: int, classes: int = 0) -> None:
        super().__init__()
        self.x1_linear = nn.Linear(inputs, width)
        self.cross_attn = CrossBlock(width)
        self.concat_linear = nn.Linear(2 * width, width)
        self.layer_up = PatchExpand(width, 4 if classes else 2)
        self.last_layer = nn.Conv2d(width, classes, 1) if classes else None
        self.layer_former_1 = DualBlock(width, heads, reduction)
        self.layer_former_2 = DualBlock(width, heads, reduction)

    def forward(self, x: Tensor, skip: Tensor | None = None) -> Tensor:
        """Takes `[B, H, W, inputs]` and a skip connection `[B, H, W, width]`, returns a finer map or scores."""
        if skip is not None:
            x = self.concat_linear(self.cross_attn(self.x1_linear(x), skip))
            x = self.layer_former_2(self.layer_former_1(x))
        x = self.layer_up(x)
        return x if self.last_layer is None else self.last_layer(x.permute(0, 3, 1, 2))


class ScaleInteraction(nn.Module):
    """A skip connection weighted by a large kernel's view of it and its neighbour scale (TransDAE's ISIM)."""

    def __init__(self, width: int, other: int) -> None:
        super().__init__()
        self.joined = nn.Conv2d(width + other, width, 1)
        self.near = nn.Conv2d(width, width, 5, padding=2, groups=width)
        self.far = nn.Conv2d(width, width, 7, padding=9, dilation=3, groups=width)
        self.out = nn.Conv2d(width, width, 1)

    def forward(self, x: Tensor, other: Tensor, factor: float) -> Tensor:
        """Takes `[B, H, W, width]` and its neighbour, which is resized by `factor`; returns `[B, H, W, width]`."""
        image = x.permute(0, 3, 1, 2)
        other = F.interpolate(other.permute(0, 3, 1, 2), scale_factor=factor, mode="bilinear", align_corners=False)
        weight = self.out(self.far(self.near(self.joined(torch.cat([image, other], 1)))))
        return (image * weight).permute(0, 2, 3, 1)


class DAEFormer(nn.Module):
    """Segmentation of an image whose sides are multiples of 16.

    Args:
        widths: Of the three stages.
        classes: Number of classes.
        depth: Blocks of an encoder's stage.
        channels: Channels of the image; a single one is repeated.
        interacting: Whether the blocks and the skip connections are TransDAE's.
    """

    def __init__(
        self,
        widths: tuple[int, int, int] = (128, 320, 512),
        classes: int = 9,
        depth: int = 2,
        channels: int = 3,
        interacting: bool = False,
    ) -> None:
        super().__init__()
        fine, middle, coarse = widths
        heads = (2, 5, 8) if interacting and middle % 5 == 0 else (2, 4, 8)
        heads = heads if interacting else (0, 0, 0)
        self.channels = channels
        self.backbone = Encoder(widths, depth, heads, channels)
        self.decoder_2 = DecoderStage(coarse, coarse, heads[2], 1)
        self.decoder_1 = DecoderStage(coarse // 2, middle, heads[1], 2)
        self.decoder_0 = DecoderStage(middle // 2, fine, heads[0], 4, classes)
        self.interactions = None
        if interacting:
            self.interactions = nn.ModuleList([ScaleInteraction(fine, middle), ScaleInteraction(middle, fine)])

    def forward(self, image: Tensor) -> Tensor:
        """Takes `[B, channels or 1, H, W]`, returns scores of the classes at every pixel, `[B, classes, H, W]`."""
        if image.shape[1] == 1 < self.channels:
            image = image.repeat(1, self.channels, 1, 1)
        fine, middle, coarse = self.backbone(image)
        if self.interactions is not None:
            first, second = self.interactions
            fine, middle = first(fine, middle, 2.0), second(middle, fine, 0.5)
        return self.decoder_0(self.decoder_1(self.decoder_2(coarse), middle), fine)

"""Att-SwinU-Net: a Swin U-Net whose decoder attends with the encoder's maps added, and whose skips attend to it.

Written from the published structure (Aghdam et al., 2022), with the names of the public checkpoints, among them layers
that nothing reads. Two faults of the public code are mended: the encoder's maps are added before they are used, and
each decoder block gets the map of the encoder block whose windows are its own.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neurokit.models.att_swin_unet.windows import SwinBlock
from neurokit.models.common.patches import PatchExpand


@dataclass(frozen=True)
class SwinSizes:
    """Sizes of a Swin U-Net.

    Attributes:
        side: Height and width of the image.
        width: Of the finest stage; each next is twice as wide.
        depths: Blocks a stage.
        heads: Heads a stage.
        window: Height and width of a window.
        cross_width: Inner width of the skip connections' attention, heads of 64.
    """

    side: int = 224
    width: int = 96
    depths: tuple[int, ...] = (2, 2, 2, 2)
    heads: tuple[int, ...] = (3, 6, 12, 24)
    window: int = 7
    cross_width: int = 512

    def stage(self, index: int) -> tuple[int, int, int]:
        """Returns width, heads and side of a stage's map."""
        return self.width * 2**index, self.heads[index], self.side // 4 // 2**index


class PatchEmbedding(nn.Module):
    """Tokens from patches of 4 x 4."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(channels, width, 4, 4)
        self.norm = nn.LayerNorm(width)

    def forward(self, image: Tensor) -> Tensor:
        """Takes `[B, channels, H, W]`, returns `[B, H / 4, W / 4, width]`."""
        return self.norm(self.proj(image).permute(0, 2, 3, 1))


class PatchMerging(nn.Module):
    """Half the resolution: four neighbours joined."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)
        self.norm = nn.LayerNorm(4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, H, W, width]`, returns `[B, H / 2, W / 2, 2 width]`."""
        parts = x.unflatten(2, (-1, 2)).unflatten(1, (-1, 2)).permute(0, 1, 3, 4, 2, 5)
        return self.reduction(self.norm(parts.flatten(3)))


class Stage(nn.Module):
    """Blocks with plain and shifted windows in turn, then another resolution."""

    def __init__(self, sizes: SwinSizes, index: int, change: str) -> None:
        super().__init__()
        width, heads, side = sizes.stage(index)
        self.blocks = nn.ModuleList(
            SwinBlock(width, heads, side, sizes.window, bool(number % 2)) for number in range(sizes.depths[index])
        )
        self.downsample = PatchMerging(width) if change == "merge" else None
        self.upsample = PatchExpand(width, 2) if change == "expand" else None

    def forward(self, x: Tensor, added: list[Tensor] | None = None) -> tuple[Tensor, list[Tensor]]:
        """Takes `[B, H, W, width]` and maps to add, one a block; returns the next map and the blocks' own."""
        maps = []
        for index, block in enumerate(self.blocks):
            x, weights = block(x, None if added is None else added[index])
            maps.append(weights)
        change = self.downsample or self.upsample
        return (x if change is None else change(x)), maps


class Encoder(nn.Module):
    """Four stages, each half as fine as the one before."""

    def __init__(self, sizes: SwinSizes) -> None:
        super().__init__()
        last = len(sizes.depths) - 1
        self.patch_embed = PatchEmbedding(3, sizes.width)
        self.layers = nn.ModuleList(Stage(sizes, i, "merge" if i < last else "") for i in range(last + 1))
        self.norm = nn.LayerNorm(sizes.stage(last)[0])

    def forward(self, image: Tensor) -> tuple[Tensor, list[Tensor], list[list[Tensor]]]:
        """Takes `[B, 3, H, W]`, returns the coarsest map, what each stage was given, and every block's weights."""
        x, given, maps = self.patch_embed(image), [], []
        for layer in self.layers:
            given.append(x)
            x, weights = layer(x)
            maps.append(weights)
        return self.norm(x), given, maps


class ClassAttention(nn.Module):
    """Attention of one token with itself and the tokens of another map."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.heads = inner // 64
        self.to_q = nn.Linear(width, inner, bias=False)
        self.to_kv = nn.Linear(width, 2 * inner, bias=False)
        self.to_out = nn.ModuleList([nn.Linear(inner, width)])

    def forward(self, x: Tensor, others: Tensor) -> Tensor:
        """Takes the token `[B, 1, width]` and others `[B, N, width]`, returns `[B, 1, width]`."""
        context = torch.cat([x, others], 1)
        k, v = self.to_kv(context).unflatten(2, (2, self.heads, 64)).permute(2, 0, 3, 1, 4)
        q = self.to_q(x).unflatten(2, (self.heads, 64)).transpose(1, 2)
        weights = (q @ k.transpose(2, 3) * 64**-0.5).softmax(3)
        return self.to_out[0]((weights @ v).transpose(1, 2).flatten(2))


class CrossSkip(nn.Module):
    """The decoder's and the encoder's map, each summarised in one token that attends to the other's tokens.

    As published, the summary takes the place of token 0, whose own content is lost.
    """

    def __init__(self, width: int, inner: int, depth: int = 2) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList(self._normalised(width, inner) for _ in range(2)) for _ in range(depth)
        )

    @staticmethod
    def _normalised(width: int, inner: int) -> nn.Module:
        part = nn.ModuleDict({"norm": nn.LayerNorm(width), "fn": ClassAttention(width, inner)})
        return nn.ModuleDict({"fn": part})

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        """Takes two maps `[B, H, W, width]`, returns them joined, `[B, H, W, 2 width]`."""
        a, b = x.flatten(1, 2), skip.flatten(1, 2)
        a_class, b_class = a.mean(1, keepdim=True), b.mean(1, keepdim=True)
        for to_skip, to_decoder in self.layers:
            one, other = to_skip["fn"], to_decoder["fn"]
            a_class = a_class + one["fn"](one["norm"](a_class), b[:, 1:])
            b_class = b_class + other["fn"](other["norm"](b_class), a[:, 1:])
        joined = torch.cat([torch.cat([a_class, a[:, 1:]], 1), torch.cat([b_class, b[:, 1:]], 1)], 2)
        return joined.unflatten(1, x.shape[1:3])


class Decoder(nn.Module):
    """From the coarsest map back to the image."""

    def __init__(self, sizes: SwinSizes, classes: int, crossing: bool) -> None:
        super().__init__()
        last = len(sizes.depths) - 1
        self.layers_up: nn.ModuleList = nn.ModuleList([PatchExpand(sizes.stage(last)[0], 2)])
        self.concat_back_dim = nn.ModuleList([nn.Identity()])
        for index in range(last - 1, -1, -1):
            width = sizes.stage(index)[0]
            self.layers_up.append(Stage(sizes, index, "expand" if index else ""))
            self.concat_back_dim.append(nn.Linear(2 * width, width))
        self.Crossvit_layer = None
        if crossing:
            self.Crossvit_layer = nn.ModuleList(
                CrossSkip(sizes.stage(index)[0], sizes.cross_width) for index in range(last)
            )
        self.norm = nn.LayerNorm(sizes.stage(last)[0])  # in the public checkpoints, and unused
        self.norm_up = nn.LayerNorm(sizes.width)
        self.up = PatchExpand(sizes.width, 4)
        self.output = nn.Conv2d(sizes.width, classes, 1, bias=False)

    def forward(self, x: Tensor, given: list[Tensor], maps: list[list[Tensor]] | None) -> Tensor:
        """Takes what the encoder gave, returns scores `[B, classes, H, W]`."""
        x = self.layers_up[0](x)
        for step in range(1, len(self.layers_up)):
            index = len(self.layers_up) - 1 - step
            skip = given[index]
            crossing = self.Crossvit_layer
            x = torch.cat([x, skip], 3) if crossing is None else crossing[index](x, skip)
            x, _ = self.layers_up[step](self.concat_back_dim[step](x), None if maps is None else maps[index])
        return self.output(self.up(self.norm_up(x)).permute(0, 3, 1, 2))


class AttSwinUNet(nn.Module):
    """Segmentation of an image of one size.

    Args:
        sizes: Of the network.
        classes: Number of classes.
        crossing: Whether skip connections attend to the decoder (else they are joined with it).
        spatial: Whether the encoder's attention maps are added to the decoder's.
    """

    def __init__(
        self, sizes: SwinSizes | None = None, classes: int = 9, crossing: bool = True, spatial: bool = True
    ) -> None:
        super().__init__()
        sizes = sizes or SwinSizes()
        self.spatial = spatial
        self.patch_embed = PatchEmbedding(4, sizes.width)  # in the public checkpoints, and unused
        self.encoder = Encoder(sizes)
        self.decoder = Decoder(sizes, classes, crossing)

    def forward(self, image: Tensor) -> Tensor:
        """Takes `[B, 3, side, side]`, returns scores of the classes at every pixel, `[B, classes, side, side]`."""
        x, given, maps = self.encoder(image)
        return self.decoder(x, given, maps if self.spatial else None)

"""ParaTransCNN (Sun et al., 2024): a ResNet-34 and a pyramid of transformers side by side, joined at three scales.

Written from the published structure; names of parameters are those of the public checkpoints. The residual stem has no
pooling, tokens carry no position, and at every scale the transformer's channels stand before the convolutions'.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Attention of all tokens with all; queries, keys and values without bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, N, width]`."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return self.proj(F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers with GELU between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        # Two dropouts stand where they were trained, so that the parameters keep their public numbers.
        self.net = nn.Sequential(
            nn.Linear(width, inner), nn.GELU(), nn.Dropout(0.1), nn.Linear(inner, width), nn.Dropout(0.1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, N, width]`."""
        return self.net(x)


class Normalised(nn.Module):
    """Layer normalisation before a part."""

    def __init__(self, width: int, part: nn.Module) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fn = part

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, N, width]`."""
        return self.fn(self.norm(x))


class Residual(nn.Module):
    """The input added to what a part gives."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.fn = part

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, N, width]`."""
        return self.fn(x) + x


class Transformer(nn.Module):
    """Blocks of attention and feed-forward, normalised before and never after."""

    def __init__(self, width: int, depth: int, heads: int) -> None:
        super().__init__()
        parts: list[nn.Module] = []
        for _ in range(depth):
            parts += [Residual(Normalised(width, Attention(width, heads)))]
            parts += [Residual(Normalised(width, FeedForward(width, 2 * width)))]
        self.net = nn.Sequential(*parts)

    def forward(self, image: Tensor) -> Tensor:
        """Takes and returns `[B, width, H, W]`."""
        tokens = self.net(image.flatten(2).transpose(1, 2))
        return tokens.transpose(1, 2).unflatten(2, image.shape[2:])


class SqueezeExcitation(nn.Module):
    """Channels weighted by what their means say."""

    def __init__(self, channels: int, reduction: int = 16) -> None:
        super().__init__()
        inner = channels // reduction
        self.fc = nn.Sequential(
            nn.Linear(channels, inner, bias=False), nn.ReLU(), nn.Linear(inner, channels, bias=False), nn.Sigmoid()
        )

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        return x * self.fc(x.mean((2, 3)))[:, :, None, None]


class DecoderBlock(nn.Module):
    """Two 3x3 convolutions, each normalised and rectified."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1 = nn.BatchNorm2d(channels)
        self.conv3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm3 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, H, W]`."""
        return self.norm3(self.conv3(self.norm1(self.conv1(x)).relu())).relu()


class ParaTransCNN(nn.Module):
    """Segmentation of an image whose sides are multiples of 16.

    Args:
        dim: Width of the transformer's first stage; it doubles twice (320 as published).
        classes: Number of classes.
        heads: Heads of every stage.
        depth: Blocks of every stage.
        channels: Channels of the image.
        residual: Residual blocks a stage (ResNet-34's).
    """

    def __init__(
        self,
        dim: int = 320,
        classes: int = 9,
        heads: int = 8,
        depth: int = 3,
        channels: int = 3,
        residual: tuple[int, int, int, int] = (3, 4, 6, 3),
    ) -> None:
        super().__init__()
        from torchvision.models.resnet import BasicBlock, ResNet

        body = ResNet(BasicBlock, list(residual))
        widths = [dim, 2 * dim, 4 * dim]
        for index, width in enumerate(widths, start=1):
            setattr(self, f"vit_{index}", Transformer(width, depth, heads))
        self.patch_embed_1 = nn.Conv2d(channels, dim, 4, 4)
        self.patch_embed_2 = nn.Conv2d(dim, 2 * dim, 2, 2)
        self.patch_embed_3 = nn.Conv2d(2 * dim, 4 * dim, 2, 2)
        self.firstconv, self.firstbn = body.conv1, body.bn1
        self.encoder1, self.encoder2 = body.layer1, body.layer2
        self.encoder3, self.encoder4 = body.layer3, body.layer4
        coarse, middle, fine = 512 + 4 * dim, 256 + 2 * dim, 128 + dim
        self.SE_1, self.SE_2, self.SE_3 = (SqueezeExcitation(width) for width in (coarse, middle, fine))
        self.decoder1 = DecoderBlock(coarse)
        self.up3_1 = nn.ConvTranspose2d(coarse, middle, 2, 2)
        self.decoder2 = DecoderBlock(2 * middle)
        self.up2_1 = nn.ConvTranspose2d(2 * middle, 2 * fine, 2, 2)
        self.decoder3 = DecoderBlock(3 * fine)
        self.up1_1 = nn.ConvTranspose2d(3 * fine, dim, 4, 4)
        self.out = nn.Conv2d(dim, classes, 1)

    def forward(self, image: Tensor) -> Tensor:
        """Takes `[B, 3, H, W]`, returns scores of the classes at every pixel, `[B, classes, H, W]`."""
        v1 = self.vit_1(self.patch_embed_1(image))
        v2 = self.vit_2(self.patch_embed_2(v1))
        v3 = self.vit_3(self.patch_embed_3(v2))
        e1 = self.encoder1(self.firstbn(self.firstconv(image)).relu())
        e2 = self.encoder2(e1)
        e3 = self.encoder3(e2)
        e4 = self.encoder4(e3)
        x = self.up3_1(self.decoder1(self.SE_1(torch.cat([v3, e4], 1))))
        x = self.up2_1(self.decoder2(torch.cat([self.SE_2(torch.cat([v2, e3], 1)), x], 1)))
        x = self.up1_1(self.decoder3(torch.cat([self.SE_3(torch.cat([v1, e2], 1)), x], 1)))
        return self.out(x)

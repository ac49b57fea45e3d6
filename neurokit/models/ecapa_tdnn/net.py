"""ECAPA-TDNN (Desplanques et al., Interspeech 2020) with SpeechBrain's names of parameters.

Shapes are `[B, C, F]`: channels before frames. Convolutions reflect at both ends, so that a recording of F frames keeps
F frames. The mean over frames in squeeze-excitation and the statistics at the end see the whole recording.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

SMALLEST_VARIANCE = 1e-12
MELS, EMBEDDING = 80, 192


class Conv(nn.Module):
    """A convolution over frames that keeps their number, reflecting at the ends."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        reach = dilation * (kernel - 1) // 2
        mode = "reflect" if reach else "zeros"
        self.conv = nn.Conv1d(inputs, outputs, kernel, dilation=dilation, padding=reach, padding_mode=mode)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, F]`."""
        return self.conv(x)


class Norm(nn.Module):
    """Batch normalisation, one level down as SpeechBrain's checkpoints have it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, F]`."""
        return self.norm(x)


class TDNNBlock(nn.Module):
    """Convolution, ReLU, normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, dilation: int = 1) -> None:
        super().__init__()
        self.conv = Conv(inputs, outputs, kernel, dilation)
        self.norm = Norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, inputs, F]`, returns `[B, outputs, F]`."""
        return self.norm(self.conv(x).relu())


class Res2NetBlock(nn.Module):
    """Channels in `scale` parts: the first passes, every later one is convolved together with the result before it."""

    def __init__(self, channels: int, kernel: int, dilation: int, scale: int) -> None:
        super().__init__()
        width = channels // scale
        self.blocks = nn.ModuleList(TDNNBlock(width, width, kernel, dilation) for _ in range(scale - 1))

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, F]`."""
        first, *rest = x.chunk(len(self.blocks) + 1, dim=1)
        done = [first]
        for index, (block, part) in enumerate(zip(self.blocks, rest, strict=True)):
            done.append(block(part if index == 0 else part + done[-1]))
        return torch.cat(done, dim=1)


class SEBlock(nn.Module):
    """Channels weighted by what their means over the recording say (squeeze-excitation)."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = Conv(channels, inner), Conv(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, F]`."""
        return x * self.conv2(self.conv1(x.mean(2, keepdim=True)).relu()).sigmoid()


class SERes2NetBlock(nn.Module):
    """1x1, Res2Net, 1x1, squeeze-excitation, and the input added."""

    def __init__(self, channels: int, kernel: int, dilation: int, scale: int, inner: int) -> None:
        super().__init__()
        self.tdnn1 = TDNNBlock(channels, channels)
        self.res2net_block = Res2NetBlock(channels, kernel, dilation, scale)
        self.tdnn2 = TDNNBlock(channels, channels)
        self.se_block = SEBlock(channels, inner)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, C, F]`."""
        return self.se_block(self.tdnn2(self.res2net_block(self.tdnn1(x)))) + x


class AttentiveStatistics(nn.Module):
    """Mean and deviation over frames, every channel with weights of its own that see the whole recording."""

    def __init__(self, channels: int, inner: int) -> None:
        super().__init__()
        self.tdnn = TDNNBlock(3 * channels, inner)
        self.conv = Conv(inner, channels)

    def forward(self, x: Tensor) -> Tensor:
        """Takes `[B, C, F]`, returns `[B, 2 C, 1]`."""
        mean = x.mean(2, keepdim=True)
        deviation = (x - mean).square().mean(2, keepdim=True).clamp_min(SMALLEST_VARIANCE).sqrt()
        context = torch.cat([x, mean.expand_as(x), deviation.expand_as(x)], dim=1)
        weight = self.conv(self.tdnn(context).tanh()).softmax(2)
        mean = (weight * x).sum(2, keepdim=True)
        variance = (weight * (x - mean).square()).sum(2, keepdim=True)
        return torch.cat([mean, variance.clamp_min(SMALLEST_VARIANCE).sqrt()], dim=1)


class EcapaTDNN(nn.Module):
    """From features of frames to the embedding of a voice.

    Args:
        channels: Width of the trunk (512 or 1024 as published).
        pooled: Width after the three blocks are joined.
        scale: Parts of a Res2Net block.
        inner: Width inside of squeeze-excitation and of the attention.
        mels: Features a frame.
        embedding: Size of the embedding.
    """

    def __init__(
        self,
        channels: int,
        pooled: int = 1536,
        scale: int = 8,
        inner: int = 128,
        mels: int = MELS,
        embedding: int = EMBEDDING,
    ) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            [
                TDNNBlock(mels, channels, 5),
                *(SERes2NetBlock(channels, 3, dilation, scale, inner) for dilation in (2, 3, 4)),
            ]
        )
        self.mfa = TDNNBlock(3 * channels, pooled)
        self.asp = AttentiveStatistics(pooled, inner)
        self.asp_bn = Norm(2 * pooled)
        self.fc = Conv(2 * pooled, embedding)

    def forward(self, features: Tensor) -> Tensor:
        """Takes features `[B, F, mels]`, returns embeddings `[B, embedding]`."""
        x = self.blocks[0](features.transpose(1, 2))
        seen = []
        for block in self.blocks[1:]:
            x = block(x)
            seen.append(x)
        pooled = self.asp(self.mfa(torch.cat(seen, dim=1)))
        return self.fc(self.asp_bn(pooled)).squeeze(2)

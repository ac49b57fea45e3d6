"""Meta-SpikeFormer (Spike-driven Transformer V2) with SDSA-3 attention and membrane shortcuts.

Written from the published architecture (Yao et al., "Spike-driven Transformer V2", ICLR 2024). Module and parameter
names are those of the public checkpoint, so `load_state_dict` takes it. All tensors inside are `[T, B, C, H, W]`;
T and B are read from the input, so that an export may keep both symbolic.
"""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import neuron, surrogate
from torch import nn

from neurokit.errors import InputError

HEADS = 8
# A constant of the architecture, whatever the width of a head.
ATTENTION_SCALE = 0.125


def lif(v_threshold: float = 1.0) -> neuron.LIFNode:
    """Returns the model's neuron: LIF, tau 2, input decayed, hard reset to 0, multi-step."""
    return neuron.LIFNode(
        tau=2.0,
        decay_input=True,
        v_threshold=v_threshold,
        v_reset=0.0,
        surrogate_function=surrogate.Sigmoid(),
        detach_reset=True,
        step_mode="m",
    )


def per_step(layer: nn.Module, x: torch.Tensor) -> torch.Tensor:
    """Applies a stateless layer to every time step at once: `[T, B, ...]` is seen as one batch of T x B."""
    return layer(x.flatten(0, 1)).unflatten(0, x.shape[:2])


class BNAndPad(nn.Module):
    """Batch normalisation, then padding by the value that it gives to zero.

    So a border looks as if zeros had gone through the 1x1 convolution before it, and everything up to the next
    convolution stays linear in the zero-padded input.
    """

    def __init__(self, channels: int, padding: int) -> None:
        super().__init__()
        self.bn: Any = nn.BatchNorm2d(channels)
        self.padding = padding

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[N, C, H, W]` to `[N, C, H + 2 p, W + 2 p]`."""
        pad = (self.padding,) * 4
        if not self.bn.training:
            return self.bn(F.pad(x, pad))  # zero first: the border becomes BN(0) exactly, without slice writes
        # The border must not enter the batch statistics, and takes no gradient.
        y = F.pad(self.bn(x), pad)
        scale = self.bn.weight.detach() * torch.rsqrt(self.bn.running_var + self.bn.eps)
        zero_maps_to = self.bn.bias.detach() - self.bn.running_mean * scale
        border = F.pad(torch.zeros_like(x[:1, :1]), pad, value=1.0)
        return y + zero_maps_to[:, None, None] * border


class RepConv(nn.Module):
    """Re-parameterised 3x3 convolution: 1x1, BN, depthwise 3x3, 1x1, BN; linear from end to end."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False),
            BNAndPad(channels, padding=1),
            nn.Sequential(
                nn.Conv2d(channels, channels, 3, groups=channels, bias=False),
                nn.Conv2d(channels, channels, 1, bias=False),
                nn.BatchNorm2d(channels),
            ),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[N, C, H, W]` to the same shape."""
        return self.body(x)


class SepConv(nn.Module):
    """Inverted separable convolution: LIF, 1x1 to 2 C, LIF, depthwise 7x7, 1x1 back to C."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 2 * channels
        self.lif1 = lif()
        self.pwconv1 = nn.Conv2d(channels, hidden, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.lif2 = lif()
        self.dwconv = nn.Conv2d(hidden, hidden, 7, padding=3, groups=hidden, bias=False)
        self.pwconv2 = nn.Conv2d(hidden, channels, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[T, B, C, H, W]` to the same shape."""
        time_batch = x.shape[:2]
        x = self.bn1(self.pwconv1(self.lif1(x).flatten(0, 1))).unflatten(0, time_batch)
        return self.bn2(self.pwconv2(self.dwconv(self.lif2(x).flatten(0, 1)))).unflatten(0, time_batch)


class ConvBlock(nn.Module):
    """Convolutional block: SepConv, then a channel convolution of ratio 4, each with a membrane shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 4 * channels
        self.Conv = SepConv(channels)
        self.lif1 = lif()
        self.conv1 = nn.Conv2d(channels, hidden, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(hidden)
        self.lif2 = lif()
        self.conv2 = nn.Conv2d(hidden, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[T, B, C, H, W]` to the same shape."""
        time_batch = x.shape[:2]
        x = x + self.Conv(x)
        y = self.bn1(self.conv1(self.lif1(x).flatten(0, 1))).unflatten(0, time_batch)
        y = self.bn2(self.conv2(self.lif2(y).flatten(0, 1))).unflatten(0, time_batch)
        return x + y


class SDSA3(nn.Module):
    """Spike-driven self-attention 3: `LIF_0.5(0.125 Q (K^T V))` a head, with Q, K and V spikes.

    `K^T V` and its product with Q are sums of integers, so they are exact in any order of summation.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.head_lif = lif()
        self.q_conv = nn.Sequential(RepConv(channels), nn.BatchNorm2d(channels))
        self.k_conv = nn.Sequential(RepConv(channels), nn.BatchNorm2d(channels))
        self.v_conv = nn.Sequential(RepConv(channels), nn.BatchNorm2d(channels))
        self.q_lif = lif()
        self.k_lif = lif()
        self.v_lif = lif()
        self.attn_lif = lif(v_threshold=0.5)
        self.proj_conv = nn.Sequential(RepConv(channels), nn.BatchNorm2d(channels))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[T, B, C, H, W]` to the same shape."""
        size = x.shape
        x = self.head_lif(x)
        q = self._heads(self.q_lif(per_step(self.q_conv, x)))
        k = self._heads(self.k_lif(per_step(self.k_conv, x)))
        v = self._heads(self.v_lif(per_step(self.v_conv, x)))
        # Tokens are the last axis: this is (Q (K^T V))^T, linear in the number of tokens.
        y = (v @ k.transpose(-2, -1)) @ q * ATTENTION_SCALE
        y = self.attn_lif(y.flatten(2, 3).unflatten(3, size[3:]))
        return per_step(self.proj_conv, y)

    @staticmethod
    def _heads(x: torch.Tensor) -> torch.Tensor:
        """Splits `[T, B, C, H, W]` into `[T, B, heads, C / heads, H W]`."""
        return x.flatten(3).unflatten(2, (HEADS, x.shape[2] // HEADS))


class MLP(nn.Module):
    """Channel mixing: LIF, 1x1 to 4 C, LIF, 1x1 back, over tokens."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = 4 * channels
        self.fc1_lif = lif()
        self.fc1_conv = nn.Conv1d(channels, hidden, 1)
        self.fc1_bn = nn.BatchNorm1d(hidden)
        self.fc2_lif = lif()
        self.fc2_conv = nn.Conv1d(hidden, channels, 1)
        self.fc2_bn = nn.BatchNorm1d(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[T, B, C, H, W]` to the same shape."""
        time_batch, size = x.shape[:2], x.shape[3:]
        x = self.fc1_lif(x.flatten(3))
        x = self.fc1_bn(self.fc1_conv(x.flatten(0, 1))).unflatten(0, time_batch)
        x = self.fc2_bn(self.fc2_conv(self.fc2_lif(x).flatten(0, 1))).unflatten(0, time_batch)
        return x.unflatten(3, size)


class TransformerBlock(nn.Module):
    """Transformer block: SDSA-3 and MLP, each with a membrane shortcut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attn = SDSA3(channels)
        self.mlp = MLP(channels)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[T, B, C, H, W]` to the same shape."""
        x = x + self.attn(x)
        return x + self.mlp(x)


class Downsampling(nn.Module):
    """LIF (not before the first one: it receives the image), convolution with bias, BN."""

    def __init__(self, channels_in: int, channels: int, kernel: int, stride: int, *, first: bool = False) -> None:
        super().__init__()
        self.encode_conv = nn.Conv2d(channels_in, channels, kernel, stride, padding=kernel // 2)
        self.encode_bn = nn.BatchNorm2d(channels)
        if not first:
            self.encode_lif = lif()
        self.first = first

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Maps `[T, B, C_in, H, W]` to `[T, B, C, H / stride, W / stride]`."""
        time_batch = x.shape[:2]
        if not self.first:
            x = self.encode_lif(x)
        return self.encode_bn(self.encode_conv(x.flatten(0, 1))).unflatten(0, time_batch)


class MetaSpikeFormer(nn.Module):
    """Meta-SpikeFormer for classification: two convolutional and two transformer stages of LIF neurons.

    Args:
        channels: Widths of the four stages; the last two must be divisible by 8, the number of heads.
        classes: Number of classes.
        depths: Number of convolutional blocks in the second stage and of transformer blocks in the last two; 77
            neurons are those of the published (2, 6, 2).

    Attributes:
        T: Number of time steps over which an image without a time axis is repeated.
    """

    def __init__(
        self, channels: tuple[int, int, int, int], classes: int = 1000, depths: tuple[int, int, int] = (2, 6, 2)
    ) -> None:
        super().__init__()
        convolutional, third, fourth = depths
        c1, c2, c3, c4 = channels
        self.T = 4
        self.downsample1_1 = Downsampling(3, c1 // 2, 7, 2, first=True)
        self.ConvBlock1_1 = nn.ModuleList([ConvBlock(c1 // 2)])
        self.downsample1_2 = Downsampling(c1 // 2, c1, 3, 2)
        self.ConvBlock1_2 = nn.ModuleList([ConvBlock(c1)])
        self.downsample2 = Downsampling(c1, c2, 3, 2)
        self.ConvBlock2_1 = nn.ModuleList([ConvBlock(c2)])
        self.ConvBlock2_2 = nn.ModuleList([ConvBlock(c2) for _ in range(convolutional - 1)])
        self.downsample3 = Downsampling(c2, c3, 3, 2)
        self.block3 = nn.ModuleList([TransformerBlock(c3) for _ in range(third)])
        self.downsample4 = Downsampling(c3, c4, 3, 1)
        self.block4 = nn.ModuleList([TransformerBlock(c4) for _ in range(fourth)])
        self.lif = lif()
        self.head = nn.Linear(c4, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Classifies a sequence of images, or one image that is shown T times.

        Args:
            x: `[T, B, 3, H, W]`, or `[B, 3, H, W]`; H and W divisible by 16.

        Returns:
            Logits `[B, classes]`, averaged over time.
        """
        if x.dim() == 4:
            x = x.unsqueeze(0).expand(self.T, -1, -1, -1, -1)
        x = self.downsample1_1(x)
        for stage in (
            self.ConvBlock1_1,
            (self.downsample1_2,),
            self.ConvBlock1_2,
            (self.downsample2,),
            self.ConvBlock2_1,
            self.ConvBlock2_2,
            (self.downsample3,),
            self.block3,
            (self.downsample4,),
            self.block4,
        ):
            for block in stage:
                x = block(x)
        return self.head(self.lif(x.flatten(3).mean(3))).mean(0)


def merge_repconv(module: nn.Module) -> nn.Module:
    """Returns a copy in which every RepConv, and a BN right behind it, is one dense 3x3 convolution with bias.

    The merge is exact up to rounding, borders included: with x padded by zeros, RepConv computes
    `BN2(P2 D (BN1(P1 x)))`, so `W[o, i] = sum_c s2[o] P2[o, c] D[c] s1[c] P1[c, i]` and the rest is bias. The
    products are formed in float64. Spikes then are the only operands of the convolution, at 9 C^2 instead of
    2 C^2 + 9 C weights and multiplications a pixel.

    Raises:
        InputError: If `module` is in training mode, where batch statistics decide instead of the running ones.
    """
    if module.training:
        raise InputError(
            "cannot merge the convolutions of a module in training mode",
            expected="evaluation mode",
            fix="call module.eval()",
        )
    merged = copy.deepcopy(module)
    if isinstance(merged, RepConv):
        return _merge(merged, None)
    for parent in list(merged.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RepConv):
                setattr(parent, name, _merge(child, None))
            elif isinstance(child, nn.Sequential) and _is_repconv_bn(child):
                rep, outer = child
                setattr(parent, name, nn.Sequential(_merge(rep, outer)))
    return merged


def _is_repconv_bn(sequence: nn.Sequential) -> bool:
    return len(sequence) == 2 and isinstance(sequence[0], RepConv) and isinstance(sequence[1], nn.BatchNorm2d)


def _merge(rep: Any, outer: Any) -> nn.Conv2d:
    """Merges one RepConv, and the BN behind it if any, into a convolution of the same type and device."""
    first, bn_pad, (depthwise, last, bn2) = rep.body
    scale1, shift1 = _affine(bn_pad.bn)
    kernel = depthwise.weight.detach().double()[:, 0]
    mix_in = first.weight.detach().double()[:, :, 0, 0] * scale1[:, None]
    mix_out = last.weight.detach().double()[:, :, 0, 0]
    weight = torch.einsum("oc,cuv,ci->oiuv", mix_out, kernel, mix_in)
    bias = mix_out @ (kernel.sum((1, 2)) * shift1)
    for bn in (bn2, outer):
        if bn is not None:
            scale, shift = _affine(bn)
            weight, bias = weight * scale[:, None, None, None], bias * scale + shift
    conv: Any = nn.Conv2d(weight.shape[1], weight.shape[0], 3, padding=1)
    conv = conv.to(first.weight).eval()
    with torch.no_grad():
        conv.weight.copy_(weight)
        conv.bias.copy_(bias)
    return conv


def _affine(bn: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns scale and shift of a batch normalisation in evaluation mode, in float64."""
    scale = bn.weight.detach().double() / torch.sqrt(bn.running_var.double() + bn.eps)
    return scale, bn.bias.detach().double() - bn.running_mean.double() * scale

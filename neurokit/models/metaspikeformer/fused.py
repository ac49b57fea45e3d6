"""Meta-SpikeFormer on the fused kernels: normalisations folded, channels last, shortcut and neuron in one pass.

The lowering from a model to it: fold every batch normalisation into the convolution before it; keep RepConv as its
three convolutions (as one, it would cost 4.5 times the multiplications on a GPU); keep all tensors `[T, B, H, W, C]`;
end every shortcut in one `lif` that adds the residual, stores the membrane current and emits the next spikes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neurokit.errors import InputError
from neurokit.kernels.depthwise.op import depthwise
from neurokit.kernels.graph import capture_graph
from neurokit.kernels.lif.op import lif
from neurokit.kernels.sdsa_lif.op import sdsa_lif
from neurokit.kernels.spike_linear_lif.op import spike_linear_lif

HEADS = 8
# A block takes the current of the shortcut and its spikes, and returns both for the next block.
Block = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Linear:
    """A 1x1 convolution with its normalisation folded: weight `[N, K]`, bias `[N]` float32 or None."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the product alone; the bias is the business of the `lif` behind it."""
        return functional.linear(x, self.weight)


@dataclass(frozen=True)
class Conv:
    """A convolution with its normalisation folded: weight `[N, C, k, k]` channels last, bias `[N]` float32."""

    weight: Tensor
    bias: Tensor
    stride: int
    padding: int

    def __call__(self, x: Tensor) -> Tensor:
        """Maps `[T, B, H, W, C]` to `[T, B, H', W', N]`, without the bias."""
        y = functional.conv2d(x.flatten(0, 1).permute(0, 3, 1, 2), self.weight, None, self.stride, self.padding)
        return y.permute(0, 2, 3, 1).contiguous().unflatten(0, x.shape[:2])


def _affine(bn: Any) -> tuple[Tensor, Tensor]:
    """Returns scale and shift of a normalisation in evaluation mode, in float64."""
    scale = bn.weight.detach().double() * torch.rsqrt(bn.running_var.double() + bn.eps)
    return scale, bn.bias.detach().double() - bn.running_mean.double() * scale


def _fold_conv(conv: Any, bn: Any, dtype: torch.dtype) -> Conv:
    scale, shift = _affine(bn)
    weight = conv.weight.detach().double() * scale[:, None, None, None]
    bias = shift if conv.bias is None else shift + conv.bias.detach().double() * scale
    weight = weight.to(dtype).to(memory_format=torch.channels_last)
    return Conv(weight, bias.float(), conv.stride[0], conv.padding[0])


def _fold_linear(conv: Any, bn: Any, dtype: torch.dtype) -> Linear:
    scale, shift = _affine(bn)
    weight = conv.weight.detach().double().flatten(1) * scale[:, None]
    bias = shift if conv.bias is None else shift + conv.bias.detach().double() * scale
    return Linear(weight.to(dtype).contiguous(), bias.float())


def _depthwise_weight(weight: Tensor, dtype: torch.dtype) -> Tensor:
    """`[C, 1, k, k]` -> `[k, k, C]`."""
    return weight.detach()[:, 0].permute(1, 2, 0).to(dtype).contiguous()


@dataclass(frozen=True)
class Rep:
    """RepConv and the normalisation behind it, as 1x1, depthwise 3x3 with zero padding, 1x1 and a bias.

    Its inner padding value is what its first normalisation makes of zero. So with scale s and shift t of that
    normalisation, the depthwise convolution sees `s y + t` everywhere, border included: that is the zero-padded
    convolution of `s y` plus `t` times the sum of the kernel, a constant that joins the bias.
    """

    first: Tensor
    kernel: Tensor
    last: Tensor
    bias: Tensor


def _fold_rep(sequence: Any, dtype: torch.dtype) -> Rep:
    rep, outer = sequence
    first, bn_pad, (kernel, last, bn2) = rep.body
    inner_scale, inner_shift = _affine(bn_pad.bn)
    (scale2, shift2), (scale3, shift3) = _affine(bn2), _affine(outer)
    mix = last.weight.detach().double().flatten(1)
    constant = mix @ (kernel.weight.detach().double().sum((1, 2, 3)) * inner_shift)
    bias = (constant * scale2 + shift2) * scale3 + shift3
    return Rep(
        (first.weight.detach().double().flatten(1) * inner_scale[:, None]).to(dtype),
        _depthwise_weight(kernel.weight, dtype),
        (mix * (scale2 * scale3)[:, None]).to(dtype).contiguous(),
        bias.float(),
    )


def _shortcut(y: Tensor, bias: Tensor | None, x: Tensor | None) -> tuple[Tensor, Tensor]:
    """Adds bias and residual, and runs the next neuron: one pass. Returns the current and the spikes."""
    s, _, current = lif(y, bias=bias, residual=x, want_v=False, want_current=True)
    return current, s


def _neuron(y: Tensor, bias: Tensor | None, spikes: str = "same") -> Tensor:
    return lif(y, bias=bias, want_v=False, spikes=spikes)[0]


def _product_neuron(layer: Linear, x: Tensor, spikes: str = "same") -> Tensor:
    """A 1x1 convolution and the neuron behind it."""
    if layer.weight.dtype == torch.float32:
        return _neuron(layer(x), layer.bias, spikes)
    rows = x.flatten(1, -2)
    fired, _, _ = spike_linear_lif(rows, layer.weight, bias=layer.bias, form=spikes)
    return fired.view(*x.shape[:-1], fired.shape[-1])


def _product_shortcut(layer: Linear, y: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution that ends a block: adds the residual, and runs the next neuron."""
    if layer.weight.dtype == torch.float32:
        return _shortcut(layer(y), layer.bias, x)
    s, _, current = spike_linear_lif(
        y.flatten(1, -2), layer.weight, bias=layer.bias, residual=x.flatten(1, -2), want_current=True, form="same"
    )
    return current.view(x.shape), s.view(x.shape)


class _ConvBlock:
    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        self.expand = _fold_linear(block.Conv.pwconv1, block.Conv.bn1, dtype)
        self.kernel = _depthwise_weight(block.Conv.dwconv.weight, dtype)
        self.reduce = _fold_linear(block.Conv.pwconv2, block.Conv.bn2, dtype)
        self.conv1 = _fold_conv(block.conv1, block.bn1, dtype)
        self.conv2 = _fold_conv(block.conv2, block.bn2, dtype)

    def __call__(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        # As int8 these spikes cost the depthwise convolution half the traffic.
        hidden = _product_neuron(self.expand, s, "int8")
        mixed = depthwise(hidden.flatten(0, 1), self.kernel, padding=3).unflatten(0, s.shape[:2])
        x, s = _product_shortcut(self.reduce, mixed, x)
        hidden = _neuron(self.conv1(s), self.conv1.bias)
        return _shortcut(self.conv2(hidden), self.conv2.bias, x)


class _Down:
    def __init__(self, layer: Any, dtype: torch.dtype) -> None:
        self.conv = _fold_conv(layer.encode_conv, layer.encode_bn, dtype)

    def __call__(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        return _shortcut(self.conv(s), self.conv.bias, None)


class _TransformerBlock:
    def __init__(self, block: Any, dtype: torch.dtype) -> None:
        parts = [_fold_rep(getattr(block.attn, f"{name}_conv"), dtype) for name in "qkv"]
        self.first = torch.cat([part.first for part in parts])
        self.kernel = torch.cat([part.kernel for part in parts], 2).contiguous()
        self.last = torch.stack([part.last.t() for part in parts]).contiguous()
        self.biases = [part.bias for part in parts]
        self.proj = _fold_rep(block.attn.proj_conv, dtype)
        self.fc1 = _fold_linear(block.mlp.fc1_conv, block.mlp.fc1_bn, dtype)
        self.fc2 = _fold_linear(block.mlp.fc2_conv, block.mlp.fc2_bn, dtype)

    def __call__(self, x: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        steps, batch, height, width, channels = s.shape
        # One product and one depthwise convolution for Q, K and V: they read the same spikes.
        mixed = depthwise(functional.linear(s, self.first).flatten(0, 1), self.kernel, padding=1)
        rows = mixed.view(-1, 3, channels).transpose(0, 1)
        heads = torch.bmm(rows, self.last).view(3, steps, batch, height * width, channels)
        q, k, v = (_neuron(y, bias, "int8") for y, bias in zip(heads, self.biases, strict=True))
        # int8 spikes come back as float16; another activation type needs a cast.
        y = sdsa_lif(q, k, v, HEADS, form="same").to(s.dtype).view(s.shape)
        y = depthwise(functional.linear(y, self.proj.first).flatten(0, 1), self.proj.kernel, padding=1)
        y = functional.linear(y.unflatten(0, (steps, batch)), self.proj.last)
        x, s = _shortcut(y, self.proj.bias, x)
        hidden = _product_neuron(self.fc1, s)
        return _product_shortcut(self.fc2, hidden, x)


class FusedMetaSpikeFormer:
    """Inference of a Meta-SpikeFormer on the fused kernels.

    Args:
        model: The module, in evaluation mode, with the names of the public checkpoint.
        dtype: Type of weights and activations; membranes are float32.

    Raises:
        InputError: If the model is in training mode.
    """

    def __init__(self, model: nn.Module, dtype: torch.dtype = torch.float16) -> None:
        if model.training:
            raise InputError("cannot fold the normalisations of a model in training mode", fix="call model.eval()")
        source: Any = model
        self.dtype = dtype
        self.time_steps: int = source.T
        stem = _fold_conv(source.downsample1_1.encode_conv, source.downsample1_1.encode_bn, dtype)
        self.stem = stem
        self.blocks: list[Block] = [_ConvBlock(block, dtype) for block in source.ConvBlock1_1]
        self.blocks.append(_Down(source.downsample1_2, dtype))
        self.blocks += [_ConvBlock(block, dtype) for block in source.ConvBlock1_2]
        self.blocks.append(_Down(source.downsample2, dtype))
        self.blocks += [_ConvBlock(block, dtype) for block in (*source.ConvBlock2_1, *source.ConvBlock2_2)]
        self.blocks.append(_Down(source.downsample3, dtype))
        self.blocks += [_TransformerBlock(block, dtype) for block in source.block3]
        self.blocks.append(_Down(source.downsample4, dtype))
        self.blocks += [_TransformerBlock(block, dtype) for block in source.block4]
        self.head_weight = source.head.weight.detach().to(dtype)
        self.head_bias = source.head.bias.detach().to(dtype)

    @torch.no_grad()
    def features(self, images: Tensor) -> Tensor:
        """Returns the membrane current behind the last block, `[T, B, H / 16, W / 16, C]`."""
        if images.dim() != 4:
            raise InputError(f"images have shape {tuple(images.shape)}", expected="[B, 3, H, W]")
        # The image does not change over time: its convolution is computed once and read T times.
        pixels = images.to(self.dtype).permute(0, 2, 3, 1).unsqueeze(0)
        current = self.stem(pixels) + self.stem.bias.to(self.dtype)
        x = current.expand(self.time_steps, *current.shape[1:])
        s = lif(x, want_v=False)[0]
        for block in self.blocks:
            x, s = block(x, s)
        return x

    @torch.no_grad()
    def __call__(self, images: Tensor) -> Tensor:
        """Classifies images `[B, 3, H, W]` shown T times; returns logits `[B, classes]`."""
        x = self.features(images)
        s, _, _ = lif(x.flatten(2, 3).mean(2), want_v=False)
        return functional.linear(s, self.head_weight, self.head_bias).mean(0)

    def graph(self, images: Tensor) -> Callable[[Tensor], Tensor]:
        """Captures one inference into a CUDA graph.

        Args:
            images: Example input on the GPU; its shape is the graph's.

        Returns:
            A function that copies its input into the graph's, replays it, and returns the graph's own output
            tensor, which the next call overwrites.
        """
        return capture_graph(self, images)

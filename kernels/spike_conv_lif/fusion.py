"""`spike_conv_lif` in a program: a square convolution of spikes, a sum, and the neuron."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from neurokit.kernels.common.fusion import COUNTS, ProductNeuron, matched, product_before, weights_of
from neurokit.kernels.spike_conv_lif.op import spike_conv_lif
from neurokit.program.fusions import Fusion, Match, Site, register_fusion
from neurokit.program.ops import is_named


class ConvLayer(ProductNeuron):
    """A convolution of channels-last spikes: channels are moved last for it, and back."""

    stride, padding = 1, 0

    @property
    def joins_with(self) -> Any:
        """Stride and padding, too."""
        return (super().joins_with, self.stride, self.padding)

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Runs the kernel on spikes `[T * B, C, H, W]`."""
        x, _, *residual = given
        last = x.unflatten(0, (self.steps, -1)).movedim(2, -1)
        kept = self.weight.dtype
        spikes = last.to(kept) if kept.is_floating_point else last.char()
        height, width = (self._size(size) for size in x.shape[2:])
        beside = None
        if residual:
            beside = residual[0].reshape(self.steps, -1, self.weight.shape[0], height, width).movedim(2, -1)
        found, current = spike_conv_lif(
            spikes,
            self.weight,
            scale=self.scale,
            bias=self.bias,
            residual=beside,
            stride=self.stride,
            padding=self.padding,
            form=self.form,
            want_current=self.own_handed,
            **self.keywords,
            **self.rounding,
        )
        current = current.movedim(-1, 2) if self.own_handed else current
        return self.answer(found.movedim(-1, 2), current, given)

    def _size(self, size: int) -> int:
        return (size + 2 * self.padding - self.weight.shape[1]) // self.stride + 1


def _match(site: Site) -> Match | str:
    product = product_before(site, counts=COUNTS)
    if isinstance(product, str):
        return product
    if not is_named(product.node, ("conv2d",)):
        return "before it stands no convolution of pictures"
    if isinstance(product.node.args[4] if len(product.node.args) > 4 else [0], str):
        return "its padding is a word"
    stride, padding, dilation, groups = product.settings
    kernel = set(product.weight.shape[2:])
    if groups != 1 or set(dilation) != {1}:
        return "its convolution has groups or holes"
    if len(kernel) != 1 or len(set(stride)) != 1 or len(set(padding)) != 1:
        return "its convolution is not square"
    weights = weights_of(site, product)
    if isinstance(weights, str):
        return weights
    layer = ConvLayer(site, product, weights[0].permute(0, 2, 3, 1), weights[1])
    layer.stride, layer.padding = int(stride[0]), int(padding[0])
    return matched(site, product, layer)


register_fusion(Fusion("spike_conv_lif", 30, _match))

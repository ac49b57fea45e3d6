"""`spike_conv_lif` in a program: a square convolution of spikes, a sum, and the neuron."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.kernels.common.fusion import (
    COUNTS,
    Product,
    ProductNeuron,
    integer_rows,
    matched,
    product_before,
    weights_of,
    whole_rows,
)
from neurokit.kernels.common.sums import Sums, sums
from neurokit.kernels.spike_conv_lif.borders import corrections
from neurokit.kernels.spike_conv_lif.op import spike_conv_lif
from neurokit.kernels.spike_conv_lif.place import ALIGNED
from neurokit.program.fusions import Fusion, Match, Rewrite, Site, Taken, register_fusion, register_rewrite
from neurokit.program.nodes import convolution_settings
from neurokit.program.ops import is_named
from neurokit.program.walk import fetch

GROUPS = 8  # of a convolution that is computed as one, most of whose products are then with zero


class ConvLayer(ProductNeuron):
    """A convolution of channels-last spikes: channels are moved last for it, and back."""

    stride, padding = 1, 0
    corrections: Tensor | None

    @property
    def joins_with(self) -> Any:
        """Stride and padding, too."""
        return None if self.less else (super().joins_with, self.stride, self.padding)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Runs the kernel on spikes `[T * B, C, H, W]`."""
        x, residual, beside = self.parts(given)
        last = x.unflatten(0, (self.steps, -1)).movedim(2, -1)
        kept = self.weight.dtype
        spikes = last.to(kept) if kept.is_floating_point else last.char()
        height, width = (self._size(size) for size in x.shape[2:])

        def lying(value: Tensor | None) -> Tensor | None:
            if value is None:
                return None
            return value.reshape(self.steps, -1, self.weight.shape[0], height, width).movedim(2, -1)

        found, current = spike_conv_lif(
            spikes,
            self.weight,
            scale=self.scale,
            bias=self.bias,
            residual=lying(residual),
            beside=None if beside is None else lying(beside.to(self.numbers)),
            stride=self.stride,
            padding=self.padding,
            form=self.form,
            want_current=self.want_current,
            whole=self.exact and kept.is_floating_point,
            # The vendor's convolution would leave its layout to the compiler, which errs (export/aoti/compile.py).
            path="kernel",
            corrections=self.corrections,
            **self.keywords,
            **self.rounding,
        )
        current = current.movedim(-1, 2) if self.want_current else current
        return self.answer(found.movedim(-1, 2), current, given)

    def _size(self, size: int) -> int:
        return (size + 2 * self.padding - self.weight.shape[1]) // self.stride + 1


def _match(site: Site) -> Match | str:
    product = product_before(site, counts=COUNTS, halves=True)
    if isinstance(product, str):
        return product
    if why := _obstacle(product):
        return why
    stride, padding, _, groups = product.settings
    weights = weights_of(site, product)
    if isinstance(weights, str):
        return weights
    layer = ConvLayer(site, product, ungrouped(weights[0], groups).permute(0, 2, 3, 1), weights[1])
    layer.stride, layer.padding = int(stride[0]), int(padding[0])
    layer.register_buffer("corrections", corrections_of(product, layer))
    return matched(site, product, layer)


def _obstacle(product: Product) -> str:
    """Returns why the kernel has no such convolution, or ""."""
    return _not_square(product.node, product.weight)


def _not_square(node: Node, weight: Tensor) -> str:
    """Returns why a product is no square convolution of pictures that the kernel has, or ""."""
    if not is_named(node, ("conv2d",)):
        return "before it stands no convolution of pictures"
    if isinstance(node.args[4] if len(node.args) > 4 else [0], str):
        return "its padding is a word"
    stride, padding, dilation, groups = convolution_settings(node)
    if set(dilation) != {1}:
        return "its convolution has holes"
    if groups > GROUPS:
        return f"its convolution has {groups} groups: as one it would cost as many times the multiplications"
    square = len(set(weight.shape[2:])) == len(set(stride)) == len(set(padding)) == 1
    return "" if square else "its convolution is not square"


def ungrouped(weight: Tensor, groups: int) -> Tensor:
    """Returns the weight `[N, C, k, k]` of one convolution that does what `[N, C / groups, k, k]` does in groups."""
    if groups == 1:
        return weight
    made = weight.new_zeros(weight.shape[0], weight.shape[1] * groups, *weight.shape[2:])
    for at, rows in enumerate(weight.chunk(groups)):
        first, count = at * len(rows), weight.shape[1]
        made[first : first + len(rows), at * count : (at + 1) * count] = rows
    return made


class ConvSums(Sums):
    """A convolution of `[B, C, H, W]`, or a linear map of the last axis of numbers in float16, without a neuron."""

    stride, padding, last = 1, 0, False
    corrections: Tensor | None

    def forward(self, x: Tensor, *beside: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Runs the kernel, of `[B, C, H, W]` and what is added, `[B, N, H', W']`."""
        kept = self.weight.dtype
        spikes = self._rows(x).to(kept)
        place: dict[str, Any] = {"stride": self.stride, "padding": self.padding, "whole": kept.is_floating_point}
        residual = self._rows(beside[0]) if beside else None
        given = {**place, **self.asked, "residual": residual, "corrections": self.corrections}
        found, current = spike_conv_lif(spikes, self.weight, **given)

        def back(value: Tensor) -> Tensor:
            if self.last:
                return value.reshape(*x.shape[:-1], -1)
            pixels = value.reshape(x.shape[0], *x.shape[2:], -1) if self.pointwise else value[0]
            return pixels.movedim(-1, 1)

        return self.answer(back(found), back(current) if self.handed else current)

    @property
    def pointwise(self) -> bool:
        """Whether every pixel is on its own, so that all are one row of one picture, whatever its height was."""
        return self.weight.shape[1] == self.stride == 1 and self.padding == 0

    def _rows(self, x: Tensor) -> Tensor:
        """Returns `[B, C, H, W]` as the kernel takes it: `[1, B, H, W, C]`, or `[1, 1, 1, B * H * W, C]`."""
        last = x if self.last else x.movedim(1, -1)
        return last.reshape(1, 1, 1, -1, last.shape[-1]) if self.pointwise else last[None]


def _layer_of(product: Product) -> ConvSums | None:
    rows = whole_rows(product)
    if product.in_halves and is_named(product.node, ("linear",)) and not isinstance(rows, str):
        layer = ConvSums(product, rows[0][:, None, None], rows[1])  # of rows as pixels
        layer.last, layer.corrections = True, None
        return layer
    if _obstacle(product) or isinstance(rows, str):
        return None
    stride, padding, _, groups = product.settings
    plain = product.weight[0, 0].numel() == 1 and set(stride) == {1} and not any(padding)
    if plain and not product.in_halves and not product.less:  # of those there is a product
        return None
    layer = ConvSums(product, ungrouped(rows[0], groups).permute(0, 2, 3, 1), rows[1])
    layer.stride, layer.padding = int(stride[0]), int(padding[0])
    layer.register_buffer("corrections", corrections_of(product, layer))
    return layer


def corrections_of(product: Product, layer: ConvLayer | ConvSums) -> Tensor | None:
    """Returns what is added to the sums of numbers less 128, or None of other numbers."""
    if not product.less:
        return None
    height, width = product.data.meta["val"].shape[2:]
    if isinstance(layer, ConvSums) and layer.pointwise:  # each pixel is a border of its own, and all are alike
        height = width = 1
    weight: Tensor = layer.weight
    return corrections(weight, layer.stride, layer.padding, height, width)


def _takes_bytes(module: GraphModule, node: Node) -> bool:
    """Returns whether the kernel takes the numbers of a convolution as int8 less 128, by descriptors."""
    given = [*node.args[1:3], None][:2]
    if any(value is not None and getattr(value, "op", "") != "get_attr" for value in given):
        return False
    weight = fetch(module, str(node.args[1].target)).detach()  # type: ignore[union-attr]
    if _not_square(node, weight) or isinstance(integer_rows(weight), str):
        return False
    stride, _, _, groups = convolution_settings(node)
    sizes = node.args[0].meta["val"].shape[2:]  # type: ignore[union-attr]
    known = all(isinstance(size, int) and size >= stride[0] for size in sizes)
    return known and groups == 1 and stride[0] <= 2 and len(weight) % ALIGNED == 0


def _take(module: GraphModule, exact: bool) -> list[Taken]:
    return sums(module, _layer_of) if exact else []


register_fusion(Fusion("spike_conv_lif", 30, _match))
register_rewrite(Rewrite("spike_conv_lif", _take, last=True, bytes=_takes_bytes))

"""`spike_linear_lif` in a program: a linear map or 1x1 convolution of spikes, a sum, and the neuron."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule

from neurokit.kernels.common.fusion import (
    COUNTS,
    Product,
    ProductNeuron,
    matched,
    product_before,
    weights_of,
    whole_rows,
)
from neurokit.kernels.common.layout import repeats_a_step
from neurokit.kernels.common.sums import Sums, sums
from neurokit.kernels.spike_linear_lif.op import spike_linear_lif
from neurokit.program.fusions import (
    FusedNeuron,
    Fusion,
    Match,
    Rewrite,
    Site,
    Taken,
    register_fusion,
    register_rewrite,
    shape_of,
)
from neurokit.program.ops import is_named


class LinearLayer(ProductNeuron):
    """A product over the rows of `[T, M, K]`: channels are moved last for it, and back."""

    last = False
    groups = 1

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Runs the kernel on spikes `[T, B, ..., K]`, or `[T * B, K, ...]` of a convolution."""
        x, residual, beside = self.parts(given)
        rows = self._rows(x)
        steps, shape = self.steps, rows.shape[1:-1]
        flat = rows.flatten(1, -2)
        kept = self.weight.dtype
        spikes = flat.to(kept) if kept.is_floating_point else flat.char()

        def lying(value: Tensor | None) -> Tensor | None:
            if value is None:
                return None
            like = value.reshape(steps, -1, *self.rest)
            some = like[:1] if repeats_a_step(like) else like  # its rows may be a copy, which one step is enough for
            rows = (some if self.last or some.dim() == 3 else some.flatten(3).movedim(2, -1)).flatten(1, -2)
            return rows.expand(steps, *rows.shape[1:])

        found, _, current = spike_linear_lif(
            spikes,
            self.weight,
            scale=self.scale,
            bias=self.bias,
            residual=lying(residual),
            beside=None if beside is None else lying(beside.to(self.numbers)),
            form=self.form,
            want_current=self.want_current,
            groups=self.groups,
            **self.keywords,
            **self.rounding,
        )

        def back(value: Tensor) -> Tensor:
            moved = value.reshape(steps, *shape, value.shape[-1])
            return moved if self.last else moved.movedim(-1, 2)

        return self.answer(back(found), back(current) if self.want_current else current, given)

    @property
    def joins_parts(self) -> Any:
        """In 16 bits the same as of layers of one input, of as many channels; the kernel has no groups of int8."""
        floats = self.weight.is_floating_point() and not self.last
        return (self.joins_with, self.channels) if floats else None

    def of_parts(self, others: Sequence[FusedNeuron]) -> FusedNeuron:
        """Returns one layer whose groups of channels are the layers' own."""
        made: Any = self.beside(others)
        made.groups = 1 + len(others)
        plain = torch.block_diag(*(layer.plain_weight.flatten(1) for layer in (self, *others)))  # type: ignore[attr-defined]
        made.plain_weight = plain.reshape(*plain.shape, *self.plain_weight.shape[2:])
        return made

    def _rows(self, x: Tensor) -> Tensor:
        return x if self.last else x.unflatten(0, (self.steps, -1)).movedim(2, -1)


def _match(site: Site) -> Match | str:
    product = product_before(site, counts=COUNTS)
    if isinstance(product, str):
        return product
    linear = is_named(product.node, ("linear",))
    if why := _obstacle(product):
        return why
    weights = weights_of(site, product)
    if isinstance(weights, str):
        return weights
    layer = LinearLayer(site, product, weights[0].reshape(weights[0].shape[0], -1), weights[1])
    layer.last = linear
    if linear:
        layer.channel_axis = len(shape_of(site.current)) - 1
    return matched(site, product, layer)


def _obstacle(product: Product) -> str:
    """Returns why the kernel has no such product, or ""."""
    if is_named(product.node, ("linear",)):
        return ""
    stride, padding, _, groups = product.settings
    if product.weight[0, 0].numel() != 1 or set(stride) != {1} or set(padding) != {0}:
        return "its convolution is larger than 1x1, padded or strided"
    return "its convolution has groups" if groups != 1 else ""


class LinearSums(Sums):
    """A linear map of the last axis, or a 1x1 convolution over the second, without a neuron."""

    last = False

    def forward(self, x: Tensor, *beside: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Runs the kernel, of what it multiplies and what is added."""
        rows, *more = (one if self.last else one.movedim(1, -1) for one in (x, *beside))
        spikes = rows.reshape(1, -1, rows.shape[-1]).to(torch.int8)
        residual = more[0].reshape(1, -1, more[0].shape[-1]) if more else None
        found, _, current = spike_linear_lif(spikes, self.weight, residual=residual, **self.asked)

        def back(value: Tensor) -> Tensor:
            shaped = value.reshape(*rows.shape[:-1], -1)
            return shaped if self.last else shaped.movedim(-1, 1)

        return self.answer(back(found), back(current) if self.handed else current)


def _layer_of(product: Product) -> LinearSums | None:
    rows = whole_rows(product)
    if "transpose" in str(product.node.target) or _obstacle(product) or isinstance(rows, str):
        return None
    if product.in_halves or product.less:  # which `spike_conv_lif` takes
        return None
    layer = LinearSums(product, rows[0].reshape(len(rows[0]), -1), rows[1])
    layer.last = is_named(product.node, ("linear",))
    return layer


def _take(module: GraphModule, exact: bool) -> list[Taken]:
    return sums(module, _layer_of) if exact else []


register_fusion(Fusion("spike_linear_lif", 20, _match))
register_rewrite(Rewrite("spike_linear_lif", _take, last=True))

"""What reaches a population other than by events: shortcuts, maximum pooling and products of activations."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neurokit.hw_sim.engine.integer import IntegerNetwork
from neurokit.hw_sim.engine.layout import Layout, positions, view_layouts
from neurokit.hw_sim.graph.network import Product
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster


@dataclass
class Value:
    """The values of one population through time, dense or as events, in inner order."""

    dense: NDArray[Any]  # [T, rows, width x channels]
    layout: Layout
    _events: dict[tuple[int, bool], tuple[NDArray[Any], ...]] = field(default_factory=dict)
    _counts: NDArray[np.int32] | None = None

    def events(self, flat: bool, graded: bool) -> tuple[NDArray[Any], ...]:
        """Returns rows, place, channel, value; as one row of channels if `flat`."""
        from neurokit.hw_sim.engine import kernels

        if (flat, graded) not in self._events:
            dense = self.dense.reshape(len(self.dense), 1, -1) if flat else self.dense
            channels = dense.shape[2] if flat else self.layout.channels
            self._events[flat, graded] = kernels.list_events(dense, channels, graded)
        return self._events[flat, graded]

    def counts(self) -> NDArray[np.int32]:
        """Returns the values other than zero at each place, `[T, rows, places]`."""
        from neurokit.hw_sim.engine import kernels

        if self._counts is None:
            steps, rows, size = self.dense.shape
            self._counts = np.empty((steps, rows, size // self.layout.channels), np.int32)
            kernels.count_places(self.dense, self.layout.channels, self._counts)
        return self._counts

    def raster(self) -> SpikeRaster:
        """Returns the spikes in the population's own order."""
        from neurokit.hw_sim.engine import kernels

        layout = self.layout
        rows, place, channel, _ = self.events(False, False)
        bits = np.zeros((len(self.dense), (layout.size + 7) // 8), np.uint8)
        kernels.pack_events(rows, place, channel, layout.width, layout.channels, layout.channels_first, bits)
        return SpikeRaster(len(self.dense), layout.size, bits)


class Add:
    """A shortcut or a maximum pooling: dense values that are added to a population's current."""

    def __init__(self, net: IntegerNetwork, layouts: Mapping[str, Layout], projection: Projection) -> None:
        self.projection = projection
        self.source, self.target = view_layouts(projection)
        if projection.kind == "identity":  # written in the target population's own order
            self.target = layouts[projection.target]
            if projection.target_index is not None or self.target.shape != projection.target_shape:
                self.target = Layout.of(projection.target_shape, False)
            self.source = Layout.of(projection.source_shape, self.target.channels_first)
        self.read = positions(self.source, projection.source_index, layouts[projection.source])
        self.written = positions(self.target, projection.target_index, layouts[projection.target])
        self.fan_out = layouts[projection.source].inward(projection.fan_out()[None])[0]
        shift = np.asarray(net.projection(projection.name).shift, np.int64)
        per_channel = np.broadcast_to(shift, (self.target.channels,))
        self.shift = np.tile(per_channel, self.target.rows * self.target.width) if shift.any() else None

    def values(self, values: Mapping[str, Value], events: dict[str, NDArray[np.int64]]) -> NDArray[Any]:
        """Returns what arrives, `[T, target view]`."""
        from neurokit.hw_sim.engine import kernels

        dense = values[self.projection.source].dense
        flat = dense.reshape(len(dense), -1)
        crossed = events[self.projection.name] = np.empty(len(flat), np.int64)
        kernels.weigh(flat, self.fan_out, crossed)
        if self.read is not None:
            flat = np.where(self.read >= 0, flat[:, self.read], flat.dtype.type(0))
        return self._pooled(flat) if self.projection.kind == "maxpool" else flat

    def add(self, total: NDArray[Any], values: Mapping[str, Value], events: dict[str, NDArray[np.int64]]) -> None:
        """Adds what arrives to `total`, `[T, target population]`."""
        arrived = self.values(values, events)
        if self.shift is not None:
            arrived = arrived.astype(total.dtype) << self.shift.astype(total.dtype)
        add_at(total, arrived, self.written)

    def _pooled(self, flat: NDArray[Any]) -> NDArray[Any]:
        from neurokit.hw_sim.engine import kernels

        source, target = self.source, self.target
        windows = [(w.kernel, w.stride, w.padding, w.dilation) for w in self.projection.windows()]
        rows, places = (*windows, (1, 1, 0, 1))[:2]
        out = np.full((len(flat), target.rows, target.width * target.channels), np.iinfo(flat.dtype).min, flat.dtype)
        image = np.ascontiguousarray(flat).reshape(len(flat), source.rows, -1)
        kernels.pool_maximum(image, rows, places, source.channels, out)
        return out.reshape(len(flat), -1)


class Multiply:
    """An activation times activation product that is added to a population."""

    def __init__(self, layouts: Mapping[str, Layout], product: Product) -> None:
        self.product = product
        batch, rows, inner, columns = product.batch, product.rows, product.inner, product.columns
        left = Layout.of((batch, rows, inner), False), product.left_index, layouts[product.left]
        right = Layout.of((batch, inner, columns), False), product.right_index, layouts[product.right]
        self.left, self.right = positions(*left), positions(*right)
        self.written = positions(Layout.of((batch, rows, columns), False), None, layouts[product.target])

    def add(self, total: NDArray[Any], values: Mapping[str, Value], events: dict[str, NDArray[np.int64]]) -> None:
        """Adds the product to `total`, `[T, target population]`."""
        from neurokit.hw_sim.engine import kernels

        p = self.product
        left = self._operand(values[p.left], self.left, total.dtype).reshape(-1, p.rows, p.inner)
        right = self._operand(values[p.right], self.right, total.dtype).reshape(-1, p.inner, p.columns)
        out = np.zeros((len(left), p.rows, p.columns), total.dtype)
        kernels.multiply(left, right, out)
        add_at(total, out.reshape(len(total), -1), self.written)

    def _operand(self, value: Value, places: NDArray[np.int64] | None, dtype: np.dtype[Any]) -> NDArray[Any]:
        flat = value.dense.reshape(len(value.dense), -1)
        return np.ascontiguousarray(flat if places is None else flat[:, places]).astype(dtype)


def add_at(total: NDArray[Any], values: NDArray[Any], written: NDArray[np.int64] | None) -> None:
    """Adds `[T, view]` to `[T, N]` at the positions where the view is written."""
    if written is None:
        total += values
        return
    kept = written >= 0
    for row, part in zip(total, values, strict=True):
        np.add.at(row, written[kept], part[kept].astype(total.dtype))

"""Exact connections from one population to another, counted as integers without listing the edges."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.hw_sim.graph.edges import rule_edges
from neurokit.hw_sim.graph.rules import WINDOWED, problem_of
from neurokit.hw_sim.graph.views import gather, mix, scatter
from neurokit.hw_sim.graph.windows import Window

ProjectionKind = Literal["conv", "linear", "pool", "maxpool", "identity"]


@dataclass(frozen=True)
class Projection:
    """Connections between two populations, described by their rule.

    Flat neuron numbers are row-major over a population's shape. What the rule reads and writes are *views*: by
    default the populations as they are; `source_index` and `target_index` hold what lies between (permute, slice,
    concatenation, broadcast, padding).

    Attributes:
        name: Module path of the operation; unique in a network.
        source: Name of the source population.
        target: Name of the target population.
        kind: "conv" (channels first, 1 to 3 spatial axes), "linear" (over the last axis; leading axes are positions
            that share the weights), "pool" (sum or average: one shared constant weight), "maxpool" (a target spikes
            when any of its sources does), "identity" (a shortcut, one to one).
        source_shape: Shape of the view that the rule reads, for example (C, H, W).
        target_shape: Shape of the view that the rule writes.
        kernel: Kernel size for each spatial axis; empty for linear and identity.
        stride: Stride for each spatial axis.
        padding: Padding before the first element of each spatial axis; what comes after follows from target_shape.
        dilation: Dilation for each spatial axis.
        groups: Groups of a convolution.
        source_size: Neurons of the source population; 0 means that of the view.
        target_size: Neurons of the target population; 0 means that of the view.
        source_index: For each position of the source view the source neuron, or -1 for a constant zero.
        target_index: For each position of the target view the target neuron, or -1 where it is dropped.
        weight_bits: Width of a stored weight.
        weights_are_floats: Whether the weights are on no grid yet: a chip then takes them in its own width.
        shares_weights_with: Name of the projection that holds the same weights, or "" (SEW's `conv(a + b)` is two
            projections with one set of weights).
        weight: Weights as in torch, `[C_out, C_in / groups, *kernel]` or `[out, in]`, if known, with every constant
            factor on the way multiplied in.
        gain: The one weight of pooling and of shortcuts (1 / window for an average), if known.
        delay: Time steps from a spike to its arrival (0: the same step): 1 for recurrent connections, more for delays.
            Events are booked in the step in which they are sent, as SANA-FE and the chips' own counters do, so none
            of the last step's is lost.
        upsampling: Zeros between the inputs that the view holds, as a factor for each spatial axis: the stride of a
            transposed convolution, which reads its input spread out by it. Empty where there are none.
    """

    name: str
    source: str
    target: str
    kind: ProjectionKind
    source_shape: tuple[int, ...]
    target_shape: tuple[int, ...]
    kernel: tuple[int, ...] = ()
    stride: tuple[int, ...] = ()
    padding: tuple[int, ...] = ()
    dilation: tuple[int, ...] = ()
    groups: int = 1
    source_size: int = 0
    target_size: int = 0
    source_index: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)
    target_index: NDArray[np.int64] | None = field(default=None, repr=False, compare=False)
    weight_bits: int = 8
    weights_are_floats: bool = False
    shares_weights_with: str = ""
    weight: NDArray[Any] | None = field(default=None, repr=False, compare=False)
    gain: float | None = 1.0
    delay: int = 0
    upsampling: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        for side in ("source", "target"):
            if not getattr(self, f"{side}_size"):
                object.__setattr__(self, f"{side}_size", math.prod(getattr(self, f"{side}_shape")))
        problem = problem_of(self)
        if problem:
            raise InputError(f"projection {self.name!r} ({self.kind}): {problem}")

    @classmethod
    def conv(
        cls,
        name: str,
        source: str,
        target: str,
        source_shape: tuple[int, ...],
        out_channels: int,
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | int = 1,
        padding: tuple[int, ...] | int = 0,
        dilation: tuple[int, ...] | int = 1,
        groups: int = 1,
        **options: object,
    ) -> Projection:
        """Returns a convolution with torch's arithmetic for the output size."""
        step, pad, gap = (_per_axis(value, len(kernel)) for value in (stride, padding, dilation))
        sizes = zip(source_shape[1:], kernel, step, pad, gap, strict=True)
        spatial = tuple((n + 2 * p - d * (k - 1) - 1) // s + 1 for n, k, s, p, d in sizes)
        return cls(
            name,
            source,
            target,
            "conv",
            source_shape,
            (out_channels, *spatial),
            kernel,
            step,
            pad,
            gap,
            groups,
            **options,  # type: ignore[arg-type]
        )

    @classmethod
    def pool(
        cls,
        name: str,
        source: str,
        target: str,
        source_shape: tuple[int, ...],
        kernel: tuple[int, ...],
        stride: tuple[int, ...] | int | None = None,
        padding: tuple[int, ...] | int = 0,
        maximum: bool = False,
        **options: object,
    ) -> Projection:
        """Returns sum, average or maximum pooling of each channel by itself; the stride defaults to the kernel."""
        step = _per_axis(kernel if stride is None else stride, len(kernel))
        pad = _per_axis(padding, len(kernel))
        sizes = zip(source_shape[1:], kernel, step, pad, strict=True)
        spatial = tuple((n + 2 * p - k) // s + 1 for n, k, s, p in sizes)
        return cls(
            name,
            source,
            target,
            "maxpool" if maximum else "pool",
            source_shape,
            (source_shape[0], *spatial),
            kernel,
            step,
            pad,
            (1,) * len(kernel),
            source_shape[0],
            **options,  # type: ignore[arg-type]
        )

    @classmethod
    def linear(
        cls, name: str, source: str, target: str, source_shape: tuple[int, ...], out_features: int, **options: object
    ) -> Projection:
        """Returns a dense connection over the last axis."""
        shape = (*source_shape[:-1], out_features)
        return cls(name, source, target, "linear", source_shape, shape, **options)  # type: ignore[arg-type]

    @classmethod
    def identity(cls, name: str, source: str, target: str, shape: tuple[int, ...], **options: object) -> Projection:
        """Returns a one-to-one connection, such as a shortcut."""
        return cls(name, source, target, "identity", shape, shape, **options)  # type: ignore[arg-type]

    def fan_out(self) -> NDArray[np.int64]:
        """Returns how many targets each source neuron reaches, borders clipped, `[N_src]`."""
        return self._fan_out

    def fan_in(self) -> NDArray[np.int64]:
        """Returns how many sources reach each target neuron, `[N_dst]`."""
        return self._fan_in

    @cached_property
    def _fan_out(self) -> NDArray[np.int64]:
        every = np.ones((1, self.target_size), np.int64)
        return self._backward(every)[0]

    @cached_property
    def _fan_in(self) -> NDArray[np.int64]:
        every = np.ones((1, self.source_size), np.int64)
        return self._forward(every)[0]

    @cached_property
    def synapses(self) -> int:
        """The number of connections (edges)."""
        return int(self.fan_in().sum())

    @property
    def stored_weights(self) -> int:
        """The number of different weights, shared ones counted once; 0 where another projection holds them.

        Pooling has one constant; a shortcut has none.
        """
        if self.shares_weights_with or self.kind == "identity":
            return 0
        if self.kind == "conv":
            return self.target_shape[0] * (self.source_shape[0] // self.groups) * math.prod(self.kernel)
        if self.kind == "linear":
            return self.source_shape[-1] * self.target_shape[-1]
        return 1

    @property
    def dense_macs(self) -> int:
        """Multiply-accumulates of the dense layer as the papers count them, borders included.

        `C_out H_out W_out C_in / groups K_h K_w`, of a transposed convolution `C_in H_in W_in C_out / groups K_h K_w`,
        of a linear layer `N_in N_out`; 0 for pooling and shortcuts.
        """
        outputs = math.prod(self.target_shape)
        if self.kind == "linear":
            return outputs * self.source_shape[-1]
        if self.kind != "conv":
            return 0
        taps = math.prod(self.kernel)
        if self.upsampling:
            return self.source_size * (self.target_shape[0] // self.groups) * taps
        return outputs * (self.source_shape[0] // self.groups) * taps

    def events_per_target(self, spikes: NDArray[np.integer]) -> NDArray[np.int32]:
        """Returns how many synaptic events each target neuron gets of what is sent in each step.

        Args:
            spikes: What the source sent, 0 or 1 (or how often, behind a pooling), `[T, N_src]`.

        Returns:
            Events, `[T, N_dst]`.

        Raises:
            InputError: If the shape does not fit the source.
        """
        return self._forward(self._checked(spikes, self.source_size, "source").astype(np.int32))

    def reached(self, spikes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Returns which targets get an event of what arrives in each step (`[T, N_src]`), `[T, N_dst]`."""
        return self._forward(self._checked(spikes, self.source_size, "source"))

    @property
    def joins_all_channels(self) -> bool:
        """Whether all channels of the target get the same events: each reads all channels of the source."""
        flat = self.kind == "linear" and len(self.source_shape) == 1
        return flat or (self.kind == "conv" and self.groups == 1 and not self.upsampling)

    @property
    def keeps_channels(self) -> bool:
        """Whether each channel of the target reads the same channel of the source alone."""
        if self.kind == "identity":
            return True
        alone = self.groups == self.source_shape[0] == self.target_shape[0]
        return self.kind in WINDOWED and alone and not self.upsampling

    def over_places(self, values: NDArray[Any]) -> NDArray[Any]:
        """Returns the sum over each window, channel by channel; of bools, whether any is set.

        Args:
            values: Sums over some of the source's channels, `[T, K, P]`.
        """
        if self.kind in ("identity", "linear"):
            return values
        summed = values.reshape(*values.shape[:2], *self.source_shape[1:])
        if summed.dtype == np.uint8:
            summed = summed.astype(np.int32)
        for axis, window in enumerate(self.windows(), start=2):
            summed = window.gather(summed, axis)
        return summed.reshape(*values.shape[:2], -1)

    @cached_property
    def fan_out_by_place(self) -> NDArray[np.int64] | None:
        """The fan-out of each place `[P]`, where all channels have the same."""
        if self.source_index is not None:
            return None
        by_channel = self.fan_out().reshape(self.source_shape[0], -1)
        return by_channel[0] if bool((by_channel == by_channel[0]).all()) else None

    def arriving(self, spikes: NDArray[Any]) -> NDArray[Any]:
        """Returns what arrives in each step of what the source sent in each, `[T, N_src]`: the same, `delay` later."""
        if not self.delay:
            return spikes
        late = np.zeros_like(spikes)
        late[self.delay :] = spikes[: max(0, len(spikes) - self.delay)]
        return late

    def synaptic_events(self, spikes: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Returns the synaptic events of each step, `[T]`: spikes `[T, N_src]` sent times fan-out."""
        checked = self._checked(spikes, self.source_size, "source")
        fan_out = self.fan_out()
        if len(fan_out) and bool(np.all(fan_out == fan_out[0])):
            return checked.sum(axis=1, dtype=np.int64) * fan_out[0]
        return np.rint(checked.astype(np.float64) @ fan_out.astype(np.float64)).astype(np.int64)  # exact below 2^53

    def sources_of(self, targets: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Returns which sources reach each group of targets (the axons that a core needs).

        Args:
            targets: Members of each of K groups of targets, `[K, N_dst]`.

        Returns:
            `[K, N_src]`.

        Raises:
            InputError: If the shape does not fit the target.
        """
        return self._backward(self._checked(targets, self.target_size, "target").astype(np.bool_))

    def synapses_onto(self, targets: NDArray[np.bool_]) -> NDArray[np.int64]:
        """Returns how many connections each source has to a set of targets `[N_dst]`, `[N_src]`."""
        return self._backward(self._checked(targets[None], self.target_size, "target").astype(np.int64))[0]

    def edges(self) -> NDArray[np.int64]:
        """Returns every connection as (source, target, flat index of its weight), `[E, 3]`; for small nets only.

        Written out edge by edge and independent of the counting rules, so that tests can compare the two.
        """
        rows = []
        for source, target, weight in rule_edges(self):
            start = source if self.source_index is None else int(self.source_index[source])
            end = target if self.target_index is None else int(self.target_index[target])
            if start >= 0 and end >= 0:
                rows.append((start, end, weight))
        return np.array(rows, np.int64).reshape(-1, 3)

    def windows(self) -> tuple[Window, ...]:
        """Returns the sliding window of each spatial axis of a convolution or pooling."""
        axes = zip(
            self.source_shape[1:],
            self.target_shape[1:],
            self.kernel,
            self.stride,
            self.padding,
            self.dilation,
            strict=True,
        )
        return tuple(Window(*axis) for axis in axes)

    def _checked(self, array: NDArray[Any], size: int, side: str) -> NDArray[Any]:
        if array.ndim != 2 or array.shape[1] != size:
            raise InputError(
                f"projection {self.name!r} got an array of shape {array.shape}",
                expected=f"[:, {size}] ({side} neurons)",
            )
        return array

    def _forward(self, values: NDArray[Any]) -> NDArray[Any]:
        """Returns for each target the sum of `values` `[T, N_src]` over its connections, `[T, N_dst]`."""
        view = self._rule_forward(gather(values, self.source_index))
        return scatter(view, self.target_index, self.target_size)

    def _backward(self, values: NDArray[Any]) -> NDArray[Any]:
        """Returns for each source the sum (of bools: any) of `values` `[K, N_dst]` over its connections."""
        view = self._rule_backward(gather(values, self.target_index))
        return scatter(view, self.source_index, self.source_size)

    def _rule_forward(self, view: NDArray[Any]) -> NDArray[Any]:
        if self.kind == "identity":
            return view
        if self.kind == "linear":
            return mix(view, self.source_shape[-1], self.target_shape[-1])
        summed = self._split(view, self.source_shape).sum(axis=2, dtype=view.dtype)
        for axis, window in enumerate(self.windows(), start=2):
            summed = window.gather(summed, axis)
        return self._join(summed, self.target_shape)

    def _rule_backward(self, view: NDArray[Any]) -> NDArray[Any]:
        if self.kind == "identity":
            return view
        if self.kind == "linear":
            return mix(view, self.target_shape[-1], self.source_shape[-1])
        summed = self._split(view, self.target_shape).sum(axis=2, dtype=view.dtype)
        for axis, window in enumerate(self.windows(), start=2):
            summed = window.scatter(summed, axis)
        return self._join(summed, self.source_shape)

    def _split(self, view: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns `[T, view]` as `[T, groups, channels in a group, *spatial]`."""
        return view.reshape(len(view), self.groups, shape[0] // self.groups, *shape[1:])

    def _join(self, summed: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
        """Returns `[T, groups, *spatial]` repeated over the channels of each group, `[T, view]`."""
        return np.repeat(summed[:, :, None], shape[0] // self.groups, axis=2).reshape(len(summed), -1)


def _per_axis(value: tuple[int, ...] | int, axes: int) -> tuple[int, ...]:
    return (value,) * axes if isinstance(value, int) else tuple(value)

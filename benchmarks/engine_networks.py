"""Networks and inputs of the event engine's benchmark."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurokit.hw_sim.engine import Engine, IntegerNetwork, IntegerPopulation, IntegerProjection
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection

IF = NeuronModel("if")
DVS_SHAPE = (2, 64, 64)


def network(name: str, shape: tuple[int, ...], layers: list[tuple[Any, ...]]) -> IntegerNetwork:
    """Builds IF layers: ("conv", channels, kernel, stride, padding, threshold) or ("linear", neurons, threshold)."""
    rng = np.random.default_rng(0)
    populations, projections, weights, numbers = [Population("in", shape, "input")], [], {}, {}
    for n, (kind, outputs, *rest) in enumerate(layers):
        source, target = populations[-1], f"n{n}"
        if kind == "conv":
            kernel, stride, padding, threshold = rest
            p = Projection.conv(f"p{n}", source.name, target, source.shape, outputs, (kernel,) * 2, stride, padding)
            weight = rng.integers(-64, 64, (outputs, source.shape[0], kernel, kernel))
        else:
            (threshold,) = rest
            p = Projection.linear(f"p{n}", source.name, target, (source.size,), outputs)
            weight = rng.integers(-64, 64, (outputs, source.size))
        populations.append(Population(target, p.target_shape, model=IF))
        projections.append(p)
        weights[p.name] = IntegerProjection(weight.astype(np.int8))
        numbers[target] = IntegerPopulation(threshold=threshold)
    return IntegerNetwork(Network(name, tuple(populations), tuple(projections)), numbers, weights)


def uniform(net: IntegerNetwork, steps: int, rate: float) -> np.ndarray:
    """Returns independent spikes, `[T, N]`."""
    size = net.network.populations[0].size
    return np.random.default_rng(1).random((steps, size)) < rate


def clustered(shape: tuple[int, int, int], steps: int, rate: float) -> np.ndarray:
    """Returns spikes where a smooth random field that drifts is highest, like the moving edges of an event camera."""
    rng = np.random.default_rng(2)
    field = np.fft.fft2(rng.standard_normal(shape))
    frequency = np.hypot(np.fft.fftfreq(shape[1])[:, None], np.fft.fftfreq(shape[2])[None])
    smooth = np.fft.ifft2(field / (frequency + 0.02) ** 1.5).real
    out = np.zeros((steps, *shape), bool)
    for t in range(steps):
        frame = np.roll(smooth, (t, 2 * t), axis=(1, 2)) + 0.3 * smooth.std() * rng.standard_normal(shape)
        out[t] = frame > np.quantile(frame, 1 - rate)
    return out


def dvs_network() -> IntegerNetwork:
    """Returns a network of the size used for gestures seen by an event camera; each layer fires as often as the input.

    Thresholds are searched layer by layer so that at 5 % input activity every layer but the last fires at about 5 %:
    a network that falls silent would flatter an event-driven engine.
    """
    layers = [("conv", 32, 3, 1, 1), ("conv", 64, 3, 2, 1), ("conv", 128, 3, 2, 1)]
    chosen: list[tuple[Any, ...]] = []
    spikes = clustered(DVS_SHAPE, 10, 0.05)
    for n, layer in enumerate(layers):
        low, high = 1, 20_000
        while high - low > max(1, low // 50):
            middle = (low + high) // 2
            net = network("dvs", DVS_SHAPE, [*chosen, (*layer, middle)])
            rate = Engine(net, 10, 1).run({"in": spikes}).rasters[f"n{n}"].rate
            low, high = (middle, high) if rate > 0.05 else (low, middle)
        chosen.append((*layer, high))
    return network("dvs", DVS_SHAPE, [*chosen, ("linear", 11, 2000)])

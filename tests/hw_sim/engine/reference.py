"""A dense int64 reference of integer networks: edge lists, one matrix a projection, one step after the other."""

import numpy as np

from neurokit.hw_sim.engine import IntegerNetwork


def matrix(net: IntegerNetwork, p) -> np.ndarray:
    """Weights of one projection as a dense matrix, from its list of edges."""
    numbers = net.projection(p.name)
    out = np.zeros((p.source_size, p.target_size), np.int64)
    view_shape = p.target_shape
    channel_axis = 0 if p.kind in ("conv", "pool") or (p.kind == "identity" and len(view_shape) == 3) else -1
    channels = view_shape[channel_axis]
    per_channel = np.broadcast_to(np.asarray(numbers.shift, np.int64), (channels,))
    for source, target, index in p.edges():
        weight = 1 if numbers.weight is None else int(numbers.weight.flat[index])
        channel = np.unravel_index(target, view_shape)[channel_axis] if p.target_index is None else 0
        out[source, target] += weight << int(per_channel[channel])
    return out


def run(net: IntegerNetwork, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Values of every population, `[T, N]`, in int64."""
    network = net.network
    steps = len(next(iter(inputs.values())))
    values = {name: array.reshape(steps, -1).astype(np.int64) for name, array in inputs.items()}
    for population in network.populations:
        if population.role == "input":
            continue
        name, numbers = population.name, net.population(population.name)
        current = np.zeros((steps, population.size), np.int64)
        current += np.broadcast_to(np.asarray(numbers.bias, np.int64), population.shape).ravel()
        for p in network.into(name):
            if p.kind == "maxpool":
                pooled = np.full((steps, p.target_size), -(2**40))
                for source, target, _ in p.edges():
                    pooled[:, target] = np.maximum(pooled[:, target], values[p.source][:, source])
                current += pooled
            else:
                current += values[p.source] @ matrix(net, p)
        for product in network.products_into(name):
            left, right = values[product.left], values[product.right]
            left = left if product.left_index is None else left[:, product.left_index]
            right = right if product.right_index is None else right[:, product.right_index]
            a = left.reshape(steps, product.batch, product.rows, product.inner)
            b = right.reshape(steps, product.batch, product.inner, product.columns)
            current += np.einsum("tbik,tbkj->tbij", a, b).reshape(steps, -1)
        if population.model is None:
            values[name] = current if numbers.rescale is None else rescaled(current, numbers.rescale)
        else:
            values[name] = neurons(population, numbers, current)
    return values


def rescaled(values: np.ndarray, rescale) -> np.ndarray:
    # np.rint rounds half to even; the division is exact in float64 for these small integers
    return np.clip(np.rint(values / 2.0**rescale.shift), rescale.low, rescale.high).astype(np.int64)


def neurons(population, numbers, current: np.ndarray) -> np.ndarray:
    """Spikes, by the equations of the neuron models, in Python's whole numbers."""
    model, fraction = population.model, numbers.fraction_bits
    spread = lambda n: [int(x) << fraction for x in np.broadcast_to(np.asarray(n), population.shape).ravel()]  # noqa: E731
    threshold, reset = spread(numbers.threshold), spread(numbers.reset)
    u = list(reset) if numbers.start is None else spread(numbers.start)
    spikes = np.zeros(current.shape, np.int64)
    for t, row in enumerate(current):
        for i, x in enumerate(int(x) << fraction for x in row):
            if model.kind == "if":
                u[i] += x
            elif model.decay_input:
                u[i] += (numbers.leak_numerator * (x - (u[i] - reset[i]))) >> numbers.leak_shift
            else:
                u[i] += x - ((numbers.leak_numerator * (u[i] - reset[i])) >> numbers.leak_shift)
            if u[i] >= threshold[i]:
                spikes[t, i] = 1
                u[i] = u[i] - threshold[i] if model.reset is None else reset[i]
    return spikes

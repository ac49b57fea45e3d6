"""What of a network no way of cutting and placing fits on a chip, each with the nearest change that does."""

from __future__ import annotations

from dataclasses import dataclass

from neurokit.hw_sim.chips.limits import Limits
from neurokit.hw_sim.chips.profile import HardwareProfile
from neurokit.hw_sim.graph.network import Network, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.mapping.partition import units_of


@dataclass(frozen=True)
class Violation:
    """One limit of a chip that a network breaks.

    Attributes:
        limit: Name of the limit, as in the chip's file.
        where: Population or projection, or "" for the network.
        needs: What the network needs.
        has: What the chip has.
        fix: The nearest change that fits.
    """

    limit: str
    where: str
    needs: str
    has: str
    fix: str

    def __str__(self) -> str:
        place = f"{self.where}: " if self.where else ""
        return f"{place}{self.limit}: needs {self.needs}, the chip has {self.has}; fix: {self.fix}"


def fixed_violations(network: Network, profile: HardwareProfile) -> list[Violation]:
    """Returns every limit that no way of cutting and placing can satisfy."""
    limits = profile.limits
    found: list[Violation] = []
    for projection in network.projections:
        found += _projection_violations(projection, limits)
    for population in network.populations:
        found += _population_violations(network, population, limits)
    found += _chip_violations(network, profile)
    return found


def _projection_violations(projection: Projection, limits: Limits) -> list[Violation]:
    found: list[Violation] = []

    def refuse(limit: str, needs: object, has: object, fix: str) -> None:
        found.append(Violation(limit, projection.name, str(needs), str(has), fix))

    if projection.kind in ("conv", "linear") and limits.weight_bits and not projection.weights_are_floats:
        bits, widest = projection.weight_bits, limits.weight_bits[1]
        if bits > widest:
            refuse("weight_bits", f"{bits} bits", f"at most {widest}", f"quantise weights to {widest} bits")
    if limits.fan_in is not None and (widest := int(projection.fan_in().max())) > limits.fan_in:
        refuse("fan_in", widest, limits.fan_in, f"fewer input channels or a smaller kernel: at most {limits.fan_in}")
    if projection.kind == "linear" and not limits.dense:
        refuse("dense", "a fully connected layer", "convolutions only", "write it as a 1 x 1 convolution")
    most = limits.dense_inputs_max
    if projection.kind == "linear" and most is not None and (read := projection.source_shape[-1]) > most:
        refuse("dense_inputs_max", read, most, f"pooling before it: at most {most} inputs")
    if projection.kind == "conv":
        found += _conv_violations(projection, limits)
    if projection.kind == "maxpool" and not limits.max_pooling:
        refuse("max_pooling", "the maximum of a window", "sums of a window", "use average or sum pooling")
    return found


def _conv_violations(projection: Projection, limits: Limits) -> list[Violation]:
    found: list[Violation] = []

    def refuse(limit: str, needs: object, has: object, fix: str) -> None:
        found.append(Violation(limit, projection.name, str(needs), str(has), fix))

    if not limits.conv:
        refuse("conv", "a convolution", "fully connected layers only", "write it as a fully connected layer")
        return found
    if limits.kernel_max and max(projection.kernel) > limits.kernel_max:
        refuse("kernel_max", max(projection.kernel), limits.kernel_max, f"a kernel of at most {limits.kernel_max}")
    if limits.square_kernel and len(set(projection.kernel)) > 1:
        refuse("square_kernel", projection.kernel, "square kernels", f"a kernel of {max(projection.kernel)} squared")
    if limits.strides and any(s not in limits.strides for s in projection.stride):
        refuse("strides", projection.stride, limits.strides, f"a stride of one of {limits.strides}")
    if limits.padding_max is not None and max(projection.padding) > limits.padding_max:
        refuse("padding_max", max(projection.padding), limits.padding_max, f"padding of at most {limits.padding_max}")
    for name, shape in (("input_size_max", projection.source_shape), ("output_size_max", projection.target_shape)):
        cap = getattr(limits, name)
        if cap and max(shape[1:]) > cap:
            refuse(
                name, f"{'x'.join(map(str, shape[1:]))}", f"{cap}x{cap}", f"a smaller input or an earlier stride: {cap}"
            )
    features = max(projection.source_shape[0], projection.target_shape[0])
    if limits.features_max and features > limits.features_max:
        refuse("features_max", features, limits.features_max, f"fewer channels: at most {limits.features_max}")
    return found


def pooled_from(network: Network, name: str, limits: Limits) -> str:
    """Returns the population whose layer a pooling belongs to, or "" where it is none or takes a core of its own."""
    into = network.into(name)
    alone = len(into) == 1 and network[name].model is None and into[0].kind in ("pool", "maxpool")
    return into[0].source if alone and limits.pooling_in_layer else ""


def _layers_fed(network: Network, name: str, limits: Limits) -> int:
    """Returns how many layers a population sends to; pooling inside its own layer is on the way and is none."""
    targets = [projection.target for projection in network.out_of(name)]
    return sum(_layers_fed(network, t, limits) if pooled_from(network, t, limits) else 1 for t in targets)


def _population_violations(network: Network, population: Population, limits: Limits) -> list[Violation]:
    found = []
    count = _layers_fed(network, population.name, limits)
    if limits.fan_out_layers and count > limits.fan_out_layers:
        cap = limits.fan_out_layers
        found.append(
            Violation("fan_out_layers", population.name, str(count), str(cap), f"send to at most {cap} layers")
        )
    if limits.inputs_max and population.role == "input" and population.size > limits.inputs_max:
        cap = limits.inputs_max
        found.append(
            Violation(
                "inputs_max", population.name, str(population.size), str(cap), f"reduce the input to {cap} channels"
            )
        )
    if limits.outputs_max and population.name in network.outputs and population.size > limits.outputs_max:
        cap = limits.outputs_max
        found.append(
            Violation("outputs_max", population.name, str(population.size), str(cap), f"at most {cap} outputs")
        )
    return found


def _layer_violations(network: Network, limits: Limits) -> list[Violation]:
    """Returns what a chip with one array of hidden and one of output neurons cannot take."""
    found = []
    hidden = sum(population.size for population in network.neurons if population.name not in network.outputs)
    if limits.hidden_max is not None and hidden > limits.hidden_max:
        cap = limits.hidden_max
        found.append(Violation("hidden_max", "", str(hidden), str(cap), f"at most {cap} hidden neurons"))
    if limits.layers_min is not None and len(network.neurons) < limits.layers_min:
        least = limits.layers_min
        fix = "a hidden layer before the outputs"
        found.append(Violation("layers_min", "", f"{len(network.neurons)} layers", f"at least {least}", fix))
    return found


def _chip_violations(network: Network, profile: HardwareProfile) -> list[Violation]:
    found = _layer_violations(network, profile.limits)
    checks = (
        ("neurons_per_chip", sum(unit.size for unit in units_of(network)), profile.limits.neurons_per_chip),
        ("synapses_per_chip", network.synapses, profile.limits.synapses_per_chip),
    )
    for name, need, cap in checks:
        if cap is not None and need > cap * profile.topology.chips_max:
            ratio = need / (cap * profile.topology.chips_max)
            found.append(Violation(name, "", str(need), str(cap), f"a network {ratio:.2g} times smaller"))
    return found

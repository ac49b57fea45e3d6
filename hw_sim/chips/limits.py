"""What fits on a chip, and how its cores are joined."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from pydantic import ConfigDict


@dataclass(frozen=True)
class Topology:
    """How cores are joined.

    Attributes:
        kind: "mesh" (XY routing), "none" (one core, or cores joined without a mesh).
        width: Tiles in x of one chip.
        height: Tiles in y of one chip.
        cores_per_tile: Cores that share a router.
        chips_max: Largest system that was built or is documented.
        positions: Column and row of each tile where they do not fill a rectangle; then `width` and `height` are that
            of the rectangle around them.
        order: Whether tile numbers run down the columns first ("column") or along the rows first ("row").
        source: Where this was read.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    kind: Literal["mesh", "none"]
    source: str
    width: int = 1
    height: int = 1
    cores_per_tile: int = 1
    chips_max: int = 1
    order: Literal["column", "row"] = "row"
    positions: tuple[tuple[int, int], ...] = ()

    @property
    def tiles(self) -> int:
        """Tiles of one chip."""
        return len(self.positions) or self.width * self.height


@dataclass(frozen=True)
class Limits:
    """What a mapper must respect; None means that no such limit is published.

    Attributes:
        cores: Cores of one chip.
        source: Where the limits were read.
        neurons_per_core: Neurons of one core.
        synapse_bits_per_core: Weight memory of one core, in bits.
        axons_in_per_core: Distinct source neurons that may send to one core.
        axons_out_per_core: Destinations (neuron, core) of the neurons of one core.
        fan_in: Synapses of one neuron.
        fan_out_cores: Cores that one neuron may send to.
        weight_bits: Widths of weights, smallest and largest.
        shares_weights: Whether a convolution's kernel is stored once a core and not once a neuron.
        whole_layer_per_core: Whether a layer takes a core of its own and must fit in it.
        core_neurons: Neurons of each core where cores differ.
        core_weight_bits: Weight memory of each core, in bits, where cores differ.
        kernel_max: Largest side of a convolution kernel.
        square_kernel: Whether kernels must be square.
        strides: Strides that a convolution may have.
        padding_max: Largest padding of a convolution.
        pool_sizes: Sizes (and strides) of pooling.
        input_size_max: Largest height and width of a layer's input.
        output_size_max: Largest height and width of a layer's output.
        features_max: Largest number of channels.
        fan_out_layers: Layers that one layer may send to.
        inputs_max: Input channels of the chip.
        outputs_max: Neurons of the last layer.
        hidden_max: Neurons that are not of the last layer.
        layers_min: Layers of neurons that there must be.
        neurons_per_chip: Neurons of a chip where that is less than cores times neurons.
        synapses_per_chip: Synapses of a chip.
        memory_rule: How memories are filled, where that is more than weights times bits: "dynapcnn" (rounded up to
            powers of two), "loihi" (synapse lists with headers, population axons), "shared" (membranes lie beside
            the weights in `synapse_bits_per_core`), "akida" (a part of one layer a node, weights in words for eight
            filters), or "".
        input_bits_per_core: Memory of one core for what a layer reads, in bits.
        input_rows_per_core: Rows of the input that one core reads, borders left out.
        channels_per_core: Channels (filters) of one core.
        pooling_in_layer: Whether pooling is part of the layer before it and takes no core.
        max_pooling: Whether a maximum can be pooled.
        bias_words: Biases of one core.
        axons_per_weight_bit: Input axons that one source takes for each bit of its weights, where an axon carries
            one binary weight (TrueNorth: an axon's type picks one of four weights of the neuron).
        dense: Whether fully connected layers can be placed.
        dense_inputs_max: Largest number of inputs of a fully connected layer.
        conv: Whether convolutions can be placed.
        assumed: Names of the limits above that were recalled or inferred and not read in a source.
        note: What a reader must know.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    cores: int
    source: str
    neurons_per_core: int | None = None
    synapse_bits_per_core: int | None = None
    axons_in_per_core: int | None = None
    axons_out_per_core: int | None = None
    fan_in: int | None = None
    fan_out_cores: int | None = None
    weight_bits: tuple[int, int] | None = None
    shares_weights: bool = False
    whole_layer_per_core: bool = False
    core_neurons: tuple[int, ...] = ()
    core_weight_bits: tuple[int, ...] = ()
    kernel_max: int | None = None
    square_kernel: bool = False
    strides: tuple[int, ...] = ()
    padding_max: int | None = None
    pool_sizes: tuple[int, ...] = ()
    input_size_max: int | None = None
    output_size_max: int | None = None
    features_max: int | None = None
    fan_out_layers: int | None = None
    inputs_max: int | None = None
    outputs_max: int | None = None
    hidden_max: int | None = None
    layers_min: int | None = None
    neurons_per_chip: int | None = None
    synapses_per_chip: int | None = None
    memory_rule: Literal["", "dynapcnn", "loihi", "shared", "akida"] = ""
    input_bits_per_core: int | None = None
    input_rows_per_core: int | None = None
    channels_per_core: int | None = None
    pooling_in_layer: bool = False
    max_pooling: bool = True
    bias_words: int | None = None
    axons_per_weight_bit: bool = False
    dense: bool = True
    dense_inputs_max: int | None = None
    conv: bool = True
    assumed: tuple[str, ...] = ()
    note: str = ""


@dataclass(frozen=True)
class Reference:
    """A published figure that is shown on the chip's card and never used as a price.

    Attributes:
        what: What was measured.
        value: The figure, with its unit, as text.
        why_not_a_price: Why it is not used.
        source: Where it was read.
    """

    __pydantic_config__ = ConfigDict(extra="forbid")

    what: str
    value: str
    why_not_a_price: str
    source: str

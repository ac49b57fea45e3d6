"""What nengo-loihi 1.1.0 puts on a Loihi core: writes tests/data/mapper_loihi.json.

In an environment of its own (`pip install "numpy<2" nengo==3.2.0 nengo-loihi==1.1.0`), from the project's root:
`python benchmarks/mappers/nengo_loihi_numbers.py`. Population axons of 32 bits, as many channels need.
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import nengo
import nengo_loihi
import numpy as np
from nengo_loihi.builder.validate import validate_block
from networks import LOIHI_CONV, LOIHI_DENSE

OUT = Path(__file__).parents[2] / "tests" / "data" / "mapper_loihi.json"
PLAIN = {
    "neuron_type": nengo.SpikingRectifiedLinear(),
    "gain": nengo.dists.Choice([1.0]),
    "bias": nengo.dists.Choice([0.0]),
}


def build(inputs: int, outputs: int, transform: Any, blocks: Any = None) -> dict[str, Any]:
    """Returns what the block of the outputs takes."""
    with nengo.Network(seed=0) as net:
        nengo_loihi.add_params(net)
        a = nengo.Ensemble(inputs, 1, **PLAIN)
        b = nengo.Ensemble(outputs, 1, **PLAIN)
        net.config[a].block_shape = blocks or nengo_loihi.BlockShape((1024,), (inputs,))
        net.config[b].block_shape = nengo_loihi.BlockShape((outputs,), (outputs,))
        connection = nengo.Connection(a.neurons, b.neurons, transform=transform)
        net.config[connection].pop_type = 32
    model = nengo_loihi.builder.Model(dt=0.001)
    model.validation_level = nengo_loihi.builder.builder.ValidationLevel.NONE
    model.build(net)
    block = next(block for block in model.blocks if block.synapses)
    try:
        validate_block(block)
        verdict = ""
    except Exception as error:
        verdict = str(error)
    axons = int(sum(synapse.n_axons for synapse in block.synapses))
    bits = int(sum(synapse.bits() for synapse in block.synapses))
    neurons = int(block.compartment.n_compartments)
    return {"neurons": neurons, "axons_in": axons, "synapse_bits": bits, "fits": not verdict, "why": verdict}


def main() -> None:
    warnings.filterwarnings("ignore")
    rows = {}
    for name, (channels, side, filters, kernel, stride) in LOIHI_CONV.items():
        transform = nengo.Convolution(
            filters,
            (side, side, channels),
            kernel_size=(kernel, kernel),
            strides=(stride, stride),
            init=nengo.dists.Uniform(-0.01, 0.01),
        )
        depth = max(1, min(channels, 1024 // (side * side)))
        blocks = nengo_loihi.BlockShape((min(side, 32), min(side, 32), depth), (side, side, channels))
        rows[name] = build(side * side * channels, transform.size_out, transform, blocks)
        print(name, rows[name])
    for name, (inputs, outputs) in LOIHI_DENSE.items():
        weights = np.random.RandomState(0).uniform(-0.01, 0.01, (outputs, inputs))
        rows[name] = build(inputs, outputs, weights)
        print(name, rows[name])
    OUT.write_text(json.dumps({"tool": "nengo-loihi 1.1.0", "layers": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()

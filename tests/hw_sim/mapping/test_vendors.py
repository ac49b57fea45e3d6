"""Mappings beside the numbers of the vendors' own tools (benchmarks/mappers/*.py wrote them, in other environments)."""

from __future__ import annotations

import json
import math
import runpy
from pathlib import Path

import numpy as np
import pytest

from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.mapping.mapper import map_network
from neurokit.hw_sim.mapping.partition import need_of, units_of

ROOT = Path(__file__).parents[3]
ASKED = runpy.run_path(str(ROOT / "benchmarks" / "mappers" / "networks.py"))
SINABS = json.loads((ROOT / "tests" / "data" / "mapper_dynapcnn.json").read_text())["networks"]
NENGO = json.loads((ROOT / "tests" / "data" / "mapper_loihi.json").read_text())["layers"]
AKIDA = json.loads((ROOT / "tests" / "data" / "mapper_akida.json").read_text())["networks"]
XYLO = json.loads((ROOT / "tests" / "data" / "mapper_xylo.json").read_text())["networks"]
IF = NeuronModel("if")


def dynapcnn_network(name: str) -> Network:
    """Returns the layer graph that a trace of the network gives: pooling is a sum between two layers."""
    shape, layers = ASKED["DYNAPCNN"][name]
    populations, projections = [Population("x", shape, "input")], []
    for number, (kind, *args) in enumerate(layers):
        source, target = populations[-1], f"n{number}"
        if kind == "p":
            rule = Projection.pool(f"p{number}", source.name, target, source.shape, (args[0], args[0]))
            populations.append(Population(target, rule.target_shape, "current", binary=False))
        elif kind == "c":
            _, out, kernel, stride, padding, *bias = args
            rule = Projection.conv(
                f"c{number}", source.name, target, source.shape, out, (kernel, kernel), stride, padding
            )
            given = np.full(math.prod(rule.target_shape), 0.5) if bias else None
            populations.append(Population(target, rule.target_shape, model=IF, bias=given))
        else:
            rule = Projection.linear(f"f{number}", source.name, target, (args[0],), args[1])
            populations.append(Population(target, (args[1],), model=IF))
        projections.append(rule)
    return Network(name, tuple(populations), tuple(projections))


@pytest.mark.parametrize("name", ASKED["DYNAPCNN"])
def test_speck_maps_as_sinabs_does(name):
    said = SINABS[name]
    mapping = map_network(dynapcnn_network(name), load_chip("speck2f"), "in-order", enforce=False)
    assert len(mapping.cores) == said["cores"]
    assert mapping.fits == said["fits"]
    needs = [mapping.needs[mapping.pieces[n].core] for n in range(1, len(mapping.pieces))]
    ours = list(dict.fromkeys((need.synapse_bits // 8, need.neurons, need.biases) for need in needs))
    assert ours == list(dict.fromkeys((m["kernel"], m["neuron"], m["bias"]) for m in said["memory"]))


def loihi_network(name: str) -> Network:
    if name in ASKED["LOIHI_DENSE"]:
        inputs, outputs = ASKED["LOIHI_DENSE"][name]
        rule = Projection.linear("fc", "x", "y", (inputs,), outputs)
        shape = (inputs,)
    else:
        channels, side, filters, kernel, stride = ASKED["LOIHI_CONV"][name]
        shape = (channels, side, side)
        rule = Projection.conv("c", "x", "y", shape, filters, (kernel, kernel), stride)
    return Network("n", (Population("x", shape, "input"), Population("y", rule.target_shape, model=IF)), (rule,))


@pytest.mark.parametrize("name", [*ASKED["LOIHI_CONV"], *ASKED["LOIHI_DENSE"]])
def test_a_loihi_core_holds_what_nengo_loihi_says(name):
    """The whole layer in one block: axons, synapse memory to the bit, and whether a core holds it."""
    said, network, limits = NENGO[name], loihi_network(name), load_chip("loihi1").limits
    unit = units_of(network)[0]
    channels, places = unit.shape[0], math.prod(unit.shape[1:])
    need = need_of(network, unit, channels, places, limits)
    assert (need.neurons, need.synapse_bits) == (said["neurons"], said["synapse_bits"])
    # nengo-loihi also gives an axon to pixels that no window reaches (a stride leaves the last row and column out).
    unread = (
        0 if name in ASKED["LOIHI_DENSE"] else (network.projections[0].fan_out() == 0).sum() // unit_channels(network)
    )
    assert need.axons_in == said["axons_in"] - unread
    assert need.fits(limits) == said["fits"]


def unit_channels(network: Network) -> int:
    return network.projections[0].source_shape[0]


def test_pooling_takes_no_core_and_lies_with_its_layer():
    mapping = map_network(dynapcnn_network("gesture"), load_chip("speck2f"))
    core = {piece.populations[0]: piece.core for piece in mapping.pieces}
    assert core["n1"] == core["n0"]  # the pooling after the first convolution
    assert len({core[f"n{k}"] for k in (0, 2, 4, 6, 8, 10)}) == 6


def test_membranes_fill_the_memory_of_spinnaker_2():
    """12.8 million 16-bit membranes are 24.4 MiB; 152 elements of 128 KiB are 19 MiB, program and weights included."""
    rule = Projection.conv("c", "x", "h", (3, 500, 400), 64, (3, 3), 1, 1)
    populations = (Population("x", (3, 500, 400), "input"), Population("h", rule.target_shape, model=IF))
    network = Network("large", populations, (rule,))
    mapping = map_network(network, load_chip("spinnaker2"), "in-order", enforce=False)
    assert not mapping.fits
    assert any(violation.limit == "cores" for violation in mapping.violations)
    half = Projection.conv("c", "x", "h", (3, 250, 400), 64, (3, 3), 1, 1)
    populations = (Population("x", (3, 250, 400), "input"), Population("h", half.target_shape, model=IF))
    assert map_network(Network("half", populations, (half,)), load_chip("spinnaker2"), "in-order").fits


@pytest.mark.parametrize(("bits", "sources"), [(1, 256), (2, 128), (4, 64)])
def test_truenorth_takes_an_axon_for_each_bit_of_a_weight(bits, sources):
    """Ternary weights leave 128 sources a core, as in S. K. Esser et al., PNAS 113, 2016."""
    for count, fits in ((sources, True), (sources + 1, False)):
        rule = Projection.linear("fc", "x", "y", (count,), 10, weight_bits=bits)
        network = Network("n", (Population("x", (count,), "input"), Population("y", (10,), model=IF)), (rule,))
        assert map_network(network, load_chip("truenorth"), "in-order", enforce=False).fits == fits


def akida_network(name: str) -> Network:
    shape, layers = ASKED["AKIDA"][name]
    populations, projections = [Population("x", shape, "input")], []
    for number, (kind, *args) in enumerate(layers):
        source, target = populations[-1], f"n{number}"
        if kind == "c":
            _, out, kernel, stride, padding = args
            rule = Projection.conv(
                f"c{number}", source.name, target, source.shape, out, (kernel, kernel), stride, padding, weight_bits=4
            )
        else:
            rule = Projection.linear(f"f{number}", source.name, target, (args[0],), args[1], weight_bits=4)
        populations.append(Population(target, rule.target_shape, model=IF))
        projections.append(rule)
    return Network(name, tuple(populations), tuple(projections))


@pytest.mark.parametrize("name", ASKED["AKIDA"])
def test_akida_nodes_are_those_of_the_vendors_virtual_device(name):
    said = AKIDA[name]
    mapping = map_network(akida_network(name), load_chip("akida"), "in-order", enforce=False)
    assert mapping.fits == said["fits"]
    if said["nodes"] is not None:
        layers = [f"n{number}" for number in range(len(said["nodes"]))]
        assert [len(mapping.held[layer]) for layer in layers] == said["nodes"]
        assert len(mapping.cores) == sum(said["nodes"])


def xylo_network(name: str) -> Network:
    sizes, recurrent = ASKED["XYLO"][name]
    populations, projections = [Population("x", (sizes[0],), "input")], []
    for number, size in enumerate(sizes[1:]):
        source, target = populations[-1], f"n{number}"
        projections.append(Projection.linear(f"f{number}", source.name, target, source.shape, size))
        populations.append(Population(target, (size,), model=IF))
        if recurrent and not number:
            projections.append(Projection.linear("r", target, target, (size,), size, delay=1))
    return Network(name, tuple(populations), tuple(projections), outputs=(populations[-1].name,))


@pytest.mark.parametrize("name", ASKED["XYLO"])
def test_xylo_takes_what_rockpools_mapper_takes(name):
    said, network = XYLO[name], xylo_network(name)
    mapping = map_network(network, load_chip("xylo"), "in-order", enforce=False)
    assert mapping.fits == said["fits"], mapping.violations
    if said["fits"]:
        outputs = network[network.outputs[0]].size
        assert (network.neuron_count - outputs, outputs) == (said["hidden"], said["outputs"])
        assert len(mapping.cores) == 1

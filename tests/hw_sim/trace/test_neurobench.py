"""Counts of an snnTorch network against NeuroBench's, whose numbers are data made by the script beside them."""

import importlib.util
import json
from pathlib import Path

import pytest

import neurokit as nk
from neurokit.capture import capture
from neurokit.hw_sim.trace import trace

pytest.importorskip("snntorch")
ROOT = Path(__file__).parents[3]
THEIRS = json.loads((ROOT / "tests/data/neurobench.json").read_text())


def test_an_snntorch_networks_counts_are_neurobenchs():
    found = importlib.util.spec_from_file_location("neurobench_counts", ROOT / THEIRS["script"])
    script = importlib.util.module_from_spec(found)
    found.loader.exec_module(script)
    shape = nk.TensorSpec("x", script.SHAPE)
    spec = nk.ModelSpec("net", script.build, (shape,), time_steps=script.STEPS, time_input="step")
    load = trace(capture(spec), script.example())
    totals = load.totals()
    assert load.network.uncounted == ()
    assert totals["synaptic_events"] == THEIRS["SynapticOperations"]["Effective_ACs"]
    assert load.network.synapses * script.STEPS == THEIRS["SynapticOperations"]["Dense"]
    # NeuroBench counts the membranes that changed, this simulator all that are computed.
    neurons = sum(population.size for population in load.network.neurons)
    assert totals["neuron_updates"] == neurons * script.STEPS >= THEIRS["MembraneUpdates"]
    assert 1 - totals["spikes"] / totals["neuron_updates"] == pytest.approx(THEIRS["ActivationSparsity"], abs=5e-4)

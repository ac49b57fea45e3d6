"""The event engine computes exact networks from events alone, and finds the spikes that PyTorch found: every one."""

from __future__ import annotations

import dataclasses

import pytest

from neurokit.loading import load
from neurokit.reference import example_input


@pytest.mark.parametrize(("name", "side"), [("spiking_cnn", 8), ("sew_resnet18", 32)])
def test_engine_and_torch_agree_on_every_spike(name, side):
    pytest.importorskip("numba")
    from neurokit.exact import exact
    from neurokit.hw_sim.engine import Engine
    from neurokit.hw_sim.engine.dyadic import integer_network
    from neurokit.hw_sim.trace import trace

    spec = load(name)
    info = spec.inputs[0]
    if info.shape[-1] != side:
        info = dataclasses.replace(info, shape=(info.shape[0], side, side))
        spec = dataclasses.replace(spec, inputs=(info,), example=None)
    captured = exact(spec, calibration=None).captured
    workload = trace(captured, example_input(spec, 4, 1, seed=3))
    assert workload.network.uncounted == ()
    net, inputs = integer_network(workload.network, 4, workload.inputs)
    found = Engine(net, 4).run(inputs)
    neurons = [population.name for population in workload.network.neurons]
    assert set(found.rasters) >= set(neurons)
    spikes = 0
    for neuron in neurons:
        wanted = workload.rasters[neuron].unpack()
        assert (found.rasters[neuron].unpack() == wanted).all(), neuron
        spikes += int(wanted.sum())
    assert spikes > 100, "a silent network proves nothing"
    assert found.synaptic_events > 0

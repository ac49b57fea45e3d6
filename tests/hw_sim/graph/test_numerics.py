"""The width of weights: grids of every width by construction, floats, scales a channel."""

from __future__ import annotations

import numpy as np
import pytest

from neurokit.errors import InputError
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.numerics import grid_width, parse_width
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.simulate import simulate_workload


@pytest.mark.parametrize("bits", [3, 4, 5, 8])
@pytest.mark.parametrize("scale", [1.0, 0.013, 2.0**-9])
def test_the_width_of_a_grid(bits, scale):
    rng = np.random.default_rng(bits)
    top = 2 ** (bits - 1) - 1
    weight = rng.integers(-top, top + 1, (40, 6, 3, 3)) * scale
    weight.reshape(-1)[:3] = (-top * scale, top * scale, scale)
    assert grid_width(weight.astype(np.float32)) == bits


def test_one_scale_a_channel():
    rng = np.random.default_rng(0)
    weight = rng.integers(-7, 8, (8, 64)) * rng.uniform(0.1, 1, (8, 1))
    assert grid_width(weight.astype(np.float32)) == 4


@pytest.mark.parametrize(("levels", "bits"), [((-0.5, 0.5), 1), ((0.0, 0.3), 1), ((-0.3, 0.0, 0.3), 2)])
def test_binary_and_ternary(levels, bits):
    assert grid_width(np.random.default_rng(0).choice(levels, (32, 32))) == bits


@pytest.mark.parametrize("shape", [(64, 64), (10, 3, 3, 3), (256, 1000)])
def test_floats_are_on_no_grid(shape):
    assert grid_width(np.random.default_rng(1).normal(size=shape).astype(np.float32)) is None


def workload(weight: np.ndarray) -> Workload:
    rule = Projection.linear("fc", "x", "y", (weight.shape[1],), weight.shape[0], weight=weight)
    populations = (
        Population("x", (weight.shape[1],), "input"),
        Population("y", (len(weight),), model=NeuronModel("if")),
    )
    spikes = {p.name: SpikeRaster.pack(np.ones((2, p.size), bool)) for p in populations}
    return Workload(Network("n", populations, (rule,)), spikes)


FLOATS = np.random.default_rng(2).normal(size=(20, 30)).astype(np.float32)


@pytest.mark.parametrize("chip", ["akida", "truenorth", "odin", "loihi1"])
def test_floats_are_refused_by_no_chip_and_said_to_be_floats(chip):
    report = simulate_workload(workload(FLOATS), [chip], estimators=())
    assert not any("weight_bits" in line for line in report.chips[0].violations)
    assert any("floats" in note for note in report.assumptions)


def test_weights_behind_a_batch_normalisation_are_floats_too():
    """The zoo's own network: its convolutions are scaled by normalisations that a trace does not fold."""
    from neurokit.capture.reference import example_input
    from neurokit.hw_sim.trace import trace
    from neurokit.loading import load
    from neurokit.pipeline import capture

    captured = capture(load("spiking_cnn"), time_steps=2)
    work = trace(captured, example_input(captured.spec, 2, 1, 0))
    (report,) = simulate_workload(work, ["akida"], estimators=()).chips
    assert report.fits
    (narrow,) = simulate_workload(work, ["akida"], estimators=(), weight_bits=8).chips
    assert not narrow.fits


@pytest.mark.parametrize(
    ("bits", "refusing"), [(9, {"akida", "odin"}), (4, {"odin"}), ("ternary", set()), ("binary", set())]
)
def test_a_width_that_is_given_is_held_against_each_chip(bits, refusing):
    report = simulate_workload(workload(FLOATS), ["akida", "odin", "loihi1"], estimators=(), weight_bits=bits)
    assert {c.chip for c in report.chips if any("weight_bits" in line for line in c.violations)} == refusing
    assert not any("floats" in note for note in report.assumptions)


def test_weights_of_five_bits_do_not_fit_in_four():
    report = simulate_workload(workload(np.arange(-15, 15).reshape(5, 6).astype(float)), ["akida"], estimators=())
    assert any("5 bits" in line for line in report.chips[0].violations)


@pytest.mark.parametrize("text", ["0", "33", "-1", "half", "", "1.5"])
def test_a_width_that_is_none_is_refused(text):
    with pytest.raises(InputError, match="weight bits"):
        parse_width(text)

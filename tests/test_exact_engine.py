"""The event engine computes exact networks from events alone, and finds the spikes that PyTorch found: every one."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

import pytest
import torch
from spikingjelly.activation_based.neuron import LIFNode

from neurokit.capture import capture
from neurokit.capture.reference import example_input
from neurokit.errors import UnsupportedError
from neurokit.loading import load
from neurokit.spec import ModelSpec, TensorSpec

if TYPE_CHECKING:
    from neurokit.hw_sim.graph.counts import Workload


def decisions_that_agree(workload: Workload) -> int:
    """Runs the engine on a traced exact network and returns how many spike decisions equal torch's: all of them."""
    from neurokit.hw_sim.engine import Engine
    from neurokit.hw_sim.engine.dyadic import integer_network

    assert workload.network.uncounted == ()
    net, inputs = integer_network(workload.network, workload.time_steps, workload.inputs)
    found = Engine(net, workload.time_steps).run(inputs)
    decisions = 0
    for population in workload.network.neurons:
        wanted = workload.rasters[population.name]
        assert int((found.rasters[population.name].unpack() != wanted.unpack()).sum()) == 0, population.name
        decisions += wanted.neurons * wanted.time_steps
    assert found.synaptic_events > 0
    return decisions


def traced(spec: ModelSpec, x: torch.Tensor, calibration: torch.Tensor | None) -> Workload:
    from neurokit.exact import exact
    from neurokit.hw_sim.trace import trace

    captured = capture(spec, merge=spec.merge_reparameterised is not None)  # tests/test_contract.py holds it
    made = exact(captured, calibration=calibration, search=False)
    assert made.proof.status == "exact"
    return trace(made.captured, x)


@pytest.mark.parametrize(
    ("name", "side"), [("spiking_cnn", 8), pytest.param("sew_resnet18", 32, marks=pytest.mark.slow)]
)
def test_engine_and_torch_agree_on_every_spike(name, side):
    spec = load(name).in_small()
    info = spec.inputs[0]
    if info.shape[-1] != side:
        info = dataclasses.replace(info, shape=(info.shape[0], side, side))
        spec = dataclasses.replace(spec, inputs=(info,), example=None)
    workload = traced(spec, example_input(spec, 4, 1, seed=3), None)
    assert decisions_that_agree(workload) == 4 * workload.network.neuron_count
    assert workload.totals()["spikes"] > 100, "a silent network proves nothing"


def little_spikeformer(height: int, width: int) -> tuple[ModelSpec, torch.Tensor]:
    """Returns a Meta-SpikeFormer of one block a stage, with statistics under which its attention fires."""
    from neurokit.data.synthetic import repeated_images
    from neurokit.models.common.untrained import calibrate_batch_norm
    from neurokit.models.metaspikeformer.net import SDSA3, MetaSpikeFormer

    shape = (3, height, width)
    images = repeated_images(2, 4, 0, shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = MetaSpikeFormer((8, 8, 16, 16), classes=10).eval()
    net.ConvBlock2_2, net.block3, net.block4 = torch.nn.ModuleList(), net.block3[:1], net.block4[:1]
    for part in net.modules():
        if isinstance(part, SDSA3):  # few tokens and two channels a head: without this no product reaches a threshold
            for branch in (part.q_conv, part.k_conv, part.v_conv):
                torch.nn.init.constant_(branch[1].bias, 1.5)
    calibrate_batch_norm(net, images)
    zoo = load("metaspikeformer_15m")
    info = dataclasses.replace(zoo.inputs[0], shape=shape)
    return dataclasses.replace(zoo, build=lambda: net, inputs=(info,), example=None), images


def test_a_spikeformer_with_roundings_between_its_shortcuts_fires_as_in_torch():
    spec, images = little_spikeformer(32, 48)  # the last mean is over 6 places: no power of two
    workload = traced(spec, repeated(spec, seed=5), images)
    kinds = {p.rounding.low is None for p in workload.network.populations if p.rounding}
    assert kinds == {True, False}, "roundings with and without limits must both occur"
    rates = {p.name: workload.rasters[p.name].rate for p in workload.network.neurons}
    assert min(rates.values()) > 0.0, rates
    assert decisions_that_agree(workload) == 4 * workload.network.neuron_count > 50_000


def repeated(spec: ModelSpec, seed: int) -> torch.Tensor:
    from neurokit.data.synthetic import repeated_images

    return repeated_images(1, 4, seed, spec.inputs[0].shape)


def test_a_check_from_events_finds_what_differs_and_says_so():
    from neurokit.exact import exact
    from neurokit.hw_sim.engine.check import check_events
    from neurokit.hw_sim.graph.raster import SpikeRaster
    from neurokit.hw_sim.trace import trace
    from neurokit.simulation import simulate

    spec = load("spiking_cnn")
    captured = exact(spec).captured
    report = simulate(captured, chips=["loihi1"], check_events=True)
    assert report.event_check is not None
    assert report.event_check.decisions == report.neurons * report.time_steps
    assert (report.event_check.differing, report.event_check.layers) == (0, ())
    assert "all as in torch" in report.event_check.text
    assert type(report).from_json(report.to_json()).event_check == report.event_check

    workload = trace(captured, example_input(spec, 4, 1, 0))
    name = workload.network.neurons[0].name
    spikes = workload.rasters[name].unpack()
    spikes[1, 5] ^= 1
    broken = dataclasses.replace(workload, rasters={**workload.rasters, name: SpikeRaster.pack(spikes)})
    found = check_events([workload, broken])
    assert (found.differing, found.layers) == (1, (name,))
    assert name in found.text
    inexact = capture(load("sew_resnet18").in_small(), time_steps=1)
    with pytest.raises(UnsupportedError, match=r"cannot run network .* in whole numbers"):
        simulate(inexact, torch.zeros(1, 1, 3, 64, 64), check_events=True)


@pytest.mark.slow
def test_metaspikeformer_15m_at_224_fires_as_in_torch():
    spec = load("metaspikeformer_15m")
    workload = traced(spec, example_input(spec, 4, 1, seed=1), example_input(spec, 4, 1, seed=0))
    assert sum(p.rounding is not None for p in workload.network.populations) > 5
    rates = [workload.rasters[p.name].rate for p in workload.network.neurons]
    assert len(rates) == 77
    assert min(rates) > 0.01, "a silent layer proves nothing"
    assert decisions_that_agree(workload) == 4 * 11_597_288


class Classes(torch.nn.Module):
    """An exact network whose answer no event carries: the place of the largest readout."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.out = torch.nn.Linear(6, 8), LIFNode(step_mode="m"), torch.nn.Linear(8, 3)

    def forward(self, x):
        return self.out(self.lif(self.fc(x))).argmax(-1)


def test_an_exact_network_that_the_engine_cannot_run_is_not_called_inexact():
    x = torch.rand((4, 2, 6), generator=torch.Generator().manual_seed(1))
    spec = ModelSpec("classes", lambda: Classes().eval(), (TensorSpec("x", (6,)),), time_steps=4)
    workload = traced(spec, x[:, :1], x)
    from neurokit.hw_sim.engine.dyadic import integer_network

    with pytest.raises(UnsupportedError, match="the event engine cannot run network 'classes'"):
        integer_network(workload.network, workload.time_steps, workload.inputs)

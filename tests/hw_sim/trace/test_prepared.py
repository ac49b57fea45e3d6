"""Preprocessing in the graph: what a threshold gives is the network's input, and no operation of a chip."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.hw_sim.trace import trace
from neurokit.spec import ModelSpec, TensorSpec

STEPS = 3


class Thresholded(nn.Module):
    """Bytes to silhouettes, to a convolution and neurons; `raw` also lets the bytes themselves through."""

    def __init__(self, raw: bool = False) -> None:
        super().__init__()
        self.conv = layer.Conv2d(1, 4, 3, bias=False, step_mode="m")
        self.conv.weight.data = torch.randint(-8, 9, self.conv.weight.shape).float() / 4
        self.fire = neuron.IFNode(v_reset=None, step_mode="m")
        self.raw = raw

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = x.float().flatten(0, 1)
        dark = 1 - F.max_pool2d((flat > 90).float(), 3, 1, 1)
        current = self.conv(dark.unflatten(0, x.shape[:2]))
        if self.raw:
            current = current + self.conv(flat.unflatten(0, x.shape[:2]) / 256)
        return self.fire(current).flatten(2).mean(0)


def spec(raw: bool) -> ModelSpec:
    torch.manual_seed(0)
    port = TensorSpec("image", (1, 8, 8), "uint8", high=255)
    return ModelSpec("t", lambda: Thresholded(raw).eval(), (port,), time_steps=STEPS, time_output="mean")


@pytest.fixture(scope="module")
def pictures() -> torch.Tensor:
    torch.manual_seed(2)
    x = torch.randint(0, 256, (1, 2, 1, 2, 2), dtype=torch.uint8).repeat_interleave(4, 3).repeat_interleave(4, 4)
    return x.expand(STEPS, 2, 1, 8, 8).contiguous()


def test_silhouettes_are_the_spikes_that_come_in(pictures):
    captured = nk.capture(spec(raw=False))
    load = trace(captured, pictures[:, :1])
    (source,) = load.network.inputs
    dark = 1 - F.max_pool2d((pictures[:, 0].float() > 90).float(), 3, 1, 1)
    assert (source.binary, source.shape, load.network.uncounted) == (True, (1, 8, 8), ())
    assert torch.equal(torch.from_numpy(load.rasters[source.name].unpack()).reshape(dark.shape), dark.bool())
    # By hand: every dark pixel reaches as many outputs of 6 x 6 as 3 x 3 windows hold it, in 4 channels.
    reach = F.conv_transpose2d(torch.ones(1, 1, 6, 6), torch.ones(1, 1, 3, 3))
    events = sum(
        int(p.synaptic_events(load.rasters[p.source].unpack()).sum()) for p in load.network.out_of(source.name)
    )
    assert events == int((dark * reach).sum()) * 4 > 0


def test_events_alone_and_more_samples(pictures):
    captured = nk.capture(spec(raw=False))
    samples = [pictures[:, :1], pictures[:, 1:]]
    report = nk.simulate(nk.exact(captured).captured, samples, ["loihi2"], check_events=True)
    assert report.event_check.differing == 0
    assert report.test_set.samples == 2


def test_bytes_that_reach_the_network_stay_its_input(pictures):
    load = trace(nk.capture(spec(raw=True)), pictures[:, :1])
    assert not load.network.inputs[0].binary
    assert any("gt" in str(entry) for entry in load.network.uncounted)

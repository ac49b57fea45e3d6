"""Membranes in variables of forward, in single steps of one fixed batch size, as boards want them."""

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.loading import spec_of_module

T = 4


class ByHand(nn.Module):
    """A leaky neuron of three levels that makes its state for the batch it is given."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b = nn.Linear(8, 12), nn.Linear(12, 5)

    def forward(self, x):
        v, out = torch.zeros(x.shape[1], 12, dtype=x.dtype), []
        for step in x:
            v = 0.8 * v + 3 * self.a(step)
            spikes = (v > 1).to(x) - (v < -1).to(x)
            v = v - spikes
            out.append(self.b(spikes))
        return torch.stack(out)


@pytest.fixture(scope="module")
def captured():
    return nk.capture(spec_of_module(ByHand().eval(), "net", (8,), T))


@pytest.mark.parametrize("batch", [1, 3])
def test_single_steps_have_a_batch_that_is_a_number(captured, tmp_path, batch):
    artifact = nk.lower(captured, "onnx-step", tmp_path / "a", batch=batch)
    assert artifact.manifest.parity["verdict"] in ("exact", "within tolerance")
    step = captured.retrace(form="step", batch=batch)
    assert [state.shape for state in step.states] == [(batch, 12)]
    assert [port.shape for port in step.inputs] == [(batch, 8)]
    x = torch.rand(T, batch, 8, generator=torch.Generator().manual_seed(1))
    with nk.open(artifact) as runner, torch.no_grad():
        wanted = ByHand().double()(x.double()).numpy()
        np.testing.assert_allclose(runner(x.numpy()), wanted, atol=1e-5)
        runner.reset(batch=batch)
        np.testing.assert_allclose(np.stack([runner.step(step) for step in x.numpy()]), wanted, atol=1e-5)

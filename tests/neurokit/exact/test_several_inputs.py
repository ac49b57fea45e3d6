"""The exact form of a network with several inputs: each on a grid of its own; float64 is the judge."""

import copy

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.capture.reference import record
from neurokit.errors import InputError, UnsupportedError

STEPS = 4


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = layer.Linear(5, 12, step_mode="m"), layer.Linear(3, 12, step_mode="m")
        self.spike, self.head = neuron.LIFNode(v_threshold=0.3, step_mode="m"), layer.Linear(12, 4, step_mode="m")

    def forward(self, ear, eye):
        return self.head(self.spike(self.a(ear) + self.b(eye) * 0.0625))


@pytest.fixture(scope="module")
def captured():
    torch.manual_seed(0)
    net = Pair().eval()
    ports = (nk.TensorSpec("ear", (5,)), nk.TensorSpec("eye", (3,), low=-20.0, high=20.0))
    return capture(nk.ModelSpec("pair", lambda: net, ports, time_steps=STEPS, time_output="sequence"))


def _given(batch=64, seed=1):
    generator = torch.Generator().manual_seed(seed)
    ear = torch.rand(STEPS, batch, 5, generator=generator)
    return {"ear": ear, "eye": 40 * torch.rand(STEPS, batch, 3, generator=generator) - 20}


@pytest.fixture(scope="module")
def made(captured):
    return nk.exact(captured, _given())


def test_every_input_has_a_grid_of_its_own_and_the_proof_holds(made):
    assert made.proof.status in ("exact", "elementwise")
    assert made.against_float["output_relative_l2"] < 0.1
    ear, eye = made.to_json()["input_grids"]
    assert (ear["low"], ear["high"]) == (0.0, 1.0)
    assert (eye["low"], eye["high"]) == (-20.0, 20.0)
    assert eye["exponent"] > ear["exponent"]  # 20 times the range, as many bits


def test_the_spikes_are_those_of_float64_and_of_onnx(made, tmp_path):
    program = made.captured.program.module()
    given = _given(16, seed=5)
    single, records = record(program, (*given.values(), *made.captured.initial_states(16)))
    double = copy.deepcopy(program).double()
    states = tuple(state.double() for state in made.captured.initial_states(16))
    wide, exact_records = record(double, (*(x.double() for x in given.values()), *states))
    assert records[0].spikes.sum() > 50
    assert torch.equal(records[0].spikes.double(), exact_records[0].spikes.double())
    np.testing.assert_allclose(single[0].detach(), wide[0].detach(), rtol=1e-5, atol=1e-6)
    artifact = nk.lower(made, "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] == "exact", artifact.manifest.parity
    with nk.open(artifact) as runner:
        found = runner({name: x.numpy() for name, x in given.items()})["y"]
    np.testing.assert_allclose(found, wide[0].detach().numpy(), rtol=1e-5, atol=1e-6)


def test_what_does_not_go_is_refused_with_the_reason(captured, made, tmp_path):
    given = _given(4)
    for data, why in (
        (given["ear"], "there are 2: ear, eye"),
        ({"ear": given["ear"]}, "data of input 'eye' are missing"),
        ({**given, "eye": given["eye"][:, :2]}, "differ in samples"),
    ):
        with pytest.raises(InputError, match=why):
            nk.exact(captured, data)
    with pytest.raises(UnsupportedError, match="note on a grid is of one input"):
        nk.lower(made, "nir", tmp_path / "n")
    with pytest.raises(InputError, match="fine-tuning feeds one input"):
        nk.exact_finetune(captured, None)

"""A membrane that a module sets itself before the first step is the artifact's initial state, in every form."""

import numpy as np
import onnxruntime
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.pipeline import verify

STEPS, BATCH = 6, 3


class Net(nn.Module):
    """A linear layer, a neuron and a readout; subclasses say where the membrane starts."""

    mode = "m"

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encode, self.lif = nn.Linear(10, 12), neuron.LIFNode(v_threshold=0.5, step_mode=self.mode)
        self.decode, self.v0 = nn.Linear(12, 3), nn.Parameter(torch.rand(12) * 0.4)
        self.encode.weight.data.mul_(3)

    def body(self, x):
        return self.decode(self.lif(self.encode(x)))


class Learnt(Net):
    def forward(self, x):
        self.lif.v = self.v0.expand(x.shape[1], 12).clone()
        return self.body(x)


class LearntOnce(Net):
    mode = "s"

    def forward(self, x):
        if isinstance(self.lif.v, float):
            self.lif.v = self.v0.expand(x.shape[0], 12).clone()
        return self.body(x)


class Number(Net):
    def forward(self, x):
        self.lif.v = 0.25
        return self.body(x)


class WrongShape(Net):
    """SpikingJelly drops a membrane that has not the input's shape, and starts from rest."""

    def forward(self, x):
        self.lif.v = self.v0
        return self.body(x)


class FromInput(Net):
    def forward(self, x):
        self.lif.v = x[0, :, :1].expand(x.shape[1], 12) * 0.4
        return self.body(x)


class EveryStep(Net):
    mode = "s"

    def forward(self, x):
        self.lif.v = self.v0.expand(x.shape[0], 12).clone()
        return self.body(x)


def spec_of(kind):
    module = kind().eval()
    time_input = "step" if module.mode == "s" else "sequence"
    port = nk.TensorSpec("x", (10,))
    return nk.ModelSpec("net", lambda: module, (port,), time_steps=STEPS, time_input=time_input), module


def eager(module, x):
    functional.reset_net(module)
    with torch.no_grad():
        return torch.stack([module(x_t) for x_t in x]) if module.mode == "s" else module(x)


@pytest.mark.parametrize("kind", [Number, WrongShape])
def test_the_program_starts_where_the_module_does(kind):
    spec, module = spec_of(kind)
    captured = nk.capture(spec)
    x = torch.rand(STEPS, BATCH, 10, generator=torch.Generator().manual_seed(7))
    found = captured.program.module()(x, *captured.initial_states(BATCH))[0]
    torch.testing.assert_close(found, eager(module, x), atol=1e-5, rtol=0)


@pytest.mark.parametrize("kind", [Learnt, LearntOnce])
def test_the_artifact_starts_where_the_module_does(kind, tmp_path):
    """ONNX Runtime alone, on whole sequences and step by step, against SpikingJelly alone."""
    spec, module = spec_of(kind)
    captured = nk.capture(spec)
    x = torch.rand(STEPS, BATCH, 10, generator=torch.Generator().manual_seed(7))
    wanted = eager(module, x).numpy()
    nk.lower(captured, "onnx", tmp_path / "whole")
    session = onnxruntime.InferenceSession(str(tmp_path / "whole" / "model.onnx"))
    np.testing.assert_allclose(session.run(None, {"x": x.numpy()})[0], wanted, atol=1e-5)
    artifact = nk.lower(captured, "onnx-step", tmp_path / "step")
    session = onnxruntime.InferenceSession(str(tmp_path / "step" / "model.onnx"))
    (state,) = artifact.manifest.states
    start = np.load(tmp_path / "step" / state.init) if isinstance(state.init, str) else state.init
    v, steps = np.full((BATCH, 12), start, np.float32), []
    for x_t in x.numpy():
        y, v = session.run(None, {"x": x_t, state.input: v})
        steps.append(y)
    np.testing.assert_allclose(np.stack(steps), wanted, atol=1e-5)
    with nk.open(artifact) as runner:
        np.testing.assert_allclose(runner(x.numpy()), wanted, atol=1e-5)
    assert verify(artifact).passed


def test_a_start_changed_in_the_artifact_is_seen(tmp_path):
    """Verification fails where the file of initial values is another than the module's."""
    artifact = nk.lower(nk.capture(spec_of(Learnt)[0]), "onnx-step", tmp_path / "step", verified=False)
    (state,) = artifact.manifest.states
    file = artifact.path / state.init
    np.save(file, np.load(file)[::-1].copy())
    report = verify(artifact, record=False)
    assert not report.passed


@pytest.mark.parametrize("kind", [FromInput, EveryStep])
def test_what_is_no_initial_state_is_part_of_the_program(kind):
    """It has no step form: a step would set the membrane again."""
    spec, module = spec_of(kind)
    captured = nk.capture(spec)
    x = torch.rand(STEPS, BATCH, 10, generator=torch.Generator().manual_seed(7))
    found = captured.program.module()(x, *captured.initial_states(BATCH))[0]
    torch.testing.assert_close(found, eager(module, x), atol=1e-5, rtol=0)
    with pytest.raises(UnsupportedError, match="sets its state before it is called"):
        captured.retrace(form="step")


def test_a_form_without_initial_membranes_names_the_neuron(tmp_path):
    with pytest.raises(UnsupportedError, match=r"lif.*no initial membrane"):
        nk.lower(nk.capture(spec_of(Learnt)[0]), "nir", tmp_path / "n")


def test_exact_numbers_start_from_the_rounded_membrane(tmp_path):
    """Exact in every bit, and within 2**-9 of the learnt membrane."""
    spec, module = spec_of(Learnt)
    made = nk.exact(spec, torch.rand(STEPS, 2, 10))
    (state,) = made.captured.states
    assert np.abs(state.start() - module.v0.detach().numpy()).max() <= 0.5 * 2.0**-9
    assert len(np.unique(state.start())) > 6
    report = verify(nk.lower(made, "onnx", tmp_path / "e"))
    assert report.passed
    assert report.verdict == "exact"

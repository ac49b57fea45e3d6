"""An encoder and a step in which neurons spike: membranes are states of the step; the module itself is the judge."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import GraphSpec


class Pair(nn.Module):
    """The encoder makes a drive of an image once; each step adds a token, spikes, and counts itself."""

    def __init__(self, mode="s"):
        super().__init__()
        self.look, self.table = nn.Linear(6, 8), nn.Embedding(5, 8)
        self.spike, self.head = neuron.LIFNode(v_threshold=0.3, step_mode=mode), nn.Linear(8, 3)

    def encode(self, image):
        return self.look(image.flatten(1))

    def step(self, ids, drive, count):
        spikes = self.spike(self.table(ids) + drive)
        return {"logits": self.head(spikes) + count, "spikes": spikes, "count": count + 1}


def _spec(mode="s"):
    torch.manual_seed(0)
    net = Pair(mode).eval()
    image, ids = nk.TensorSpec("image", (2, 3)), nk.TensorSpec("ids", (), "int64", high=4)
    graphs = (
        GraphSpec("encoder", (image,), ("drive",), method="encode"),
        GraphSpec(
            "step",
            (ids, nk.TensorSpec("drive", (8,), source="encoder.drive")),
            ("logits", "spikes"),
            (nk.StateSpec("count", (1,)),),
            method="step",
        ),
    )
    return nk.ModelSpec("pair", lambda: net, graphs=graphs)


@pytest.fixture(scope="module")
def captured():
    return capture(_spec())


def test_every_call_is_a_step_and_membranes_are_states(captured, tmp_path):
    artifact = nk.lower(captured, "onnx-step", tmp_path / "a")
    assert artifact.manifest.parity["passed"], artifact.manifest.parity
    assert [state.name for state in artifact.manifest.graphs[1].states] == ["count", "spike_v"]
    assert artifact.manifest.graphs[0].states == ()
    net = captured.spec.build()
    generator = torch.Generator().manual_seed(3)
    image, ids = torch.rand(2, 2, 3, generator=generator), torch.randint(0, 5, (6, 2), generator=generator)
    functional.reset_net(net)
    fired = 0
    with nk.open(artifact) as runner, torch.no_grad():
        runner.reset(2)
        runner.run("encoder", {"image": image.numpy()})
        drive, count = net.encode(image), torch.zeros(2, 1)
        for step in ids:
            wanted = net.step(step, drive, count)
            found = runner.run("step", {"ids": step.numpy()})
            for name in ("logits", "spikes"):
                np.testing.assert_allclose(found[name], wanted[name].numpy(), atol=1e-5)
            fired += int(wanted["spikes"].sum())
            count = wanted["count"]
    functional.reset_net(net)
    assert fired > 10
    report = nk.benchmark(artifact, seconds=0.05, threads=1, meter="none")
    assert report.target == "onnx-step"


def test_what_does_not_go_is_refused_with_the_reason(captured, tmp_path):
    with pytest.raises(UnsupportedError, match="keeps a state between calls"):
        nk.lower(captured, "onnx", tmp_path / "a")
    with pytest.raises(UnsupportedError, match="with several graphs every call of one is a step"):
        capture(_spec("m"))
    with pytest.raises(InputError, match="every call of a graph is one step"):
        capture(_spec(), time_steps=4)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.n = nn.Linear(4, 6), neuron.LIFNode(v_threshold=0.2)
        self.b, self.m = nn.Linear(6, 3), neuron.IFNode(v_threshold=0.2)

    def first(self, x):
        return self.n(self.a(x))

    def second(self, h):
        return self.m(self.b(h))


def test_neurons_in_the_first_graph_too_and_what_verification_did_not_see_is_said(tmp_path):
    torch.manual_seed(0)
    net = Two().eval()
    graphs = (
        GraphSpec("first", (nk.TensorSpec("x", (4,)),), ("h",), method="first"),
        GraphSpec("second", (nk.TensorSpec("h", (6,), source="first.h"),), ("y",), method="second"),
    )
    artifact = nk.lower(capture(nk.ModelSpec("two", lambda: net, graphs=graphs)), "onnx-step", tmp_path / "a")
    assert artifact.manifest.parity["passed"]
    assert any("not layer by layer" in note for note in artifact.manifest.parity["notes"])
    x = torch.rand(5, 2, 4, generator=torch.Generator().manual_seed(0))
    functional.reset_net(net)
    with nk.open(artifact) as runner, torch.no_grad():
        runner.reset(2)
        for step in x:
            runner.run("first", {"x": step.numpy()})
            np.testing.assert_array_equal(runner.run("second", {})["y"], net.second(net.first(step)).numpy())
    functional.reset_net(net)

"""NIR files of networks with several inputs: SpikingJelly's own steps are the judge."""

import shutil

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.artifact import Artifact
from neurokit.capture import capture
from neurokit.cli import main
from neurokit.errors import ArtifactError, InputError, UnsupportedError

STEPS = 5


class Pair(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = layer.Linear(5, 6, step_mode="m"), layer.Conv2d(1, 2, 3, step_mode="m")
        self.flat, self.c = layer.Flatten(step_mode="m"), layer.Linear(8, 6, step_mode="m")
        self.first = neuron.IFNode(v_threshold=0.3, step_mode="m")
        self.spike, self.head = neuron.LIFNode(v_threshold=0.2, step_mode="m"), layer.Linear(6, 3, step_mode="m")

    def forward(self, ear, eye):
        seen = self.c(self.flat(self.first(self.b(eye))))
        return self.head(self.spike(self.a(ear) + seen))


@pytest.fixture(scope="module")
def spec():
    torch.manual_seed(0)
    net = Pair().eval()
    ports = (nk.TensorSpec("ear", (5,)), nk.TensorSpec("eye", (1, 4, 4)))
    return nk.ModelSpec("pair", lambda: net, ports, time_steps=STEPS, time_output="sequence")


@pytest.fixture(scope="module")
def artifact(spec, tmp_path_factory):
    return nk.lower(capture(spec), "nir", tmp_path_factory.mktemp("nir") / "a", simulators=True)


def _given():
    generator = torch.Generator().manual_seed(1)
    return {
        "ear": torch.rand(STEPS, 2, 5, generator=generator),
        "eye": torch.rand(STEPS, 2, 1, 4, 4, generator=generator),
    }


def _wanted(spec, given):
    net = spec.build()
    functional.reset_net(net)
    with torch.no_grad():
        y = net(given["ear"], given["eye"]).numpy()
    functional.reset_net(net)
    return y


def test_the_file_has_an_input_node_for_each_and_computes_the_network(spec, artifact):
    import nir

    graph = nir.read(str(artifact.file("model.nir")))
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    assert sorted(name for name, kind in kinds.items() if kind == "Input") == ["input_ear", "input_eye"]
    report = artifact.manifest.parity
    assert report["passed"], report
    assert report["spikes_compared"] > 0
    given = _given()
    feeds = {name: value.numpy() for name, value in given.items()}
    wanted = _wanted(spec, given)
    with nk.open(artifact) as runner:
        np.testing.assert_allclose(runner(feeds)["y"], wanted, atol=1e-5)
        runner.reset(2)
        steps = [runner.step({name: x[t] for name, x in feeds.items()})["y"] for t in range(STEPS)]
        np.testing.assert_allclose(np.stack(steps), wanted, atol=1e-5)
        with pytest.raises(InputError, match="data of input 'eye' are missing"):
            runner({"ear": feeds["ear"]})
        with pytest.raises(InputError, match="differ in steps or batch"):
            runner({**feeds, "eye": feeds["eye"][:3]})
        with pytest.raises(InputError, match="input_eye"):
            runner({**feeds, "eye": feeds["eye"][..., :3]})


NODES = {
    "exchanged": {"ear": "input_eye", "eye": "input_ear"},
    "one is missing": {"ear": "input_ear"},
    "another input": {"ear": "input_ear", "nose": "input_eye"},
    "one node twice": {"ear": "input_ear", "eye": "input_ear"},
}


@pytest.mark.parametrize("nodes", NODES.values(), ids=NODES)
def test_other_nodes_of_its_inputs_are_refused(artifact, tmp_path, nodes):
    other = tmp_path / "a"
    shutil.copytree(artifact.path, other)
    Artifact.load(other).with_target_info(inputs=nodes)
    for use in (nk.open, nk.verify):
        with pytest.raises(ArtifactError, match="contradict each other: the nodes of its inputs"):
            use(other)


def test_every_reader_says_whether_it_takes_several_inputs(artifact):
    said = {entry["simulator"]: entry for entry in artifact.manifest.parity["simulators"]}
    assert set(said) >= {"spikingjelly", "snntorch", "norse"}
    for entry in said.values():
        assert entry["status"] in ("not installed", "refused")
        assert entry["status"] == "not installed" or "2 inputs" in entry["remark"]


def test_the_file_is_read_back_as_a_model_with_both_inputs(spec, artifact, tmp_path, capsys):
    assert main(["export", str(artifact.file("model.nir")), "--time-steps", "5", "--out", str(tmp_path / "onnx")]) == 0
    given = _given()
    with nk.open(tmp_path / "onnx") as runner:
        names = [port.name for port in runner.manifest.inputs]
        assert sorted(names) == ["ear", "eye"]
        found = runner({name: value.numpy() for name, value in given.items()})
    np.testing.assert_allclose(next(iter(found.values())), _wanted(spec, given), atol=1e-5)


class Unread(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.spike = layer.Linear(5, 6, step_mode="m"), neuron.IFNode(step_mode="m")

    def forward(self, ear, eye):
        return self.spike(self.a(ear))


def test_an_input_that_nothing_reads_is_refused(tmp_path):
    ports = (nk.TensorSpec("ear", (5,)), nk.TensorSpec("eye", (3,)))
    unread = nk.ModelSpec("unread", lambda: Unread().eval(), ports, time_steps=2, time_output="sequence")
    with pytest.raises(UnsupportedError, match="no layer reads its input 'eye'"):
        nk.lower(capture(unread), "nir", tmp_path / "a")

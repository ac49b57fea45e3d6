"""Conversion of networks that are not linear between their ReLUs: normalisations behind them, gates, deviations."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn

import neurokit as nk
from neurokit.errors import NeurokitError
from neurokit.models.ecapa_tdnn import ecapa_tdnn_small
from neurokit.models.ecapa_tdnn.net import EcapaTDNN
from neurokit.program import nodes
from neurokit.program.ops import Kind, is_kind
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.transforms.common.graph import is_relu, relu_graph
from neurokit.transforms.common.norms_forward import fold_norms_forward
from neurokit.transforms.qcfs.convert import converted
from neurokit.transforms.qcfs.expected import Differences, RunningMean

FRAMES = 24


def with_statistics(module: nn.Module) -> nn.Module:
    """Gives normalisations statistics, gains (some of them negative) and shifts that matter."""
    torch.manual_seed(3)
    for part in module.modules():
        if isinstance(part, nn.BatchNorm1d):
            part.running_mean.uniform_(-0.5, 0.5)
            part.running_var.uniform_(0.2, 2.0)
            nn.init.uniform_(part.weight, -1.5, 1.5)
            nn.init.uniform_(part.bias, -1.0, 1.0)
    return module.eval()


def trunk() -> ModelSpec:
    torch.manual_seed(1)
    net = with_statistics(EcapaTDNN(16, pooled=24, scale=4, inner=8, mels=10, embedding=12))
    return ModelSpec("trunk", lambda: net, (TensorSpec("features", (FRAMES, 10), layout="LC", low=-1.0),))


class ZeroPadded(nn.Module):
    """A convolution that pads with zeros behind a normalisation behind a ReLU, and one that does not."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv1d(2, 4, 1), nn.BatchNorm1d(4)
        self.padded, self.bare = nn.Conv1d(4, 3, 3, padding=1), nn.Conv1d(4, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.first(x).relu())
        return self.padded(y) + self.bare(y)


def convolutions(graph: torch.fx.GraphModule) -> list[torch.fx.Node]:
    return [node for node in graph.graph.nodes if is_kind(node, Kind.CONVOLVE) and nodes.is_weighted(node)]


def behind_relus_alone(node: object) -> bool:
    """Whether a value is made of ReLUs by moves, pads and joins alone: what neurons will fire passes unchanged."""
    if is_relu(node):
        return True
    moved = is_kind(node, Kind.MOVE, Kind.PAD, Kind.JOIN)
    return moved and all(map(behind_relus_alone, node.all_input_nodes))


def test_normalisations_behind_relus_go_into_the_convolutions_that_read_them():
    graph, _ = relu_graph(trunk())
    x = torch.randn(3, FRAMES, 10, generator=torch.Generator().manual_seed(5)).double()
    before = graph.double()(x)
    alone = sum(behind_relus_alone(node.args[0]) for node in convolutions(graph))
    folded = fold_norms_forward(graph)
    after = sum(behind_relus_alone(node.args[0]) for node in convolutions(graph))
    # One at the start of the first block, then three parts and one join in each of three Res2Net blocks.
    assert folded == 1 + 3 * 4
    assert after == alone + folded
    torch.testing.assert_close(graph(x), before, rtol=1e-9, atol=1e-9)


def test_a_convolution_that_pads_with_zeros_keeps_its_normalisation():
    torch.manual_seed(0)
    net = with_statistics(ZeroPadded())
    graph, _ = relu_graph(ModelSpec("padded", lambda: net, (TensorSpec("x", (2, 6), layout="CL"),)))
    x = torch.randn(2, 2, 6).double()
    before = graph.double()(x)
    assert fold_norms_forward(graph) == 1
    assert sum("batch_norm" in str(node.target) for node in graph.graph.nodes) == 1
    torch.testing.assert_close(graph(x), before, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("steps", [1, 2, 7])
def test_a_function_of_rates_so_far_has_the_functions_value_as_its_mean(steps):
    """Against numpy: the mean of what neurons get is the softmax of the mean of the spikes, at every step."""
    spikes = np.random.default_rng(steps).integers(0, 2, (steps, 3, 5)).astype(np.float64)
    sequence = torch.zeros(steps, 3)
    means = RunningMean()(torch.from_numpy(spikes).flatten(0, 1), sequence)
    given = Differences()(means.softmax(1), sequence).unflatten(0, (steps, 3)).numpy()
    for until in range(1, steps + 1):
        raised = np.exp(spikes[:until].mean(0))
        np.testing.assert_allclose(given[:until].mean(0), raised / raised.sum(1, keepdims=True), atol=1e-12)


@pytest.fixture(scope="module")
def errors_of_ecapa():
    """Errors of embeddings after a conversion, over what samples differ by, by T; the network itself is the oracle."""
    spec = trunk()
    x = torch.randn(12, FRAMES, 10, generator=torch.Generator().manual_seed(6))
    with torch.no_grad():
        wanted = spec.build()(x)
    found = {}
    for steps in (4, 16, 64):
        done = converted(spec, steps, x)
        net = done.spec.build()
        functional.reset_net(net)
        with torch.no_grad():
            y = net(x.unsqueeze(0).expand(steps, *x.shape))
        found[steps] = float((y - wanted).norm() / (wanted - wanted.mean(0)).norm())
    return found, done


def test_ecapa_comes_to_its_source_as_the_steps_grow(errors_of_ecapa):
    found, done = errors_of_ecapa
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert found[64] < 0.1 < found[4]
    assert any("into 13 convolutions" in note for note in done.notes)
    assert any("not linear see the rates so far" in note for note in done.notes)


def test_a_converted_voice_is_lowered_and_verified(tmp_path):
    """With its front end, on recordings of a fixed length; a single step knows no rates so far, and is refused."""
    spec = ecapa_tdnn_small()
    fixed = replace(spec, inputs=(replace(spec.inputs[0], shape=(3200,)),), example=None)
    captured = nk.capture(converted(fixed, 2, 0.1 * torch.randn(8, 3200)).spec)
    artifact = nk.lower(captured, "onnx", tmp_path / "onnx")
    assert nk.verify(artifact).passed
    with pytest.raises(NeurokitError):
        nk.lower(captured, "onnx-step", tmp_path / "step")
    assert not (tmp_path / "step").exists()

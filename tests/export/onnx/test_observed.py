"""Class activation maps and spikes as outputs of ONNX networks, against autograd and SpikingJelly."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurokit import pipeline
from neurokit.errors import InputError
from neurokit.export.onnx.observed import MAPS, SPIKES, observed
from neurokit.export.onnx.spike_count import SpikeCounter
from neurokit.export.ort import new_session
from neurokit.spec import ModelSpec, TensorSpec


class Net(nn.Module):
    """Two convolutions, and a head of one's choice."""

    def __init__(self, head):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 4, 3, 2, 1), nn.ReLU(), nn.Conv2d(4, 5, 3, 2, 1), nn.ReLU())
        self.head = head

    def forward(self, x):
        return self.head(self.body(x))


def pooled(*more):
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), *more)


def lowered(module, target, folder, **spec):
    image = TensorSpec("image", (1, 12, 12))
    made = ModelSpec("net", lambda: module, (image,), **spec)
    return pipeline.lower(pipeline.capture(made), target, folder, verified=False)


def run(model, feeds):
    session = new_session(model)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


@pytest.fixture
def x():
    return torch.rand((2, 1, 12, 12), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("flat", [False, True], ids=["pooled", "flat"])
def test_maps_are_the_gradients_of_autograd(flat, x, tmp_path):
    """Grad-CAM by autograd times the number of places; the scores stay the same bits."""
    module = Net(nn.Sequential(nn.Flatten(), nn.Linear(45, 3)) if flat else pooled(nn.Linear(5, 3))).eval()
    artifact = lowered(module, "onnx", tmp_path / "a")
    model = onnx.load(str(artifact.file("model.onnx")))
    seen = observed(model)
    assert (seen.maps, seen.why, seen.spikes) == (True, "", False)
    onnx.checker.check_model(seen.model, full_check=True)
    found, before = run(seen.model, {"image": x.numpy()}), run(model, {"image": x.numpy()})
    assert all((found[name] == before[name]).all() for name in before)
    maps = module.body(x).detach().requires_grad_()
    scores = module.head(maps)
    for number in range(3):
        (gradient,) = torch.autograd.grad(scores[:, number].sum(), maps, retain_graph=True)
        cam = (gradient.mean((2, 3), keepdim=True) * maps).sum(1).detach().numpy() * 9
        np.testing.assert_allclose(found[MAPS][:, number], cam, atol=1e-6)


def test_int8_maps_add_up_to_the_scores(x, tmp_path):
    """The mean of a map and the bias are the score, within the units that int8 rounds to."""
    module = Net(pooled(nn.Linear(5, 3))).eval()
    example = torch.rand((32, 1, 12, 12), generator=torch.Generator().manual_seed(3))
    artifact = lowered(module, "onnx-int8", tmp_path / "a", example=lambda batch, steps, seed: example[:batch])
    model = onnx.load(str(artifact.file("model.onnx")))
    found, before = run(observed(model).model, {"image": x.numpy()}), run(model, {"image": x.numpy()})
    (score,) = before.values()
    assert (found[next(iter(before))] == score).all()
    sums = found[MAPS].mean((2, 3)) + module.head[-1].bias.detach().numpy()
    assert np.abs(sums - score).max() < 0.05 * np.abs(score).max()


def test_what_has_no_map_says_why(x, tmp_path):
    deep = lowered(Net(pooled(nn.Linear(5, 6), nn.ReLU(), nn.Linear(6, 3))).eval(), "onnx", tmp_path / "deep")
    seen = observed(onnx.load(str(deep.file("model.onnx"))))
    assert not seen.maps
    assert "Relu" in seen.why
    assert set(run(seen.model, {"image": x.numpy()})) == {output.name for output in deep.manifest.outputs}


def test_spikes_are_those_of_spikingjelly(tmp_path):
    """Step by step, all neurons; and the maps are the classifier's weights times the spikes."""
    torch.manual_seed(1)
    module = nn.Sequential(
        layer.Conv2d(1, 4, 3, 2, 1, step_mode="m"),
        neuron.LIFNode(tau=1.5, v_threshold=0.2, step_mode="m"),
        layer.Conv2d(4, 5, 3, 2, 1, step_mode="m"),
        neuron.IFNode(v_threshold=0.3, step_mode="m"),
        layer.AdaptiveAvgPool2d(1, step_mode="m"),
        nn.Flatten(2),
        layer.Linear(5, 3, step_mode="m"),
    ).eval()
    artifact = lowered(module, "onnx-step", tmp_path / "a", time_steps=3)
    seen = observed(onnx.load(str(artifact.file("model.onnx"))))
    assert seen.maps
    assert seen.spikes
    x = torch.rand((3, 1, 1, 12, 12), generator=torch.Generator().manual_seed(4))
    given = []
    handles = [part.register_forward_hook(lambda _m, _i, y: given.append(y)) for part in (module[1], module[3])]
    with torch.no_grad():
        module(x)
    functional.reset_net(module)
    for handle in handles:
        handle.remove()
    expected = torch.einsum("kc,tbchw->tbkhw", module[6].weight, given[1]).detach().numpy()
    states = {s.input: np.full([1, *s.shape[1:]], s.init, s.dtype) for s in artifact.manifest.states}
    for t in range(3):
        found = run(seen.model, {"image": x[t].numpy(), **states})
        states = {s.input: found[s.output] for s in artifact.manifest.states}
        assert found[SPIKES] == sum(int(spikes[t].sum()) for spikes in given) > 0
        np.testing.assert_allclose(found[MAPS].reshape(expected[t].shape), expected[t], atol=1e-6)
    counts = [sum(int(spikes[t].sum()) for spikes in given) for t in range(3)]
    with SpikeCounter(artifact) as counter:
        for _ in range(2):  # the second time after a reset
            counter.reset()
            assert [counter.step(x[t].numpy())[1] for t in range(3)] == counts
        assert counter.neurons == given[0][0].numel() + given[1][0].numel()
    other = type(artifact)(artifact.path, artifact.manifest.model_copy(update={"target": "onnx-scan", "form": "scan"}))
    with pytest.raises(InputError, match="no spikes step by step"):
        SpikeCounter(other)

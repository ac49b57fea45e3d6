"""joint_dit_tiny against Flux's public implementation in float64; RefAM's maps on it and on a planted picture."""

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.attention.heat_map import heat_map, point, proposal
from neurokit.errors import InputError, UnsupportedError
from neurokit.models.joint_dit import net
from neurokit.transforms import transform
from neurokit.transforms.refam import RefAM

from ...transforms.calibration_oracle import agrees, draw, read


def inputs():
    shapes = read("joint_flux")["inputs"]
    names = ("hidden_states", "encoder_hidden_states", "pooled")
    return (*(torch.from_numpy(draw("joint_flux", name, tuple(shapes[name]))) for name in names), torch.tensor([0.5]))


def test_the_public_state_loads_strictly_and_gives_the_oracles_output_and_maps(monkeypatch):
    data = read("joint_flux")
    module = transform(nk.load("joint_dit_tiny"), ["refam"]).build()
    assert {name: list(x.shape) for name, x in module.state_dict().items()} == data["state"]
    module.load_state_dict(dict(module.state_dict()), strict=True)
    module, kept = module.double(), []
    # The public code computes these angles in float32 in a float64 network, too; they go to 1000, so that the last
    # digits of exp in float32, which differ from machine to machine (4e-6 to 1e-5 of the output), are seen.
    within = 2e-5
    monkeypatch.setattr(net, "angles", lambda time, rates: ((1000.0 * time).float()[:, None] * rates.float()).double())
    monkeypatch.setattr(RefAM, "heat_map", lambda self, weights, content: kept.append(weights))
    given = (*inputs()[:3], inputs()[3].double())
    with torch.no_grad():
        plain = nk.load("joint_dit_tiny").build().double()(*given)["sample"]
        module(*given, torch.ones(1, 7))
    out = data["outputs"]
    assert agrees(plain[0], {"full": out["sample_[1,36,8]"]["full"][0]}, within)
    maps = kept[0][0].mean(1)  # [blocks, L + N, L + N]
    assert agrees(maps[:, 7:, :7], out["attention_mean_over_heads_image_to_text_[block,36,7]"], within)
    assert agrees(maps[:, :7, 7:], out["attention_mean_over_heads_text_to_image_[block,7,36]"], within)


def planted(side=12, words=6):
    """Two words look at a square, the others at a corner far from it, all at one sink; a picture of 12 x 12 tokens."""
    rng = np.random.default_rng(0)
    count = words + side * side
    weights = rng.uniform(0.5, 1.0, (count, count))
    square, magnet = np.zeros((side, side), bool), np.zeros((side, side), bool)
    square[2:6, 3:7], magnet[9:12, 8:12] = True, True
    weights[:2, words:][:, square.ravel()] += 6.0
    weights[2:words, words:][:, magnet.ravel()] += 30.0
    weights[:, words + side * side - 70] += 60.0
    weights /= weights.sum(-1, keepdims=True)
    return torch.from_numpy(weights)[None, None, None], square


def iou(found, wanted):
    return (found & wanted).sum() / (found | wanted).sum()


def test_the_planted_square_is_found_when_stop_words_and_sinks_are_left_out():
    weights, square = planted()
    every, words = torch.ones(1, 6), torch.tensor([[1.0, 1, 0, 0, 0, 0]])
    plain = heat_map(weights, every, 6, float("inf"), 0)[0].numpy()
    assert np.allclose(plain, weights[0, 0, 0, :6, 6:].mean(0).numpy())  # the plain average
    found = heat_map(weights, words, 6, 4.0, 0)[0].numpy()
    assert iou(proposal(plain, 12), square) < 0.3
    assert iou(proposal(found, 12), square) > 0.8
    assert square[point(found, 12)]
    assert not square[point(plain, 12)]


def test_the_largest_part_is_connected():
    heat = np.array([[1, 1, 0, 1], [0, 1, 0, 1], [0, 0, 0, 0], [1, 0, 0, 1]], float).ravel()
    assert proposal(heat, 4).astype(int).tolist() == [[1, 1, 0, 0], [0, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]]


@pytest.mark.slow
def test_the_heat_map_is_an_output_of_the_exported_graph(tmp_path):
    spec = transform(nk.load("joint_dit_tiny"), ["refam:kappa=2"])
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "dit")
    assert artifact.manifest.parity["verdict"] == "within tolerance"
    names = ("hidden_states", "encoder_hidden_states", "pooled", "timestep")
    given = {name: x.numpy().astype(np.float32) for name, x in zip(names, inputs(), strict=True)}
    content = np.array([[1, 0, 1, 1, 0, 1, 0]], np.float32)
    module = spec.build().double()
    with torch.no_grad():
        wanted = module(*inputs()[:3], inputs()[3].double(), torch.from_numpy(content))["heat_map"].numpy()
    with nk.open(artifact) as runner:
        found = runner({**given, "content": content})["heat_map"]
    assert np.abs(found - wanted).max() < 1e-6


def test_what_does_not_fit_is_refused():
    for step, said in (("refam:kappa=0.5", "kappa is 0.5"), ("refam:deep=4", "deep is 4")):
        with pytest.raises(InputError, match=said):
            transform(nk.load("joint_dit_tiny"), [step])
    for model, step in (("tiny_lm", "refam"), ("joint_dit_tiny", "zerotuning:gamma=2")):
        with pytest.raises(UnsupportedError, match="no softmax attention"):
            transform(nk.load(model), [step])

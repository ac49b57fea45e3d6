"""Confusions, examples, features and settings of an explanation."""

from __future__ import annotations

import json
import sys

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from neurokit.data.labelled import Labelled
from neurokit.errors import InputError, MissingRuntimeError
from neurokit.explain import explain
from neurokit.explain.embedding import embed
from neurokit.explain.explanation import choose, confused, picture_of


@pytest.fixture(scope="module")
def explanation(plain, images):
    return explain(plain[1], Labelled(images.numpy(), np.arange(20) % 4, "noise"))


def test_answers_and_confusions_are_counted(explanation, plain, images):
    with torch.no_grad():
        predicted = plain[0](images).argmax(1).numpy()
    right = np.arange(20) % 4
    assert explanation.predictions.tolist() == predicted.tolist()
    assert explanation.accuracy.value == (predicted == right).mean()
    for a in range(4):
        for b in range(4):
            assert explanation.confusion[a, b] == ((right == a) & (predicted == b)).sum()


def test_features_are_means_of_the_last_map(explanation, plain, images):
    with torch.no_grad():
        expected = plain[0].features(images).mean((2, 3)).numpy()
    np.testing.assert_allclose(explanation.features, expected, atol=1e-6)


def test_features_of_a_spiking_network_are_rates(spiking, images):
    module, captured = spiking
    found = explain(captured, Labelled(images.numpy(), np.arange(20) % 4), pictures=0)
    with torch.no_grad():
        spikes = module.features(images.expand(3, *images.shape))
    functional.reset_net(module)
    np.testing.assert_allclose(found.features, spikes.mean((0, 3, 4)).numpy(), atol=1e-6)


def test_the_plane_of_pca_is_that_of_the_singular_vectors(explanation):
    centred = explanation.features - explanation.features.mean(0)
    left, scale, _ = np.linalg.svd(centred, full_matrices=False)
    np.testing.assert_allclose(np.abs(explanation.points), np.abs(left[:, :2] * scale[:2]), atol=1e-8)
    share = (scale[:2] ** 2).sum() / (scale**2).sum()
    assert f"{share:.0%}" in explanation.embedding


def test_tsne_keeps_neighbours():
    rng = np.random.default_rng(0)
    blobs = np.concatenate([rng.normal(10 * k, 1, (12, 5)) for k in range(3)])
    points, said = embed(blobs, "tsne")
    centres = points.reshape(3, 12, 2).mean(1)
    nearest = np.linalg.norm(points[:, None] - centres, axis=2).argmin(1)
    assert nearest.tolist() == np.repeat([0, 1, 2], 12).tolist()
    assert "perplexity 12" in said


def test_pairs_and_examples():
    confusion = np.array([[5, 2, 0], [1, 3, 4], [0, 0, 6]])
    pairs = confused(confusion)
    assert [(p.label, p.predicted, p.count, p.total) for p in pairs] == [(1, 2, 4, 8), (0, 1, 2, 7), (1, 0, 1, 8)]
    labels, said = np.array([0, 0, 1, 1, 1, 2]), np.array([1, 0, 0, 2, 1, 2])
    assert choose(labels, said, confused(np.array([[1, 1, 0], [1, 1, 1], [0, 0, 1]])), 10) == [0, 2, 3, 1, 4, 5]
    assert choose(labels, said, (), 2) == [1, 4]


def test_maps_are_scaled_and_pictures_are_bytes(explanation):
    assert explanation.examples
    for example in explanation.examples:
        assert example.picture.dtype == np.uint8
        assert example.picture.shape == (12, 12)
        assert example.map.min() >= 0
        assert example.map.max() in (0.0, 1.0)
        assert 0 < example.confidence <= 1
    json.dumps(explanation.to_json())


def test_pictures_of_other_ranges_and_channels():
    assert picture_of(np.array([[[-1.0, 1.0]]]), -1, 1).tolist() == [[0, 255]]
    assert picture_of(np.full((3, 2, 5), 0.2), 0, 1).shape == (2, 5, 3)
    assert picture_of(np.array([[[0.0]], [[1.0]]]), 0, 1).tolist() == [[128]]


def test_wrong_settings_are_told_before_the_capture(images, monkeypatch):
    data = Labelled(images.numpy(), np.arange(20) % 4)
    explanation_module = sys.modules["neurokit.explain.explanation"]  # nk.explain is the function
    monkeypatch.setattr(explanation_module, "as_captured", lambda *_: pytest.fail("it was captured"))
    with pytest.raises(InputError, match="umap"):
        explain("mobilenet_v2", data, embedding="umap")
    with pytest.raises(InputError, match="-1 pictures"):
        explain("mobilenet_v2", data, pictures=-1)
    monkeypatch.setattr(explanation_module, "find_spec", lambda name: None)
    with pytest.raises(MissingRuntimeError, match="captum"):
        explain("mobilenet_v2", data)


def test_labels_and_shapes_that_do_not_fit(plain, images):
    with pytest.raises(InputError, match="labels from 0 to 9"):
        explain(plain[1], Labelled(images.numpy(), np.arange(20) % 10))
    with pytest.raises(InputError, match="has shape"):
        explain(plain[1], Labelled(images.numpy()[..., :5], np.arange(20) % 4))

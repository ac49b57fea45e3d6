"""The preprocessing that is part of every puppet network, against numpy and scipy."""

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.ndimage import grey_dilation

from neurokit.data.files import read_samples
from neurokit.data.images import image_sample
from neurokit.models.common.silhouette import Silhouette
from neurokit.models.puppets import puppets_mobilenet_v2, puppets_mobilenet_v2_035
from neurokit.spec import TensorSpec


def pictures(size, seed=0):
    return np.random.default_rng(seed).integers(60, 120, (2, 1, size, size), dtype=np.uint8)


@pytest.mark.parametrize(("mean", "std"), [((1.0,), (-1.0,)), ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))])
def test_threshold_dilation_and_normalisation_are_the_published_ones(mean, std):
    image = pictures(32)
    bright = (image > 90).astype(np.float64)
    wall = np.stack([grey_dilation(one[0], size=(3, 3), mode="constant") for one in bright])[:, None]
    expected = (wall - np.reshape(mean, (1, -1, 1, 1))) / np.reshape(std, (1, -1, 1, 1))
    found = Silhouette(32, mean, std)(torch.from_numpy(image)).numpy()
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)


def test_the_small_network_sees_zeros_and_ones_and_one_is_shadow():
    front = puppets_mobilenet_v2_035().build().front
    assert set(front(torch.full((1, 1, 64, 64), 10, dtype=torch.uint8)).flatten().tolist()) == {1.0}
    assert set(front(torch.full((1, 1, 64, 64), 91, dtype=torch.uint8)).flatten().tolist()) == {0.0}
    assert set(front(torch.full((1, 1, 64, 64), 90, dtype=torch.uint8)).flatten().tolist()) == {1.0}


def test_pictures_of_another_size_are_resized_in_the_graph_without_skipping_pixels():
    front = Silhouette(16, (0.0,), (1.0,))
    image = torch.from_numpy(pictures(32).astype(np.float32))
    blocks = image.numpy().reshape(2, 1, 16, 2, 16, 2).mean((3, 5))
    np.testing.assert_allclose(front.resized(image).numpy(), blocks, rtol=1e-6)
    assert front(torch.zeros(1, 1, 240, 320)).shape == (1, 1, 16, 16)
    # 48 to 16 by blocks of 3; 40 to 16 by blocks of 2 and then a line between neighbours.
    ramp = torch.arange(40.0).repeat(40, 1)[None, None]
    np.testing.assert_allclose(front.resized(ramp)[0, 0, 0, 1:-1], (np.arange(16) * 2.5 + 0.75)[1:-1], atol=0.51)


def test_bytes_reach_the_input_as_they_are(tmp_path):
    """A brightness of 90 is shadow and 91 is wall, so a byte must not become its neighbour on the way."""
    every = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(every).save(tmp_path / "every.png")
    port = TensorSpec("image", (1, 16, 16), "uint8", high=255)
    assert np.array_equal(image_sample(tmp_path / "every.png", port, {})[0], every)
    spec = puppets_mobilenet_v2()
    spec = type(spec)(spec.name, spec.build, (port,), classes=spec.classes)
    assert np.array_equal(read_samples(tmp_path / "every.png", spec, None)[0][0, 0].numpy(), every)

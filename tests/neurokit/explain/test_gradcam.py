"""Grad-CAM against autograd on the user's own module, and against class activation maps in closed form."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional

from neurokit.errors import UnsupportedError
from neurokit.explain.gradcam import grad_cam
from neurokit.explain.maps import tapped
from neurokit.spec import ModelSpec, TensorSpec


def test_it_is_the_class_activation_map(plain, images):
    """Zhou et al. 2016: the classifier's weights times the last feature map; here 1/(h w) of it."""
    module, captured = plain
    network = tapped(captured)
    classes = torch.arange(len(images)) % 4
    cam = grad_cam(network, images, classes)
    maps = module.features(images).detach().double()
    weights = module.head.weight.detach().double()[classes]
    expected = torch.einsum("bc,bchw->bhw", weights, maps) / maps[0, 0].numel()
    np.testing.assert_allclose(cam.over_time[:, 0], expected.numpy(), atol=1e-7)
    np.testing.assert_allclose(cam.total, expected.clamp(min=0).numpy(), atol=1e-7)
    assert expected.min() < 0 < expected.max()


def test_over_time_it_is_autograd_through_spikingjelly(spiking, images):
    """Through neurons behind the map, with SpikingJelly's own surrogate gradients and membranes."""
    module, captured = spiking
    x = images.expand(3, *images.shape) * torch.tensor([0.5, 1.0, 2.0]).reshape(-1, 1, 1, 1, 1)
    classes = torch.arange(len(images)) % 4
    cam = grad_cam(tapped(captured), x.contiguous(), classes)
    functional.reset_net(module)
    maps = module.features(x).detach().requires_grad_()
    score = module.rest(maps).mean(0).gather(1, classes[:, None]).sum()
    (gradient,) = torch.autograd.grad(score, maps)
    functional.reset_net(module)
    expected = (gradient.double().mean((3, 4), keepdim=True) * maps.detach()).sum(2)  # [T, B, h, w]
    assert expected.abs().amax((1, 2, 3)).min() > 1e-4  # every step has a say
    np.testing.assert_allclose(cam.over_time, expected.transpose(0, 1).numpy(), atol=1e-7)
    np.testing.assert_allclose(cam.total, expected.sum(0).clamp(min=0).numpy(), atol=1e-7)


def test_a_tap_changes_no_score(spiking, images):
    module, captured = spiking
    x = images.expand(3, *images.shape).contiguous()
    with torch.no_grad():
        found = tapped(captured).scores(x)
        functional.reset_net(module)
        expected = module(x).mean(0)
        functional.reset_net(module)
    np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)


def test_the_map_that_is_shown_has_places():
    """Of a last map of 2 x 2 no picture can be made; the last of at least 4 x 4 is shown."""
    from torch import nn

    from neurokit import pipeline

    net = nn.Sequential(nn.Conv2d(1, 2, 3, 2, 1), nn.ReLU(), nn.Conv2d(2, 3, 3, 4, 1), nn.Flatten(), nn.Linear(12, 2))
    network = tapped(pipeline.capture(net.eval(), torch.rand(2, 1, 16, 16)))
    assert (network.channels, network.last_channels) == (2, 3)


def test_a_network_without_feature_maps_is_refused():
    from torch import nn

    from neurokit import pipeline

    spec = ModelSpec("flat", lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 3)), (TensorSpec("x", (1, 4, 4)),))
    captured = pipeline.capture(spec)
    with pytest.raises(UnsupportedError, match="flat has no feature map"):
        tapped(captured)

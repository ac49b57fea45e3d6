"""Segmentation models of the edge zoo: the public code's figures, and the properties that their papers state."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from neurokit.models.att_swin_unet.net import AttSwinUNet, SwinSizes
from neurokit.models.att_swin_unet.windows import SwinBlock, rolled
from neurokit.models.common.pvt import B2, TINY
from neurokit.models.dae_former.net import DAEFormer, DualBlock, EfficientAttention, efficient
from neurokit.models.dsa_decoder.net import AxisGuidance, DSADecoder, FourierBranch, Haar
from neurokit.models.ear_unet.net import AttentionGate
from neurokit.models.macmd.net import MACMD
from neurokit.models.macmd.parts import DILATIONS, DilatedConv, shifted
from neurokit.spec import MODELS
from tests.neurokit.models.zoo_oracles import assert_equal, count, fill, named, oracle, state_of

SWIN = SwinSizes(side=64, width=16, depths=(2, 2), heads=(2, 4), window=4, cross_width=64)


def uniform(*shape: int) -> Tensor:
    return torch.from_numpy(np.random.RandomState(7).uniform(0, 1, shape))


def assert_public(module: nn.Module, name: str) -> dict:
    """Fills a module, holds its names, shapes and count against the public ones', and returns the figures."""
    expected = oracle(name)
    assert state_of(fill(module.double())) == named(expected["state"])
    assert count(module) == expected["parameters"]
    return expected


@torch.no_grad()
def test_macmd_is_the_public_network_with_its_blocks_made_once() -> None:
    module = MACMD()
    expected = assert_public(module, "macmd_b0")
    assert_equal(module(uniform(1, 1, 224, 224)).sigmoid(), expected["output"])
    assert count(module) == 5_887_680 + 4_320  # as released, and the blocks of every call
    with torch.device("meta"):
        assert count(MACMD(B2)) == 34_617_576


@pytest.mark.slow
@torch.no_grad()
def test_macmd_takes_colour_as_the_public_network() -> None:
    module = fill(MACMD().double())
    assert_equal(module(uniform(1, 3, 224, 224)).sigmoid(), oracle("macmd_b0")["colour"])


@torch.no_grad()
def test_macmd_gives_the_same_bits_in_every_call() -> None:
    module, image = MACMD(TINY, last=16).eval(), torch.rand(2, 1, 64, 64)
    assert torch.equal(module(image), module(image))


@torch.no_grad()
def test_dilated_convolution_is_four_explicit_ones() -> None:
    module, x = DilatedConv(8).double(), torch.randn(2, 8, 9, 11).double()
    each = [
        F.conv2d(x, conv.weight, conv.bias, padding=d, dilation=d, groups=4)
        for conv, d in zip(module.children(), DILATIONS, strict=True)
    ]
    y = module(x)
    for quarter in range(4):
        expected = sum(each[d][:, 2 * ((quarter + d) % 4) :][:, :2] for d in range(4))
        torch.testing.assert_close(y[:, 2 * quarter : 2 * quarter + 2], expected, rtol=0, atol=1e-14)


def test_shift_moves_each_quarter_by_one_pixel() -> None:
    x = torch.zeros(1, 4, 5, 5)
    x[:, :, 2, 2] = 1
    places = [tuple(int(i) for i in channel.nonzero()[0]) for channel in shifted(x)[0]]
    assert places == [(2, 3), (2, 1), (3, 2), (1, 2)]
    assert shifted(torch.ones(1, 4, 3, 3)).sum() == 4 * 6  # what leaves the image is lost


@torch.no_grad()
def test_dual_block_is_the_public_one() -> None:
    module = nn.ModuleDict({"block": DualBlock(320)})
    expected = assert_public(module, "dae_former_block")
    y = module["block"](uniform(2, 196, 320).unflatten(1, (14, 14))).flatten(1, 2)
    assert_equal(y, expected["output"])


@pytest.mark.slow
@torch.no_grad()
def test_dae_former_is_the_public_network() -> None:
    module = DAEFormer()
    expected = assert_public(module, "dae_former")
    assert_equal(module(uniform(1, 3, 224, 224)), expected["output"])


@torch.no_grad()
def test_efficient_attention_is_its_explicit_product() -> None:
    q, k, v = torch.randn(3, 2, 6, 20).double()
    weights = q.softmax(1).transpose(1, 2) @ k.softmax(2)  # [B, N, N]
    expected = (weights @ v.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(efficient(q, k, v), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(weights.sum(2), torch.ones(2, 20).double())


class Largest(TorchDispatchMode):
    """Notes the largest tensor that any operator gives."""

    size = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):  # type: ignore[no-untyped-def]
        y = func(*args, **(kwargs or {}))
        self.size = max(self.size, y.numel() if isinstance(y, Tensor) else 0)
        return y


@pytest.mark.slow
def test_efficient_attention_grows_with_the_tokens_and_not_with_their_square() -> None:
    sizes = []
    for side in (16, 32):
        with torch.device("meta"), Largest() as largest:
            EfficientAttention(16)(torch.empty(1, side, side, 16))
        sizes.append(largest.size)
    assert sizes[1] == 4 * sizes[0]


@pytest.mark.slow
def test_trans_dae_takes_grey_images_of_224_px() -> None:
    with torch.device("meta"):
        module = DAEFormer(channels=1, interacting=True)
        assert module(torch.empty(1, 1, 224, 224)).shape == (1, 9, 224, 224)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "crossing", "spatial"),
    [("att_swin_unet", True, True), ("att_swin_unet_joined", False, True), ("att_swin_unet_plain", False, False)],
)
@torch.no_grad()
def test_att_swin_unet_is_the_public_network_with_its_maps_added(name: str, crossing: bool, spatial: bool) -> None:
    module, expected = fill(AttSwinUNet(crossing=crossing, spatial=spatial).double()), oracle(name)
    if crossing:
        assert state_of(module) == named(expected["state"])
    assert count(module) == expected["parameters"] == (32_689_956 if crossing else 27_176_868)
    assert_equal(module(uniform(1, 3, 224, 224)), expected["output"])


@torch.no_grad()
def test_the_encoders_maps_change_what_the_decoder_gives() -> None:
    module, image = AttSwinUNet(SWIN).eval(), torch.rand(1, 3, 64, 64)
    y = module(image)
    module.spatial = False
    assert (module(image) - y).abs().max() > 1e-3


@torch.no_grad()
def test_no_place_of_a_shifted_window_attends_beyond_its_neighbourhood() -> None:
    side, window, shift = 12, 4, 2
    block = SwinBlock(8, 2, side, window, shifted=True)
    _, weights = block(torch.randn(1, side, side, 8))
    place = torch.arange(side * side).view(1, side, side, 1)
    moved = torch.roll(place, (-shift, -shift), (1, 2))
    assert torch.equal(rolled(place, -shift), moved)
    inside = moved.view(3, window, 3, window).transpose(1, 2).reshape(9, window * window)  # where places come from
    row, column = inside // side, inside % side
    # Places that were a window or more apart come together only by the roll.
    apart = ((row[:, :, None] - row[:, None]).abs() >= window) | (
        (column[:, :, None] - column[:, None]).abs() >= window
    )
    assert apart.any()
    assert (weights[apart[:, None].expand_as(weights)] < 1e-30).all()
    assert (weights[~apart[:, None].expand_as(weights)] > 1e-6).all()


@pytest.mark.slow
@torch.no_grad()
def test_efficientnet_encoder_is_timms() -> None:
    timm = pytest.importorskip("timm")
    module = timm.create_model("efficientnet_b4", features_only=True, pretrained=False)
    expected = assert_public(module, "efficientnet_b4")
    assert count(module) == 16_742_216
    for y, figures in zip(module(uniform(1, 3, 224, 224)), expected["maps"].values(), strict=False):
        assert_equal(y, figures)


@pytest.mark.slow
@torch.no_grad()
def test_attention_gates_weigh() -> None:
    pytest.importorskip("timm")
    module = MODELS.get("ear_unet")().in_small().build()
    scores, *gates = module(torch.rand(2, 3, 64, 64))
    assert scores.shape == (2, 1, 64, 64)
    assert [gate.shape[2] for gate in gates] == [4, 8, 16, 32]
    assert all(((gate > 0) & (gate < 1)).all() for gate in gates)


@torch.no_grad()
def test_a_closed_gate_lets_nothing_through() -> None:
    gate = AttentionGate(6, 10).eval()
    gate.psi[1].bias.fill_(-20.0)  # behind the normalisation of psi
    kept, _ = gate(torch.rand(1, 6, 8, 8), torch.rand(1, 10, 8, 8))
    assert kept.abs().max() < 1e-7


@pytest.mark.parametrize("sides", [(8, 8), (6, 10), (7, 9)])
@torch.no_grad()
def test_products_with_constants_are_the_fourier_transform(sides: tuple[int, int]) -> None:
    branch, x = FourierBranch(3, sides), torch.randn(2, 3, *sides)
    theirs = torch.fft.rfft2(x.double(), norm="ortho")
    real, imaginary = branch.spectrum(x)
    assert (torch.complex(real, imaginary) - theirs).abs().max() < 1e-5
    torch.testing.assert_close(branch(x), x, rtol=0, atol=1e-5)  # unit weights
    branch.weight.normal_()
    filtered = torch.fft.irfft2(theirs * torch.complex(*branch.weight.double()), s=sides, norm="ortho")
    assert (branch(x) - filtered).abs().max() < 1e-4


def test_inverse_haar_gives_the_image_back() -> None:
    haar, x = Haar(3), torch.randn(2, 3, 8, 6)
    torch.testing.assert_close(haar.inverse(haar(x)), x, rtol=0, atol=1e-6)
    assert haar(x)[:, ::4].allclose(2 * F.avg_pool2d(x, 2), atol=1e-6)  # the first band is the means


def test_dsa_decoder_takes_224_px() -> None:
    with torch.device("meta"):
        assert DSADecoder()(torch.empty(1, 3, 224, 224)).shape == (1, 9, 224, 224)


def test_horizontal_guidance_learns_horizontal_bars() -> None:
    torch.manual_seed(0)
    block = AxisGuidance(16)
    bars = torch.zeros(2, 16, 8, 8)
    bars[0, :, 2], bars[1, :, :, 2] = 1, 1  # a horizontal one and its transpose
    optimiser = torch.optim.Adam(block.parameters(), lr=0.03)
    for _ in range(60):
        given = bars[:, 4:8] * block.guidances((8, 8))[1]
        response = given.relu().sum((1, 2, 3))
        loss = F.softplus(response[1] - response[0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert response[0] > 2 * response[1]


def test_small_sizes_are_parts_of_the_models() -> None:
    assert replace(TINY, widths=B2.widths, depths=B2.depths, heads=B2.heads, ratios=B2.ratios) == B2

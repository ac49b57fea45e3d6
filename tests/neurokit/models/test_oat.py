"""OAT against the public code's figures, and its two graphs against one pass."""

from __future__ import annotations

import zlib

import numpy as np
import pytest
import torch
from torch import Tensor

from neurokit.models.oat.net import OAT, Shelf, place_table
from tests.neurokit.models.zoo_oracles import count, fill, oracle, state_of

BEGIN, END, PADDING = 24, 22, 23
SMALL = Shelf(rows=2, columns=3, image=(34, 34), width=64, heads=2, inner=64, layers=2)


@pytest.mark.slow
@torch.no_grad()
def test_it_is_the_public_network() -> None:
    expected, module = oracle("oat"), OAT().double()
    rows = np.random.RandomState(zlib.crc32(b"learned_PE")).standard_normal((11, 86))
    fill(module)
    module.places = torch.cat([torch.from_numpy(rows), torch.zeros(4, 86).double()])
    stored = {name: size for name, size in expected["state"].items() if not name.endswith("pos_embedding")}
    assert state_of(module) == stored
    assert count(module) == expected["parameters"] == 18_269_179
    images = torch.from_numpy(np.random.RandomState(7).uniform(0, 1, (2, 22, 150, 93, 3)))
    for case in expected["cases"].values():
        batch, longest = len(case["target"]), max(map(len, case["paths"]))
        paths = [[BEGIN, *path, *([END, *[PADDING] * longest][: longest - len(path)])] for path in case["paths"]]
        y = module(images[:batch], torch.tensor(case["target"]), torch.tensor(paths)).transpose(0, 1)
        chosen = np.random.RandomState(0).choice(y.numel(), case["scores"]["n_samples"], replace=False)
        # A row that is padding is never asked for; the public code masks it as a key.
        row, item = np.unravel_index(chosen, y.shape)[:2]
        counted = np.array([paths[b][r] != PADDING for r, b in zip(row, item, strict=True)])
        assert counted.sum() > 150
        wanted = np.array(case["scores"]["samples"])
        np.testing.assert_allclose(y.numpy().ravel()[chosen][counted], wanted[counted], rtol=0, atol=3e-8)
    assert searched(module, images[:1], 9, 8) == expected["greedy"]


def searched(module: OAT, images: Tensor, target: int, steps: int) -> list[int]:
    """The public greedy search: the first fixation may not be the end."""
    memory, fixations = module.encode(images, torch.tensor([target]))
    shelf, path = module.shelf, []
    keys = values = memory.new_zeros(1, shelf.layers * shelf.heads, 0, shelf.width // shelf.heads)
    token = torch.tensor([[shelf.objects + 2]])
    for at in range(steps):
        scores, keys, values = module.step(token, memory, fixations, keys, values)
        token = scores[:, -1, : shelf.objects + (1 if at else 0)].argmax(1, keepdim=True)
        path.append(int(token))
    return path


def small() -> OAT:
    torch.manual_seed(0)
    return OAT(SMALL).double().eval()


@torch.no_grad()
def test_steps_with_a_cache_give_the_whole_pass() -> None:
    module, images, target = small(), torch.rand(2, 6, 34, 34, 3).double(), torch.tensor([1, 4])
    path = torch.tensor([[8, 2, 0, 1, 6], [8, 5, 5, 3, 4]])
    whole = module(images, target, path)
    memory, fixations = module.encode(images, target)
    keys = values = memory.new_zeros(2, 4, 0, 32)
    for part in (slice(0, 2), slice(2, 3), slice(3, 5)):
        y, keys, values = module.step(path[:, part], memory, fixations, keys, values)
        torch.testing.assert_close(y, whole[:, part], rtol=0, atol=1e-12)


@torch.no_grad()
def test_later_fixations_change_nothing_before_them() -> None:
    module, images, target = small(), torch.rand(1, 6, 34, 34, 3).double(), torch.tensor([2])
    one, other = (module(images, target, torch.tensor([[8, 1, last]])) for last in (0, 5))
    assert torch.equal(one[:, :2], other[:, :2])
    assert (one[:, 2] - other[:, 2]).abs().max() > 1e-6


@torch.no_grad()
def test_moved_objects_move_their_scores() -> None:
    module, images = small(), torch.rand(1, 6, 34, 34, 3).double()
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    path = torch.tensor([[8, 2, 4]])
    y = module(images, torch.tensor([5]), path)
    places = module.grid.clone()
    module.grid = torch.cat([places[order], places[6:]])
    new = {int(old): index for index, old in enumerate(order)}
    moved = torch.tensor([[8, new[2], new[4]]])
    z = module(images[:, order], torch.tensor([new[5]]), moved)
    torch.testing.assert_close(z[..., :6], y[..., order], rtol=0, atol=1e-12)
    torch.testing.assert_close(z[..., 6:], y[..., 6:], rtol=0, atol=1e-12)
    assert torch.allclose(y[..., -1], module.readout.bias.expand_as(y[..., -1]))  # the constant column


def test_places_are_alike_as_a_bell_says() -> None:
    rows = place_table(11, 86).double()
    assert rows.shape == (15, 86)
    assert not rows[11:].any()
    cosines = torch.nn.functional.cosine_similarity(rows[:11, None], rows[None, :11], dim=2)
    distance = torch.arange(11.0)[:, None] - torch.arange(11.0)
    torch.testing.assert_close(cosines, torch.exp(-(distance**2) / 8).double(), rtol=0, atol=1e-5)

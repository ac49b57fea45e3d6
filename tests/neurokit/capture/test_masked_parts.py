"""What a mask picks and what is written under it, kept whole: against the same lines run by torch alone."""

import pytest
import torch

from neurokit.capture.masked_parts import MaskedParts, Part


def subtract(v):
    v[v > 0.5] -= 1.0


def other_side(v):
    mask = v > 0.5
    v[~mask] = torch.tanh(v[~mask])
    v[mask] = -torch.ones_like(v[mask])


def changed_before_it_is_written(v):
    mask = v > 0.5
    picked = v[mask] * 2
    v.add_(3.0)
    v[mask] = picked


def changed_by_a_view(v):
    mask = v > 0.5
    picked = v[mask]
    v[:, :2].mul_(0.0)
    v[mask] = picked + 1


def from_another(v):
    mask, other = v > 0.5, torch.arange(12.0).reshape(3, 4)
    v[mask] = other[mask] - v[mask] / 2


def rows(v):
    some = (v > 0.8).any(1)
    v[some] = v[some] * 0.5


def one_after_another(v):
    v[v > 0.5] = 0.2
    v[v > 0.1] = v[v > 0.1] - 0.3


def as_many(v):
    mask = v > 0.5
    v[mask] = v[mask] / v[mask].numel() + v[mask].mean()


def compared(v):
    mask = v > 0.5
    v[0, 0] = (v[mask] > 0.7).sum()


def mask_of_then(v):
    mask = v > 0.5
    picked = v[mask] * 3
    then = mask.clone()
    mask |= v < 0.2
    v[then] = picked


def a_row_of_settings(v):
    mask = v > 0.5
    v[mask] = v[mask] - torch.arange(4.0).expand(3, 4)[mask]


WRITES = (
    subtract, other_side, changed_before_it_is_written, changed_by_a_view, from_another, rows, one_after_another,
    as_many, compared, mask_of_then, a_row_of_settings,
)  # fmt: skip


@pytest.mark.parametrize("write", WRITES)
def test_the_same_comes_out(write):
    given = torch.rand(3, 4, generator=torch.Generator().manual_seed(5))
    alone, kept = given.clone(), given.clone()
    write(alone)
    with MaskedParts():
        write(kept)
    assert not torch.equal(alone, given)
    assert torch.equal(alone, kept)


def test_a_mask_that_was_changed_since_does_not_hold_where_it_held():
    with MaskedParts():
        v = torch.tensor([0.2, 0.9])
        mask = v > 0.5
        part = v[mask]
        assert isinstance(part, Part)
        assert part.belongs(v, v > 0.5)
        assert not part.belongs(v, v > 0.4)
        mask.fill_(True)
        assert not part.belongs(v, mask)
        assert not part.belongs(v, v > 0.5)


def test_a_comparison_of_what_has_changed_is_another():
    with MaskedParts():
        v = torch.tensor([0.2, 0.9])
        part = v[v > 0.5]
        assert part.belongs(v, v > 0.5)
        v.add_(1.0)
        assert not part.belongs(v, v > 0.5)

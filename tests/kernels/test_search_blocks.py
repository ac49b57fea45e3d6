"""HiP's set by `search_blocks` is the pattern's own, on random keys and the released numbers; what does not fit."""

from __future__ import annotations

import pytest
import torch

from neurokit.attention import Call
from neurokit.attention.patterns.hip import HiP
from neurokit.errors import InputError
from neurokit.kernels import search_blocks
from neurokit.kernels.attention_path import select


@pytest.mark.parametrize(("new", "length"), [(20, 75), (1, 100)])
def test_the_set_is_the_patterns(new, length):
    generator = torch.Generator().manual_seed(length)
    q, k = (torch.randn(1, heads, size, 16, generator=generator) for heads, size in ((2, new), (1, length)))
    pattern = HiP(16, 16, 4, 16)
    own, theirs = search_blocks(q, k, pattern), pattern.select(Call(q, k, k))
    assert torch.equal(own.to_dense(), theirs.to_dense())
    assert torch.equal(own.num + own.full_num, theirs.num + theirs.full_num)
    assert new == 1 or torch.equal(own.full_num, theirs.full_num)
    own.validate()


@pytest.mark.parametrize(
    ("settings", "said"),
    [((512, 64, 2, 64), "count=512"), ((6, 24, 2, 4), "block_q=24"), ((6, 8, 3, 4), "block_k=3")],
)
def test_settings_that_do_not_fit_are_refused(settings, said):
    with pytest.raises(InputError, match=said):
        search_blocks(torch.zeros(1, 2, 32, 8), torch.zeros(1, 1, 32, 8), HiP(*settings))


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="S at most T"):
        search_blocks(torch.zeros(1, 2, 32, 8), torch.zeros(1, 1, 31, 8), HiP(4, 8, 2, 4))


def test_a_call_of_the_pattern_takes_the_kernel(monkeypatch):
    taken = []
    monkeypatch.setattr(select, "use_triton", lambda *_: True)
    monkeypatch.setattr(select, "search_blocks", lambda *given: taken.append(given))
    q = torch.zeros(1, 2, 32, 8)
    for pattern in (HiP(8, 8, 2, 4), HiP(512, 8, 2, 4)):  # the second keeps too many blocks
        select.selected(pattern, Call(q, q, q))
    assert [given[2] for given in taken] == [HiP(8, 8, 2, 4)]

"""SSA's set by `select_blocks` is the pattern's own, whole and in chunks; what does not fit is refused."""

from __future__ import annotations

import pytest
import torch

from neurokit.attention import Call, pattern
from neurokit.errors import InputError
from neurokit.kernels import select_blocks
from neurokit.kernels.attention_path.select import by_mean_key


@pytest.mark.parametrize(("new", "length", "count"), [(21, 21, 3), (5, 23, 4), (1, 40, 2)])
def test_the_set_is_the_patterns(new, length, count):
    generator = torch.Generator().manual_seed(length)
    q, k = (torch.randn(2, heads, size, 16, generator=generator) for heads, size in ((4, new), (2, length)))
    own = by_mean_key(q, k, 4, count)
    theirs = pattern("ssa", block=4, count=count).select(Call(q, k, k))
    assert torch.equal(own.to_dense(), theirs.to_dense())


def test_the_set_is_that_of_brute_force():
    q, k = torch.randn(2, 1, 1, 24, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(3)).unbind()
    seen = by_mean_key(q.float(), k.float(), 4, 3).to_dense()[0, 0]
    for t in range(24):
        scores = [float(q[0, 0, t] @ k[0, 0, 4 * b : 4 * b + 4].mean(0)) for b in range(t // 4)]
        best = sorted(range(t // 4), key=lambda b: -scores[b])[:2]
        assert {int(key) // 4 for key in seen[t].nonzero()} == {*best, t // 4}


@pytest.mark.parametrize(
    ("change", "said"),
    [({"count": 0}, "count=0"), ({"block": 2}, "8 blocks of 2 keys for 32 places"), ({"offset": -1}, "offset=-1")],
)
def test_what_does_not_fit_is_refused(change, said):
    with pytest.raises(InputError, match=said):
        select_blocks(torch.zeros(1, 2, 32, 8), torch.zeros(1, 1, 8, 8), **{"block": 4, "count": 2, **change})

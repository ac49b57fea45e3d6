"""Work is counted, not timed: the same count on any machine, and of products what their sizes say."""

import time

import torch
from torch import nn

from neurokit.capture import asking
from neurokit.capture.work import _CALL, _NUMBER, work_of

from .test_fidelity import Temperature, spec


def test_products_count_by_their_sizes():
    a, b = torch.ones(7, 5), torch.ones(5, 3)
    assert work_of(lambda: a @ b) == 2 * 7 * 5 * 3 + _CALL + _NUMBER * 7 * 3
    conv = nn.Conv2d(2, 4, 3, bias=False)
    with torch.no_grad():
        counted = work_of(lambda: conv(torch.ones(1, 2, 6, 6)))
    assert counted >= 2 * 4 * 4 * 4 * 2 * 9  # 4 channels of 4 x 4 places, each of 2 x 3 x 3 products


def test_what_is_compared_in_float64_does_not_depend_on_how_long_it_takes(monkeypatch):
    """A clock that runs a thousand times as fast, as it would seem to on a machine that does much beside."""
    import neurokit as nk

    real = time.perf_counter
    monkeypatch.setattr(time, "perf_counter", lambda: 1000 * real())
    made = nk.capture(spec(Temperature)).fidelity
    assert {one.precision for one in made.comparisons} == {"float64"}
    assert not made.not_compared
    assert asking._QUICK > 1e9

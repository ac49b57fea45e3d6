"""Neurons that keep spikes alone: the same bits as the operations that neurokit registers."""

from __future__ import annotations

import pytest
import torch

import neurokit.neurons.ops  # noqa: F401  registers the operations
from neurokit.hw_sim.trace.lean import lean

TAIL = ("sigmoid", 4.0, False)
OPS = torch.ops.neurokit


@pytest.mark.parametrize("v_reset", [None, 0.0, -0.25])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16])
def test_spikes_and_last_membrane_are_the_operations_own(v_reset, dtype):
    torch.manual_seed(0)
    x, v0 = torch.randn(7, 3, 40).to(dtype), torch.randn(3, 40)
    calls = [
        (OPS.if_.default, (x, v0, 0.7, v_reset, *TAIL)),
        (OPS.lif.default, (x, v0, 3.0, 0.7, v_reset, True, *TAIL)),
        (OPS.lif.default, (x, v0, 3.0, 0.7, v_reset, False, *TAIL)),
        (OPS.plif.default, (x, v0, torch.tensor(0.3), 0.7, v_reset, True, *TAIL)),
    ]
    kept = x.clone(), v0.clone()
    for op, arguments in calls:
        short = lean(op)
        assert short is not op
        for mine, theirs in zip(short(*arguments), op(*arguments), strict=True):
            assert mine.dtype == theirs.dtype
            assert torch.equal(mine, theirs)
    assert torch.equal(x, kept[0])
    assert torch.equal(v0, kept[1])


def test_any_other_operation_is_itself():
    assert lean(torch.ops.aten.add.Tensor) is torch.ops.aten.add.Tensor

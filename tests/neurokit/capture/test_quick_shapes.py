"""Short ways through torch's shapes give the program and the sizes that torch's own ways give."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch._subclasses import fake_impls, fake_tensor
from torch.export import Dim

from neurokit.capture.quick_shapes import quick_shapes


class Views(nn.Module):
    """Views of what lies contiguously, and of what does not."""

    def __init__(self) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(4)
        self.bare = nn.BatchNorm1d(4, affine=False)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        y = self.norm(x)
        turned = self.norm(x.transpose(2, 3))
        spread = self.norm(x.contiguous(memory_format=torch.channels_last))
        flat = y.flatten(0, 1)
        return (
            flat.unflatten(0, (-1, 4)),
            flat.view(2, -1, 6),
            turned.flatten(1),
            turned.reshape(-1, 4, 3, 10).sum(0),
            spread.permute(0, 2, 3, 1).flatten(1),
            self.bare(y.flatten(2)),
            y.mean().view(1, 1),
            y[:, :1].view(-1, 5, 6),
        )


def traced(within):
    torch.manual_seed(0)
    with within(), torch.no_grad():
        shapes = ({0: Dim("B", min=2, max=64)},)
        return torch.export.export(Views().eval(), (torch.ones(3, 4, 5, 6),), dynamic_shapes=shapes, strict=False)


def noted(program):
    found = []
    for node in program.graph.nodes:
        value = node.meta.get("val")
        if isinstance(value, Tensor):
            found.append((node.name, str(value.shape), str(value.stride()), value.dtype, str(value.storage_offset())))
    return found


def test_a_trace_by_short_ways_is_the_same_program_with_the_same_sizes():
    whole, quick = traced(nullcontext), traced(quick_shapes)
    assert whole.graph_module.code == quick.graph_module.code
    assert noted(whole) == noted(quick)
    x = torch.rand(7, 4, 5, 6)
    for a, b in zip(whole.module()(x), quick.module()(x), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize("sizes", [(-1, 7), (2, -1, 7), (4, 4, 5, 6)])
def test_a_view_that_does_not_fit_is_still_refused(sizes):
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.view(sizes)

    with quick_shapes(), pytest.raises(Exception, match=r"invalid for input|Could not reshape|not valid for all"):
        torch.export.export(
            Wrong(), (torch.ones(3, 4, 5, 6),), dynamic_shapes=({0: Dim("B", min=2, max=64)},), strict=False
        )


def test_batch_normalisation_of_other_channels_is_still_refused():
    class Wrong(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return torch.nn.functional.batch_norm(x, torch.zeros(3), torch.ones(3))

    with quick_shapes(), pytest.raises(Exception, match=r"running_mean|must match|size"):
        torch.export.export(
            Wrong(), (torch.ones(3, 4, 5, 6),), dynamic_shapes=({0: Dim("B", min=2, max=64)},), strict=False
        )


@quick_shapes()
def _failing(table):
    assert fake_impls.get_fast_op_impls() != table
    raise ValueError("it failed")


def test_torch_goes_its_own_ways_again_behind_a_trace():
    table, ask = dict(fake_impls.get_fast_op_impls()), fake_tensor.suggest_memory_format
    with pytest.raises(ValueError, match="it failed"):
        _failing(table)
    assert fake_impls.get_fast_op_impls() == table
    assert fake_tensor.suggest_memory_format is ask

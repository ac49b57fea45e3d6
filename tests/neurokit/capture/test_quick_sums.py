"""Sums of free sizes that are computed once give the program, the sizes and the refusals of torch's own."""

from __future__ import annotations

from contextlib import nullcontext

import pytest
import torch
from torch import Tensor, nn
from torch.export import Dim
from torch.fx.experimental.sym_node import SymNode

from neurokit.capture.quick_sums import quick_sums


class Sized(nn.Module):
    """Operations whose sizes are sums and products of free ones."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 6, 3, padding=1)

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, ...]:
        both = torch.cat((x, y), 0)
        h = self.conv(both)
        if both.shape[0] > 3:  # a guard: what is known of the sizes changes in the middle
            h = h + 1.0
        flat = h.flatten(0, 1).unflatten(0, (-1, 2))
        return flat, h[1:].mean((2, 3)), torch.stack((h, h * 2)).transpose(0, 1).reshape(-1, 6)


def exported(within, module=None, other=5, names=("A", "B")):
    torch.manual_seed(0)
    module = (module or Sized()).eval()
    given = (torch.ones(3, 4, 5, 6), torch.ones(other, 4, 5, 6))
    shapes = tuple({0: Dim(name, min=2, max=64)} for name in names)
    with within(), torch.no_grad():
        return torch.export.export(module, given, dynamic_shapes=shapes, strict=False)


def noted(program):
    values = [(node.name, node.meta.get("val")) for node in program.graph.nodes]
    return [
        (name, str(v.shape), str(v.stride()), str(v.storage_offset())) for name, v in values if isinstance(v, Tensor)
    ]


def test_the_program_and_its_sizes_are_those_of_a_trace_without():
    whole, quick = exported(nullcontext), exported(quick_sums)
    assert whole.graph_module.code == quick.graph_module.code
    assert noted(whole) == noted(quick)
    assert str(whole.range_constraints) == str(quick.range_constraints)
    given = (torch.rand(7, 4, 5, 6), torch.rand(2, 4, 5, 6))
    for a, b in zip(whole.module()(*given), quick.module()(*given), strict=True):
        assert torch.equal(a, b)


def test_each_sum_is_computed_once(monkeypatch):
    counts = []
    for within in (nullcontext, quick_sums):
        asked, own = [], SymNode.mul
        monkeypatch.setattr(SymNode, "mul", lambda a, b, own=own, asked=asked: asked.append(1) or own(a, b))
        exported(within)
        monkeypatch.undo()
        counts.append(len(asked))
    assert counts[1] < counts[0] / 2


def test_torch_is_left_as_it_was():
    before = {name: vars(SymNode)[name] for name in ("add", "mul", "eq", "lt")}
    with quick_sums():
        assert vars(SymNode)["mul"] is not before["mul"]
    assert {name: vars(SymNode)[name] for name in before} == before


def test_sizes_that_turn_out_equal_are_known_to_be_from_there_on():
    class Equal(nn.Module):
        def forward(self, x: Tensor, y: Tensor) -> Tensor:
            apart = x.sum((1, 2, 3)).sum() * (x.shape[0] * 2) + y.shape[0]  # asked before they are known to be equal
            return (x + y) * apart + (x.shape[0] * 2 == y.shape[0] * 2)

    whole, quick = (exported(within, Equal(), 3, ("A", "A")) for within in (nullcontext, quick_sums))
    assert whole.graph_module.code == quick.graph_module.code
    assert noted(whole) == noted(quick)
    for within in (nullcontext, quick_sums):
        with pytest.raises(Exception, match=r"[Cc]onstraints violated|not equal|must be equal|Not all values"):
            exported(within, Equal(), 3, ("A", "B"))

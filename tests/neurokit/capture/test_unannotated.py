"""What is left out of a trace changes no operation of it, and comes back behind it."""

from __future__ import annotations

import gc

import pytest
import torch
from torch import nn

from neurokit.capture.unannotated import unannotated, without_empty_notes
from neurokit.garbage import put_off


def traced(within):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    shapes = ({0: torch.export.Dim("B")},)
    with within():
        return torch.export.export(net, (torch.ones(2, 2, 6, 6),), dynamic_shapes=shapes, strict=False)


def test_a_trace_without_notes_is_the_same_program():
    from contextlib import nullcontext

    whole, bare = traced(nullcontext), without_empty_notes(traced(unannotated))
    assert whole.graph_module.code == bare.graph_module.code
    sizes = [[str(node.meta["val"].shape) for node in made.graph.nodes if "val" in node.meta] for made in (whole, bare)]
    assert sizes[0] == sizes[1]
    noted = {key for node in bare.graph.nodes for key in node.meta}
    assert not noted & {"stack_trace", "tensor_meta"}
    assert "nn_module_stack" in noted
    again = traced(nullcontext)  # behind it everything is noted as before
    assert {key for node in again.graph.nodes for key in node.meta} == {k for n in whole.graph.nodes for k in n.meta}


@put_off()
def _failing():
    assert not gc.isenabled()
    with put_off():
        assert not gc.isenabled()
    assert not gc.isenabled()
    raise ValueError("it failed")


def test_the_search_for_garbage_comes_back_however_the_work_ends():
    with pytest.raises(ValueError, match="it failed"):
        _failing()
    assert gc.isenabled()

"""Python of graph modules is generated when it is asked for, and is what it would have been at once."""

import copy

import pytest
import torch
from torch.fx import Graph, GraphModule

from neurokit.program.late_code import code_when_called


def doubling():
    graph = Graph()
    graph.output(graph.call_function(torch.mul, (graph.placeholder("x"), 2)))
    return GraphModule(torch.nn.Module(), graph)


def written(module):
    return "_code" in vars(module)


def test_a_module_is_written_when_it_is_called_and_not_before():
    at_once = doubling()
    with code_when_called():
        called, copied, read = doubling(), copy.deepcopy(doubling()), doubling()
        assert written(at_once)
        assert not any(map(written, (called, copied, read)))
        assert called(torch.ones(2)).tolist() == [2, 2]
        assert written(called)
    assert copied(torch.ones(2)).tolist() == [2, 2]
    assert read.code == called.code == copied.code == at_once.code


def test_what_is_called_is_the_graph_after_its_last_change():
    with code_when_called():
        module = doubling()
        module(torch.ones(1))
        (node,) = module.graph.find_nodes(op="call_function", target=torch.mul)
        node.args = (node.args[0], 3)
        module.recompile()
        assert module(torch.ones(1)).tolist() == [3]
        node.args = (node.args[0], 4)
        module.recompile()
    assert ", 4" in module.code
    assert module(torch.ones(1)).tolist() == [4]


def test_an_exported_program_is_called_as_before():
    class Add(torch.nn.Module):
        def forward(self, x, *, y):
            return {"sum": x + y}

    x = torch.arange(3.0)
    with code_when_called():
        module = torch.export.export(Add(), (x,), {"y": x}).module()
    assert module(x, y=x)["sum"].tolist() == [0, 2, 4]
    with pytest.raises(Exception, match="y"):
        module(x)


@pytest.mark.parametrize("fails", [False, True])
def test_torch_is_left_as_it_was(fails):
    before = GraphModule.recompile
    with pytest.raises(ZeroDivisionError) if fails else code_when_called(), code_when_called():
        with code_when_called():
            assert GraphModule.recompile is not before
        assert not written(doubling())
        if fails:
            raise ZeroDivisionError
    assert GraphModule.recompile is before
    assert written(doubling())

"""Passes keep every bit of what a program computes, and check what they need and what they promise."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

from neurokit.capture import capture
from neurokit.parity.rounding import analyse
from neurokit.program.nodes import module_paths
from neurokit.program.ops import is_named
from neurokit.program.passes import MASKED_WRITES, OUT_OF_PLACE, TIME_AXES, Pass, PassError, apply


class InPlace(nn.Module):
    """Changes a tensor in place, and a slice of it, and reads it under its first name afterwards."""

    def forward(self, x):
        y = x * 3.0
        y.add_(1.0)
        y[:, 0].mul_(2.0)
        return torch.relu_(y - 2.0) + y


class TruthInPlace(nn.Module):
    """Changes truth values in place, with Python's operators."""

    def forward(self, x):
        seen = x > 1.0
        seen |= x < -1.0
        seen &= x > -2.0
        seen ^= x > 1.5
        return seen.float() + x


class Shared(nn.Module):
    """Changes a reshaped view in place, and reads the tensor behind it."""

    def forward(self, x):
        y = x * 3.0
        y.view(-1).add_(1.0)
        return y


class Masked(nn.Module):
    """Writes a number where a mask holds, of all axes and of the first."""

    def forward(self, x):
        y = torch.zeros_like(x)
        y[x > 0] = 2.0
        y[x[:, 0] > 1] = -1.0
        return y


class Written(nn.Module):
    """Writes row after row, and reads a row that is there through a view made then."""

    def forward(self, x):
        y = torch.zeros_like(x)
        for row in range(len(x)):
            y[row, ...] = x[row] + y[max(row - 1, 0), ...]
        return y


class Folded(nn.Module):
    def forward(self, x):
        return (x + 1.0).unflatten(0, (2, 3)).flatten(0, 1) * 2.0


def exported(module: nn.Module, x: torch.Tensor):
    return torch.export.export(module, (x,), strict=False)


def names(program) -> list[str]:
    return [str(node.target) for node in program.graph.nodes if node.op == "call_function"]


@pytest.mark.parametrize("module", [InPlace(), Shared(), Folded(), Masked(), Written()])
def test_passes_keep_every_bit(module):
    x = torch.randn(6, 4)
    wanted = module(x.clone())
    program = exported(module, x)
    apply(program, OUT_OF_PLACE, MASKED_WRITES, TIME_AXES)
    assert torch.equal(program.module()(x.clone()), wanted)


def test_in_place_operations_are_written_out_of_place():
    program = exported(InPlace(), torch.randn(6, 4))
    assert any("add_." in name for name in names(program))
    apply(program, OUT_OF_PLACE)
    assert not any("_." in name for name in names(program))


def test_truth_values_are_changed_out_of_place():
    program = exported(TruthInPlace(), torch.randn(6, 4))
    assert sum("aten.__i" in name for name in names(program)) == 3
    apply(program, OUT_OF_PLACE)
    assert not any("aten.__i" in name for name in names(program))


def test_a_row_written_and_read_by_a_later_view_is_out_of_place():
    program = exported(Written(), torch.randn(6, 4))
    apply(program, OUT_OF_PLACE)
    assert not any("copy_" in name for name in names(program))


def test_a_number_written_where_a_mask_holds_is_a_choice():
    program = exported(Masked(), torch.randn(6, 4))
    apply(program, OUT_OF_PLACE, MASKED_WRITES)
    assert sum("where" in name for name in names(program)) == 2
    assert not any("index_put" in name for name in names(program))


def test_what_a_reshaped_view_changes_stays_in_place():
    program = exported(Shared(), torch.randn(6, 4))
    apply(program, OUT_OF_PLACE)
    assert any("add_." in name for name in names(program))


def test_time_axes_that_are_unfolded_and_folded_again_are_gone():
    program = exported(Folded(), torch.randn(6, 4))
    assert len(names(program)) == 4
    apply(program, TIME_AXES)
    assert len(names(program)) == 2


def test_conditions_are_checked():
    module = exported(Folded(), torch.randn(6, 4)).graph_module
    nothing = Pass("nothing", lambda graph: None, after=lambda graph: ["it is still there"])
    with pytest.raises(PassError, match="'nothing' did not do its work: it is still there"):
        nothing(module)
    never = Pass("never", lambda graph: pytest.fail("was run"), after=lambda graph: [], before=lambda graph: ["no"])
    with pytest.raises(PassError, match="'never' cannot run: no"):
        never(module)


class Accumulated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.fc, self.sn = nn.Linear(4, 4), neuron.IFNode(step_mode="m")

    def forward(self, x):
        y = self.fc(x)
        y.add_(100.0)
        return self.sn(y * 3.0)


def test_a_bound_counts_what_was_added_in_place():
    """The analysis walks over names: a tensor that was changed in place has to have a new one."""
    x = torch.rand(2, 1, 4)
    captured = capture(Accumulated().eval(), x)
    (current,), _ = analyse(captured.program.module(), [torch.zeros(2, 1, 4)], (x, *captured.initial_states(1)))
    assert float(current.size.min()) > 300.0


class Named(nn.Module):
    """A user's module whose parts are called as the capture calls the module itself."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.net = nn.Linear(4, 4), nn.Linear(4, 4)

    def forward(self, x):
        return self.net(self.network(x))


def test_operations_know_the_users_path():
    graph = capture(Named().eval(), torch.rand(2, 4)).program.graph
    paths = [module_paths(node)[-1] for node in graph.nodes if is_named(node, ("linear",))]
    assert paths == ["network", "net"]

"""Passes over a captured program, one file each: a rewrite, and what must hold before and after it."""

from __future__ import annotations

from torch.export import ExportedProgram

from neurokit.program.passes.base import Pass, PassError
from neurokit.program.passes.masked_writes import MASKED_WRITES
from neurokit.program.passes.no_checks import NO_CHECKS
from neurokit.program.passes.out_of_place import OUT_OF_PLACE
from neurokit.program.passes.single_parts import SINGLE_PARTS
from neurokit.program.passes.time_axes import TIME_AXES
from neurokit.program.passes.whole_pools import WHOLE_POOLS
from neurokit.program.passes.whole_windows import WHOLE_WINDOWS

__all__ = [
    "MASKED_WRITES",
    "NO_CHECKS",
    "OUT_OF_PLACE",
    "SINGLE_PARTS",
    "TIME_AXES",
    "TRACED",
    "WHOLE_POOLS",
    "WHOLE_WINDOWS",
    "Pass",
    "PassError",
    "apply",
]

#: What every program goes through when it has been traced.
TRACED: tuple[Pass, ...] = (NO_CHECKS, OUT_OF_PLACE, MASKED_WRITES, SINGLE_PARTS, WHOLE_WINDOWS, WHOLE_POOLS, TIME_AXES)


def apply(program: ExportedProgram, *passes: Pass) -> None:
    """Runs passes over a program, in place and in order.

    Args:
        program: The program.
        passes: What to run.

    Raises:
        PassError: If what a pass needs does not hold, or what it promises.
    """
    module = program.graph_module
    for each in passes:
        each.rewritten(module)
    module.recompile()
    returned = next(node for node in reversed(module.graph.nodes) if node.op == "output").args[0]
    for spec, node in zip(program.graph_signature.output_specs, returned, strict=True):
        if hasattr(node, "name"):
            spec.arg.name = node.name

"""The step of its loop in which an operation of an unrolled graph was called, told by its line of code.

A line that is called m times a step has m T calls, in the order of the steps. Without it, a step can only be told by
the inputs that it needs: of a cell that fires on the current of the step before, the first part of a step needs none of
its own.
"""

from __future__ import annotations

from typing import Any

from torch.fx import Node

from neurokit.capture.rolling.counted import Unrolled, line_of

STEP = "neurokit_step"


def note_steps(short: Unrolled, long: Unrolled) -> None:
    """Notes in the nodes of two unrolled graphs of which step they are, where their line tells it.

    Args:
        short: A graph of some steps.
        long: The same of more.
    """
    lines, others = _lines(short), _lines(long)
    for line, nodes in lines.items():
        more = others.get(line, [])
        each, rest = divmod(len(more) - len(nodes), long.steps - short.steps)
        # The last step may lack what nobody reads.
        if rest or each < 1 or not each * (short.steps - 1) <= len(nodes) <= each * short.steps:
            continue
        for group in (nodes, more):
            for at, node in enumerate(group):
                node.meta[STEP] = at // each


def _lines(unrolled: Unrolled) -> dict[Any, list[Node]]:
    found: dict[Any, list[Node]] = {}
    for node in unrolled.graph.nodes:
        if node.op == "call_function":
            found.setdefault(line_of(node), []).append(node)
    return found

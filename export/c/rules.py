"""Which rule writes which operation."""

from __future__ import annotations

from typing import Any

from neurokit.export.c import choices, elementwise, neurons, sums
from neurokit.export.c.build import Builder, Rule
from neurokit.program import nodes
from neurokit.program.ops import Kind


def _size(build: Builder, node: Any) -> Any:
    return nodes.hint(node.meta["val"]) if not isinstance(node.meta.get("val"), list | tuple) else None


#: By name, or by kind where a kind has one rule.
RULES: dict[Any, Rule] = {
    Kind.MOVE: elementwise.move,
    Kind.KEEP: elementwise.keep,
    Kind.CAST: choices.cast,
    Kind.JOIN: elementwise.join,
    Kind.PAD: elementwise.pad,
    Kind.LIMIT: elementwise.limit,
    Kind.ROUND: elementwise.round_,
    Kind.SIGN: elementwise.sign,
    Kind.MULTIPLY: elementwise.multiply,
    Kind.DIVIDE: elementwise.multiply,
    Kind.ADD: elementwise.add,
    Kind.COMPARE: choices.logic,
    Kind.CHOOSE: choices.choose,
    Kind.CONVOLVE: sums.convolve,
    Kind.LINEAR: sums.linear,
    Kind.PRODUCT: sums.product,
    Kind.MAXIMUM: sums.max_pool,
    Kind.POOL: sums.average_pool,
    Kind.SUM: sums.total,
    Kind.NEURON: neurons.neuron,
    Kind.SIZE: _size,
    Kind.CREATE: choices.created,
    "maximum": elementwise.largest,
    "minimum": elementwise.largest,
    "max": choices.largest,
    "min": choices.largest,
    "argmax": choices.place,
    "argmin": choices.place,
    "one_hot": choices.one_hot,
}

"""Causal attention of a prompt in tiles of queries, each over the keys up to its own last one.

Attention under a mask multiplies every pair, also those that causality hides: half of a prompt's. A tile's scores also
stay in a cache of the processor, where those of a whole prompt do not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.export.onnx.branches import Branch, Outer, either, typed

if TYPE_CHECKING:
    import onnx_ir as ir

#: Calls of more tokens are cut: in two up to 2 x TILE tokens, beyond that in tiles of so many. On one core of a server
#: 128 was the fastest of 64, 128, 256 and 512 for heads of 16 and of 64, or within 2 % of it.
SMALL, TILE = 16, 128
_END = np.iinfo(np.int64).max
_COMPARED = ("LessOrEqual", "GreaterOrEqual")


class Tiles:
    """Makes the tiles of each layer, and what all layers share: sizes, and a window that holds every tile's mask.

    Args:
        add: Adds nodes to the graph.
        before: Entries P of the past, int64 `[1]`.
        new: New tokens S, int64 `[1]`.
        causal: Whether causality alone hides keys, bool `[1]`.
    """

    def __init__(self, add: Outer, before: Any, new: Any, causal: Any) -> None:
        one, two = add.number([1], "int64"), add.number([2], "int64")
        half = add("Div", [add("Add", [new, one]), two])
        self._tile = add("Min", [half, add.number([TILE], "int64")])
        self._before, self._new = before, new
        long = add("Greater", [new, add.number([SMALL], "int64")])
        #: Whether a call is cut, bool scalar.
        self.wanted = add("Squeeze", [add("And", [causal, long])])
        self._window: Any = None

    def branch(self, name: str, node: ir.Node, caches: Sequence[ir.Node], kind: Any) -> ir.Graph:
        """Returns a branch that attends in tiles; its results are the output, keys and values."""
        query = node.inputs[0]
        assert query is not None
        assert query.shape is not None
        made = Branch(name)
        keys, values = (made.add("Concat", list(cache.inputs), {"axis": 2})[0] for cache in caches)
        one = made.constant([1])
        above = made.add("Sub", [made.add("Add", [self._new, self._tile], {})[0], one], {})[0]
        (count,) = made.add("Div", [above, self._tile], {})
        body = self._body(f"{name}_tile", node, query, keys, values, kind)
        (trips,) = made.add("Squeeze", [count], {})
        (tiles,) = made.loop(trips, body)
        (side,) = made.add("Transpose", [tiles], {"perm": [1, 2, 0, 3, 4]})
        rows = made.add("Reshape", [side, made.constant([0, 0, -1, int(query.shape[3])])], {})[0]
        # The last tile ends with the last query, so it begins with queries of the one before it.
        whole = made.add("Mul", [made.add("Sub", [count, one], {})[0], self._tile], {})[0]
        rest = made.add("Sub", [whole, self._new], {})[0]
        axis, zero, end = made.constant([2]), made.constant([0]), made.constant([_END])
        parts = [made.add("Slice", [rows, *cut, axis], {})[0] for cut in ((zero, whole), (rest, end))]
        (out,) = made.add("Concat", parts, {"axis": 2})
        return typed(made.graph([out, keys, values]), kind)

    def _body(self, name: str, node: ir.Node, query: Any, keys: Any, values: Any, kind: Any) -> ir.Graph:
        """Returns the body of the loop over tiles; its result is a tile's output `[B, H, tile, D]`."""
        import onnx_ir as ir

        turn = ir.Value(name=f"{name}_turn", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
        going = ir.Value(name=f"{name}_going", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
        made = Branch(name)

        def cut(x: Any, start: Any, end: Any, axis: int) -> Any:
            return made.add("Slice", [x, start, end, made.constant([axis])], {})[0]

        latest = made.add("Sub", [self._new, self._tile], {})[0]
        start = made.add("Min", [made.add("Mul", [turn, self._tile], {})[0], latest], {})[0]
        end = made.add("Add", [start, self._tile], {})[0]
        seen, zero = made.add("Add", [self._before, end], {})[0], made.constant([0])
        mask = cut(self._shown(), made.add("Sub", [self._new, start], {})[0], made.constant([_END]), 1)
        given = [cut(query, start, end, 2), cut(keys, zero, seen, 2), cut(values, zero, seen, 2), mask]
        (out,) = made.add("Attention", given, {"scale": node.attributes["scale"].as_float()})
        (still,) = made.add("Identity", [going], {})
        graph = made.graph([still, out], [turn, going])
        still.type, out.type = going.type, kind
        return graph

    def _shown(self) -> Any:
        """Returns what will be the window `[tile, P + S + tile]`: 0 up to a diagonal, minus infinity behind it."""
        import onnx_ir as ir

        if self._window is None:
            self._window = ir.Value(name="tiles_window_later")
        return self._window

    def finish(self, graph: ir.Graph, hidden: Any, kind: Any) -> None:
        """Puts the window into the graph, and what hides keys in its place where a call is not cut.

        Args:
            graph: The graph, all of whose layers were replaced.
            hidden: The mask `key <= place and key >= first` of all pairs.
            kind: Type of the scores.
        """
        import onnx_ir.convenience

        compared = _alone(hidden, graph)
        cut, whole = Branch("tiles_cut"), Branch("tiles_whole")
        dummy = cut.constant(np.ones([1] * (hidden.shape.rank() if hidden.shape else 4), bool))
        scores = kind.dtype.numpy()
        nothing = whole.constant(np.zeros((1, 1), scores))
        taken = cut.graph([self._made(cut, scores), *([dummy] if compared else [])])
        for node in compared:
            graph.remove(node)
            whole.take(node, named=False)
        otherwise = whole.graph([nothing, *([hidden] if compared else [])])
        for side in (taken, otherwise):
            side.outputs[0].type = kind
        choice = either(self.wanted, taken, otherwise, 1 + bool(compared))
        window = choice.outputs[0]
        window.name, window.type = "tiles_window", kind
        graph.append(choice)
        onnx_ir.convenience.replace_all_uses_with(self._window, window)
        if compared:
            choice.outputs[1].name, choice.outputs[1].type = "tiles_hidden", hidden.type
            dummy.type = hidden.type
            for user, at in list(hidden.uses()):
                user.replace_input_with(at, choice.outputs[1])

    def _made(self, branch: Branch, scores: Any) -> Any:
        """Returns the window's nodes' result: row i is 0 up to column P + S + i."""
        entries = branch.add("Add", [self._before, self._new], {})[0]
        zero, one = branch.constant(0), branch.constant(1)
        (high,) = branch.add("Squeeze", [self._tile], {})
        (width,) = branch.add("Squeeze", [branch.add("Add", [entries, self._tile], {})[0]], {})
        (column,) = branch.add("Range", [zero, width, one], {})
        (row,) = branch.add("Range", [zero, high, one], {})
        (last,) = branch.add("Unsqueeze", [branch.add("Add", [row, entries], {})[0], branch.constant([1])], {})
        (within,) = branch.add("LessOrEqual", [column, last], {})
        values = [branch.constant(np.asarray(value, scores)) for value in (0.0, -np.inf)]
        return branch.add("Where", [within, *values], {})[0]


def _alone(hidden: Any, graph: ir.Graph) -> list[ir.Node]:
    """Returns the nodes that make a mask of all pairs, if nothing but branches of layers reads it; else none."""
    waiting = [hidden]
    while waiting:
        for user, _ in waiting.pop().uses():
            if user.graph is graph:
                if user.op_type not in ("Unsqueeze", "Identity"):
                    return []
                waiting += user.outputs
    producer = hidden.producer()
    nodes = [value.producer() for value in producer.inputs]
    if any(node.op_type not in _COMPARED or len(node.outputs[0].uses()) != 1 for node in nodes):
        return []
    return [*nodes, producer]

"""Puts ONNX Runtime's GroupQueryAttention in the place of Attention over a cache that a call extends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir

MICROSOFT = "com.microsoft"


def group_queries(model: ir.Model) -> None:
    """Replaces every Attention whose keys and values are a past and new tokens put behind one another.

    GroupQueryAttention leaves out what causality hides, where Attention computes the whole square. It does not take
    several texts that have a past and more than one new token; for those calls the graph holds Attention beside it,
    and chooses by the sizes of the call.
    """
    graph = model.graph
    maker = _Maker(graph)
    for node in list(graph):
        if node.op_type != "Attention" or len(node.outputs) != 1 or len(node.inputs) < 4 or node.inputs[3] is None:
            continue
        caches = [_extended(value) for value in node.inputs[1:3]]
        found = [cache for cache in caches if cache is not None]
        # What selects keys by the whole cache needs it before attention, which would be what extends it.
        if len(found) == 2 and not _depends(node.inputs[3], found):
            maker.replace(node, found)
    if maker.done:
        model.opset_imports[MICROSOFT] = graph.opset_imports[MICROSOFT] = 1
        graph.sort()


def _extended(value: ir.Value | None) -> ir.Node | None:
    """Returns the node that puts new tokens behind a past, if that is what a value is."""
    node = None if value is None else value.producer()
    if node is None or node.op_type != "Concat" or len(node.inputs) != 2:
        return None
    axis = node.attributes["axis"].as_int()
    past = node.inputs[0]
    return node if axis in (2, -2) and past is not None and past.is_graph_input() else None


def _depends(value: ir.Value | None, nodes: Sequence[ir.Node]) -> bool:
    """Whether a value is made, somewhere before it, of what one of some nodes gives."""
    waiting, seen = [value], set()
    while waiting:
        node = None if (at := waiting.pop()) is None else at.producer()
        if node is None or node in seen:
            continue
        if node in nodes:
            return True
        seen.add(node)
        waiting += node.inputs
    return False


class _Maker:
    """Makes the nodes; what all layers share is made once."""

    def __init__(self, graph: ir.Graph) -> None:
        self._graph = graph
        self._shared: dict[Any, Any] = {}
        self.done = 0

    def replace(self, node: ir.Node, caches: Sequence[ir.Node]) -> None:
        import onnx_ir as ir

        query, mask = node.inputs[0], node.inputs[3]
        assert query is not None
        assert mask is not None
        (past_k, new_k), (past_v, new_v) = (cache.inputs for cache in caches)
        assert past_k is not None
        assert new_k is not None
        assert new_k.shape is not None
        assert query.shape is not None
        sizes = self._sizes(query, past_k)
        grouped = _Branch(f"grouped_{self.done}")
        heads, groups, width = int(query.shape[1]), int(new_k.shape[1]), int(query.shape[3])
        packed = [grouped.packed(x, count * width) for x, count in ((query, heads), (new_k, groups), (new_v, groups))]
        scale = node.attributes["scale"].as_float()
        out, k, v = grouped.add(
            "GroupQueryAttention",
            [*packed, past_k, past_v, sizes["last"], sizes["total"], None, None, None, self._bias(mask, query)],
            {"num_heads": heads, "kv_num_heads": groups, "scale": scale},
            MICROSOFT,
            3,
        )
        out = grouped.unpacked(out, heads, width)
        plain = _Branch(f"plain_{self.done}")
        k2, v2 = (plain.add("Concat", list(cache.inputs), {"axis": 2})[0] for cache in caches)
        (out2,) = plain.add("Attention", [query, k2, v2, mask], {"scale": scale})
        branches = {"then_branch": grouped.graph([out, k, v]), "else_branch": plain.graph([out2, k2, v2])}
        for branch in branches.values():
            for value in branch.outputs:
                value.type = past_k.type
        choice = ir.Node(
            "",
            "If",
            [sizes["either"]],
            [ir.AttrGraph(name, branch) for name, branch in branches.items()],
            num_outputs=3,
        )
        self._graph.insert_before(node, choice)
        for old, new in zip((node.outputs[0], *(cache.outputs[0] for cache in caches)), choice.outputs, strict=True):
            new.name, new.shape, new.type = f"{old.name}_g", old.shape, past_k.type
            self._take_over(old, new)
        for dead in (node, *caches):
            self._graph.remove(dead, safe=True)
        self.done += 1

    def _take_over(self, old: ir.Value, new: ir.Value) -> None:
        import onnx_ir.convenience

        for index, output in enumerate(self._graph.outputs):
            if output is old:
                name, old.name = old.name, f"{old.name}_before"
                new.name = name
                self._graph.outputs[index] = new
        onnx_ir.convenience.replace_all_uses_with(old, new)

    def _sizes(self, query: ir.Value, past: Any) -> dict[str, Any]:
        """Returns what GroupQueryAttention is told of the call's sizes, and whether it takes such a call."""
        if "sizes" not in self._shared:
            first = next(iter(self._graph))
            add = _Outer(self._graph, first if query.is_graph_input() else query.producer() or first)
            batch, new = add("Shape", [query], start=0, end=1), add("Shape", [query], start=2, end=3)
            before = add("Shape", [past], start=2, end=3)
            total = add("Cast", [add("Add", [before, new])], to=6)
            last = add("Sub", [total, add.number([1], "int32")])
            one = add.number([1], "int64")
            single = add("Or", [add("Equal", [batch, one]), add("Equal", [new, one])])
            either = add("Or", [single, add("Equal", [before, add.number([0], "int64")])])
            self._shared["sizes"] = {
                "total": total,
                "last": add("Expand", [last, batch]),
                "either": add("Squeeze", [either]),
            }
        return dict(self._shared["sizes"])

    def _bias(self, mask: ir.Value, query: ir.Value) -> Any:
        """Returns a mask as what is added to scores."""
        import onnx_ir as ir

        if mask.dtype != ir.DataType.BOOL:
            return mask
        if id(mask) not in self._shared:
            producer = mask.producer()
            assert producer is not None
            add = _Outer(self._graph, producer)
            kind = str(query.dtype.numpy()) if query.dtype is not None else "float32"
            nothing, never = add.number([0.0], kind), add.number([float("-inf")], kind)
            self._shared[id(mask)] = add("Where", [mask, nothing, never])
        return self._shared[id(mask)]


class _Outer:
    """Adds nodes behind one node of a graph."""

    def __init__(self, graph: ir.Graph, after: ir.Node) -> None:
        self._graph, self._after = graph, after

    def __call__(self, op_type: str, inputs: Sequence[Any], **attributes: Any) -> Any:
        import onnx_ir as ir

        node = ir.Node("", op_type, inputs, ir.convenience.convert_attributes(attributes), num_outputs=1)
        node.outputs[0].name = f"{op_type.lower()}_{id(node)}"
        self._graph.insert_after(self._after, node)
        self._after = node
        return node.outputs[0]

    def number(self, value: Sequence[float], kind: str) -> Any:
        import numpy as np
        import onnx_ir as ir

        name = f"group_query_{kind}_{value[0]}"
        held = self._graph.initializers.get(name)
        if held is not None:
            return held
        tensor = ir.tensor(np.asarray(value, kind), name=name)
        made = ir.Value(name=name, shape=tensor.shape, type=ir.TensorType(tensor.dtype), const_value=tensor)
        self._graph.register_initializer(made)
        return made


class _Branch:
    """One branch of an If, under construction."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[ir.Node] = []

    def add(
        self, op_type: str, inputs: Sequence[Any], attributes: dict[str, Any], domain: str = "", outputs: int = 1
    ) -> Any:
        import onnx_ir as ir

        node = ir.Node(domain, op_type, inputs, ir.convenience.convert_attributes(attributes), num_outputs=outputs)
        for at, value in enumerate(node.outputs):
            value.name = f"{self._name}_{len(self._nodes)}_{at}"
        self._nodes.append(node)
        return node.outputs

    def packed(self, x: Any, width: int) -> Any:
        """`[B, heads, S, D]` as `[B, S, heads D]`."""
        (turned,) = self.add("Transpose", [x], {"perm": [0, 2, 1, 3]})
        return self._reshape(turned, [0, 0, width])

    def unpacked(self, x: Any, heads: int, width: int) -> Any:
        """`[B, S, heads D]` as `[B, heads, S, D]`."""
        return self.add("Transpose", [self._reshape(x, [0, 0, heads, width])], {"perm": [0, 2, 1, 3]})[0]

    def _reshape(self, x: Any, shape: list[int]) -> Any:
        import onnx_ir as ir

        tensor = ir.tensor(shape, dtype=ir.DataType.INT64)
        (held,) = self.add("Constant", [], {"value": tensor})
        return self.add("Reshape", [x, held], {})[0]

    def graph(self, outputs: Sequence[Any]) -> ir.Graph:
        """Returns the branch."""
        import onnx_ir as ir

        return ir.Graph([], list(outputs), nodes=self._nodes, name=self._name)

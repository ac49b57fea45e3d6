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
    and chooses by the sizes of the call. Where no text begins with padding, GroupQueryAttention has no bias to add.
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

        query, mask = node.inputs[0], node.inputs[3]
        assert query is not None
        assert mask is not None
        past_k = caches[0].inputs[0]
        assert past_k is not None
        sizes = self._sizes(query, past_k)
        plain = _Branch(f"plain_{self.done}")
        k, v = (plain.add("Concat", list(cache.inputs), {"axis": 2})[0] for cache in caches)
        (out,) = plain.add("Attention", [query, k, v, mask], {"scale": node.attributes["scale"].as_float()})
        otherwise = _typed(plain.graph([out, k, v]), past_k.type)
        taken = self._grouped(_Branch(f"grouped_{self.done}"), node, caches, mask)
        choice = _either(sizes["either"], taken, otherwise)
        bare = self._bare(mask, sizes)
        if bare is not None:  # no bias: nothing is hidden but what causality hides
            outer = _Branch(f"hidden_{self.done}")
            outer.take(choice)
            inner = _typed(outer.graph(list(choice.outputs)), past_k.type)
            choice = _either(bare, self._grouped(_Branch(f"bare_{self.done}"), node, caches, None), inner)
        self._graph.insert_before(node, choice)
        for old, new in zip((node.outputs[0], *(cache.outputs[0] for cache in caches)), choice.outputs, strict=True):
            new.name, new.shape, new.type = f"{old.name}_g", old.shape, past_k.type
            self._take_over(old, new)
        for dead in (node, *caches):
            self._graph.remove(dead, safe=True)
        self.done += 1

    def _grouped(self, branch: _Branch, node: ir.Node, caches: Sequence[ir.Node], mask: ir.Value | None) -> ir.Graph:
        """Returns a branch with GroupQueryAttention; without a mask causality alone hides keys."""
        query = node.inputs[0]
        (past_k, new_k), (past_v, new_v) = (cache.inputs for cache in caches)
        assert query is not None
        assert past_k is not None
        assert new_k is not None
        assert query.shape is not None
        assert new_k.shape is not None
        sizes = self._sizes(query, past_k)
        heads, groups, width = int(query.shape[1]), int(new_k.shape[1]), int(query.shape[3])
        packed = [branch.packed(x, count * width) for x, count in ((query, heads), (new_k, groups), (new_v, groups))]
        given = [*packed, past_k, past_v, sizes["last"], sizes["total"]]
        if mask is not None:
            given += [None, None, None, branch.bias(mask, str(past_k.dtype.numpy()) if past_k.dtype else "float32")]
        scale = node.attributes["scale"].as_float()
        what = {"num_heads": heads, "kv_num_heads": groups, "scale": scale}
        out, k, v = branch.add("GroupQueryAttention", given, what, MICROSOFT, 3)
        return _typed(branch.graph([branch.unpacked(out, heads, width), k, v]), past_k.type)

    def _bare(self, mask: ir.Value, sizes: dict[str, Any]) -> Any:
        """Returns whether a call's mask is causality and nothing else, or None where no mask of the graph can say so.

        A mask says so that is `key <= place and key >= first`: the places must be those behind the past, and no text
        may begin with padding.
        """
        parts = _causal_parts(mask)
        if parts is None:
            return None
        if "bare" not in self._shared:
            place, first = parts
            producer = mask.producer()
            assert producer is not None
            add = _Outer(self._graph, producer)
            zero, one = add.number([0], "int64"), add.number([1], "int64")
            begins = add("Equal", [add("ReduceMin", [place], keepdims=0), sizes["before"]])
            last = add("Sub", [add("Add", [sizes["before"], sizes["new"]]), one])
            ends = add("Equal", [add("ReduceMax", [place], keepdims=0), last])
            whole = add("Equal", [add("Max", [add("ReduceMax", [first], keepdims=0), zero]), zero])
            held = add("And", [add("And", [begins, ends]), add("And", [whole, sizes["flat"]])])
            self._shared["bare"] = add("Squeeze", [held])
        return self._shared["bare"]

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
                "flat": either,
                "before": before,
                "new": new,
            }
        return dict(self._shared["sizes"])


def _either(condition: Any, taken: ir.Graph, otherwise: ir.Graph) -> ir.Node:
    import onnx_ir as ir

    branches = {"then_branch": taken, "else_branch": otherwise}
    attributes = [ir.AttrGraph(name, branch) for name, branch in branches.items()]
    return ir.Node("", "If", [condition], attributes, num_outputs=3)


def _typed(graph: ir.Graph, kind: Any) -> ir.Graph:
    for value in graph.outputs:
        value.type = kind
    return graph


def _causal_parts(mask: ir.Value) -> tuple[Any, Any] | None:
    """Returns place and first key of each query, where a mask is `key <= place and key >= first`, or None."""
    node = mask.producer()
    while node is not None and node.op_type in ("Unsqueeze", "Identity") and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    if node is None or node.op_type != "And":
        return None
    parts = {made.op_type: made for value in node.inputs if value is not None and (made := value.producer())}
    after, before = parts.get("LessOrEqual"), parts.get("GreaterOrEqual")
    if after is None or before is None or after.inputs[0] is not before.inputs[0]:
        return None
    key = after.inputs[0].producer() if after.inputs[0] is not None else None
    return (after.inputs[1], before.inputs[1]) if key is not None and key.op_type == "Range" else None


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

    def take(self, node: ir.Node) -> None:
        """Takes a node that was made elsewhere."""
        for at, value in enumerate(node.outputs):
            value.name = f"{self._name}_{len(self._nodes)}_{at}"
        self._nodes.append(node)

    def bias(self, mask: Any, kind: str) -> Any:
        """Returns a mask as what is added to scores."""
        import numpy as np
        import onnx_ir as ir

        if mask.dtype != ir.DataType.BOOL:
            return mask
        values = [ir.tensor(np.asarray([number], kind)) for number in (0.0, float("-inf"))]
        nothing, never = (self.add("Constant", [], {"value": value})[0] for value in values)
        return self.add("Where", [mask, nothing, never], {})[0]

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

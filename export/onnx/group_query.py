"""Puts ONNX Runtime's GroupQueryAttention in the place of Attention over a cache that a call extends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from neurokit.export.onnx.branches import Branch, Outer, either, typed
from neurokit.export.onnx.tiled import Tiles

if TYPE_CHECKING:
    import onnx_ir as ir

MICROSOFT = "com.microsoft"
_MULTIPLE = 8  # GroupQueryAttention refuses heads of another width when it runs (ONNX Runtime 1.32)


def group_queries(model: ir.Model) -> None:
    """Replaces every Attention whose keys and values are a past and new tokens put behind one another.

    GroupQueryAttention leaves out what causality hides, where Attention computes the whole square. It does not take
    several texts that have a past and more than one new token; for those calls the graph holds Attention beside it,
    and chooses by the sizes of the call. Where no text begins with padding, GroupQueryAttention has no bias to add, and
    calls of many tokens attend in tiles (`neurokit.export.onnx.tiled`), which multiply fewer pairs than it does.
    """
    graph = model.graph
    maker = _Maker(graph)
    for node in list(graph):
        if node.op_type != "Attention" or len(node.outputs) != 1 or len(node.inputs) < 4 or node.inputs[3] is None:
            continue
        width = node.inputs[0].shape[3] if node.inputs[0] is not None and node.inputs[0].shape is not None else 0
        if not isinstance(width, int) or width % _MULTIPLE:
            continue
        caches = [_extended(value) for value in node.inputs[1:3]]
        found = [cache for cache in caches if cache is not None]
        # What selects keys by the whole cache needs it before attention, which would be what extends it.
        if len(found) == 2 and not _depends(node.inputs[3], found):
            maker.replace(node, found)
    if maker.done:
        maker.finish()
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
        self._kind: Any = None  # type of the scores
        self.done = 0

    def replace(self, node: ir.Node, caches: Sequence[ir.Node]) -> None:

        query, mask = node.inputs[0], node.inputs[3]
        assert query is not None
        assert mask is not None
        past_k = caches[0].inputs[0]
        assert past_k is not None
        sizes = self._sizes(query, past_k)
        plain = Branch(f"plain_{self.done}")
        k, v = (plain.add("Concat", list(cache.inputs), {"axis": 2})[0] for cache in caches)
        (out,) = plain.add("Attention", [query, k, v, mask], {"scale": node.attributes["scale"].as_float()})
        otherwise = typed(plain.graph([out, k, v]), past_k.type)
        taken = self._grouped(Branch(f"grouped_{self.done}"), node, caches, mask)
        choice = either(sizes["either"], taken, otherwise)
        bare = self._bare(mask, sizes)
        if bare is not None:  # no bias: nothing is hidden but what causality hides
            outer = Branch(f"hidden_{self.done}")
            outer.take(choice)
            inner = typed(outer.graph(list(choice.outputs)), past_k.type)
            choice = either(bare, self._grouped(Branch(f"bare_{self.done}"), node, caches, None), inner)
            outer = Branch(f"short_{self.done}")
            outer.take(choice)
            short = typed(outer.graph(list(choice.outputs)), past_k.type)
            tiles: Tiles = self._shared["tiles"]
            choice = either(tiles.wanted, tiles.branch(f"tiled_{self.done}", node, caches, past_k.type), short)
            self._kind = past_k.type
        self._graph.insert_before(node, choice)
        for old, new in zip((node.outputs[0], *(cache.outputs[0] for cache in caches)), choice.outputs, strict=True):
            new.name, new.shape, new.type = f"{old.name}_g", old.shape, past_k.type
            self._take_over(old, new)
        for dead in (node, *caches):
            self._graph.remove(dead, safe=True)
        self.done += 1

    def finish(self) -> None:
        """Makes what all layers share and nothing else reads."""
        if "tiles" in self._shared:
            self._shared["tiles"].finish(self._graph, self._shared["hidden"], self._kind)

    def _grouped(self, branch: Branch, node: ir.Node, caches: Sequence[ir.Node], mask: ir.Value | None) -> ir.Graph:
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
        return typed(branch.graph([branch.unpacked(out, heads, width), k, v]), past_k.type)

    def _bare(self, mask: ir.Value, sizes: dict[str, Any]) -> Any:
        """Returns whether a call's mask is causality and nothing else, or None where no mask of the graph can say so.

        A mask says so that is `key <= place and key >= first`: the places must be those behind the past, and no text
        may begin with padding.
        """
        parts = _causal_parts(mask)
        if parts is None:
            return None
        if "bare" not in self._shared:
            place, first, core = parts
            producer = mask.producer()
            assert producer is not None
            add = Outer(self._graph, producer)
            zero, one = add.number([0], "int64"), add.number([1], "int64")
            begins = add("Equal", [add("ReduceMin", [place], keepdims=0), sizes["before"]])
            last = add("Sub", [add("Add", [sizes["before"], sizes["new"]]), one])
            ends = add("Equal", [add("ReduceMax", [place], keepdims=0), last])
            whole = add("Equal", [add("Max", [add("ReduceMax", [first], keepdims=0), zero]), zero])
            causal = add("And", [add("And", [begins, ends]), whole])
            self._shared["bare"] = add("Squeeze", [add("And", [causal, sizes["flat"]])])
            self._shared["tiles"] = Tiles(add, sizes["before"], sizes["new"], causal)
            self._shared["hidden"] = core
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
            add = Outer(self._graph, first if query.is_graph_input() else query.producer() or first)
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


def _causal_parts(mask: ir.Value) -> tuple[Any, Any, Any] | None:
    """Returns place and first key of each query, where a mask is `key <= place and key >= first`, or None.

    The third is that mask, as it is before axes are added to it.
    """
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
    return (after.inputs[1], before.inputs[1], node.outputs[0]) if key is not None and key.op_type == "Range" else None

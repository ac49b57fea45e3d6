"""Parts of graphs under construction: branches of an If, bodies of a Loop, and nodes put behind one node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir


def either(condition: Any, taken: ir.Graph, otherwise: ir.Graph, outputs: int = 3) -> ir.Node:
    """Returns an If."""
    import onnx_ir as ir

    branches = {"then_branch": taken, "else_branch": otherwise}
    attributes = [ir.AttrGraph(name, branch) for name, branch in branches.items()]
    return ir.Node("", "If", [condition], attributes, num_outputs=outputs)


def typed(graph: ir.Graph, kind: Any) -> ir.Graph:
    """Returns a graph whose results are of one type."""
    for value in graph.outputs:
        value.type = kind
    return graph


class Outer:
    """Adds nodes behind one node of a graph."""

    def __init__(self, graph: ir.Graph, after: ir.Node) -> None:
        self._graph, self._after = graph, after

    def __call__(self, op_type: str, inputs: Sequence[Any], **attributes: Any) -> Any:
        """Returns the first result of a new node."""
        import onnx_ir as ir

        node = ir.Node("", op_type, inputs, ir.convenience.convert_attributes(attributes), num_outputs=1)
        # By number, so that two exports are the same byte for byte; of the graph, to which others may add, too.
        count = self._graph.meta["added"] = self._graph.meta.get("added", 0) + 1
        node.outputs[0].name = f"{op_type.lower()}_added_{count}"
        self._graph.insert_after(self._after, node)
        self._after = node
        return node.outputs[0]

    def number(self, value: Sequence[float], kind: str) -> Any:
        """Returns a constant of the graph."""
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


class Branch:
    """One branch of an If, or the body of a Loop, under construction."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._nodes: list[ir.Node] = []

    def add(
        self, op_type: str, inputs: Sequence[Any], attributes: dict[str, Any], domain: str = "", outputs: int = 1
    ) -> Any:
        """Returns the results of a new node."""
        import onnx_ir as ir

        node = ir.Node(domain, op_type, inputs, ir.convenience.convert_attributes(attributes), num_outputs=outputs)
        for at, value in enumerate(node.outputs):
            value.name = f"{self._name}_{len(self._nodes)}_{at}"
        self._nodes.append(node)
        return node.outputs

    def take(self, node: ir.Node, named: bool = True) -> None:
        """Takes a node that was made elsewhere; its results are `named` anew."""
        for at, value in enumerate(node.outputs if named else ()):
            value.name = f"{self._name}_{len(self._nodes)}_{at}"
        self._nodes.append(node)

    def constant(self, value: Any) -> Any:
        """Returns a constant; whole numbers are int64."""
        import numpy as np
        import onnx_ir as ir

        return self.add("Constant", [], {"value": ir.tensor(np.asarray(value))})[0]

    def loop(self, trips: Any, body: ir.Graph) -> Any:
        """Returns the stacked results of a loop that keeps nothing from turn to turn."""
        import onnx_ir as ir

        node = ir.Node("", "Loop", [trips, None], [ir.AttrGraph("body", body)], num_outputs=len(body.outputs) - 1)
        self.take(node)
        return node.outputs

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

    def graph(self, outputs: Sequence[Any], inputs: Sequence[Any] = ()) -> ir.Graph:
        """Returns the branch."""
        import onnx_ir as ir

        return ir.Graph(list(inputs), list(outputs), nodes=self._nodes, name=self._name)

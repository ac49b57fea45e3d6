"""A captured program in 16 bits: weights and currents; membranes stay in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule, Node

from neurokit.program.nodes import NEURONS, is_op, is_weighted
from neurokit.program.walk import fetch, store

if TYPE_CHECKING:
    from neurokit.capture import Captured


aten = torch.ops.aten
_PRODUCTS = {aten.matmul.default, aten.mm.default, aten.bmm.default}
_WRITES = {aten.index_put.default}
_NORMS = {aten.batch_norm.default, aten.group_norm.default, aten.instance_norm.default, aten.layer_norm.default}


def in_16_bits(module: GraphModule, part: Captured, dtype: torch.dtype) -> None:
    """Rewrites a program in place: inputs are rounded at its door, outputs are float32 again.

    Args:
        module: The program, of flat inputs (then states) and outputs (then states).
        part: What is known of it.
        dtype: torch.float16 or torch.bfloat16.
    """
    graph = module.graph
    for node in [node for node in graph.nodes if node.op == "get_attr"]:
        value = fetch(module, str(node.target))
        if value.dtype == torch.float32 and not all(is_op(user, NEURONS) for user in node.users):
            store(module, str(node.target), value.to(dtype))
    places = [node for node in graph.nodes if node.op == "placeholder"]
    for node in places[: len(part.inputs)]:
        if node.meta["val"].dtype == torch.float32:
            with graph.inserting_after(places[-1]):
                rounded = graph.call_function(aten.to.dtype, (node, dtype))
            node.replace_all_uses_with(rounded, delete_user_cb=lambda user, own=rounded: user is not own)
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = (tuple(_as_before(graph, output, value) for value in output.args[0]),)
    _look_again(module, places, dtype)
    module.recompile()


def _other_types(node: Node, dtype: torch.dtype) -> list[tuple[Node, torch.dtype]]:
    """Returns the operands that have to be rounded first, and to what, where an operation takes one type alone.

    Neurons written by hand keep their spikes in float32 (`spikes.to(torch.float32)`), a front end its image, and
    products have weights of 16 bits. The types of the operands are known.
    """
    if is_weighted(node) or is_op(node, _PRODUCTS | _NORMS):
        operands, wanted = node.args[:2] if is_op(node, _PRODUCTS) else node.args[:5], dtype
    elif is_op(node, _WRITES):
        operands, wanted = (node.args[0], node.args[2]), node.args[0].meta["val"].dtype
    else:
        return []
    kinds = {value: _type_of(value) for value in operands if isinstance(value, Node)}
    if len({kind for kind in kinds.values() if kind is not None}) < 2:
        return []
    return [(value, wanted) for value, kind in kinds.items() if kind not in (None, wanted)]


def _type_of(value: Any) -> torch.dtype | None:
    known = value.meta.get("val") if isinstance(value, Node) else None
    return known.dtype if isinstance(known, torch.Tensor) and known.is_floating_point() else None


def _as_before(graph: Any, output: Node, value: Any) -> Any:
    """Returns an output in the type that it had."""
    if not isinstance(value, Node) or value.meta["val"].dtype != torch.float32:
        return value
    with graph.inserting_before(output):
        return graph.call_function(aten.to.dtype, (value, torch.float32))


def _look_again(module: GraphModule, places: list[Node], dtype: torch.dtype) -> None:
    """Notes anew what type every value has, and rounds operands of another one on the way."""
    from torch._dispatch.python import enable_python_dispatcher
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    class Typed(FakeTensorProp):
        def run_node(self, n: Node) -> Any:
            self._round(n, _other_types(n, dtype))
            try:
                return super().run_node(n)
            except (RuntimeError, TypeError, ValueError):  # as attention refuses operands of two types
                others = [value for value in n.all_input_nodes if _type_of(value) not in (None, dtype)]
                if not others:
                    raise
                self._round(n, [(value, dtype) for value in others])
                return super().run_node(n)

        def _round(self, n: Node, operands: list[tuple[Node, torch.dtype]]) -> None:
            for value, wanted in operands:
                with module.graph.inserting_before(n):
                    made = module.graph.call_function(aten.to.dtype, (value, wanted))
                self.env[made] = super().run_node(made)
                n.replace_input_with(value, made)

    values = [node.meta["val"] for node in places]
    mode = next(value.fake_mode for value in values if hasattr(value, "fake_mode"))
    with torch.no_grad(), enable_python_dispatcher():  # torch's own matmul would fix free sizes
        Typed(module, mode).propagate_dont_convert_inputs(*values)

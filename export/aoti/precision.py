"""A captured program in 16 bits: weights and currents; membranes stay in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.fx import Graph, GraphModule, Node

from neurokit.program.nodes import NEURONS, is_op, is_weighted
from neurokit.program.walk import fetch, store

if TYPE_CHECKING:
    from neurokit.capture import Captured


aten = torch.ops.aten
_PRODUCTS = {aten.matmul.default, aten.mm.default, aten.bmm.default}
_WRITES = {aten.index_put.default}


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
    module.recompile()
    _look_again(module, places)
    if _of_one_type(graph, dtype):
        module.recompile()
        _look_again(module, places)


def _of_one_type(graph: Graph, dtype: torch.dtype) -> bool:
    """Rounds what is float32 where an operation takes one type alone; returns whether there was any.

    Neurons written by hand keep their spikes in float32 (`spikes.to(torch.float32)`), and products have weights of 16
    bits. Nothing of torch's own tells, before it runs.
    """
    found = False
    for node in graph.nodes:
        if is_weighted(node) or is_op(node, _PRODUCTS):
            kinds, wanted = node.args[:2], dtype
        elif is_op(node, _WRITES):
            kinds, wanted = (node.args[0], node.args[2]), node.args[0].meta["val"].dtype
        else:
            continue
        for value in kinds if len({_type_of(value) for value in kinds}) > 1 else ():
            if _type_of(value) not in (None, wanted):
                with graph.inserting_before(node):
                    made = graph.call_function(aten.to.dtype, (value, wanted))
                node.replace_input_with(value, made)
                found = True
    return found


def _type_of(value: Any) -> torch.dtype | None:
    known = value.meta.get("val") if isinstance(value, Node) else None
    return known.dtype if isinstance(known, torch.Tensor) and known.is_floating_point() else None


def _as_before(graph: Any, output: Node, value: Any) -> Any:
    """Returns an output in the type that it had."""
    if not isinstance(value, Node) or value.meta["val"].dtype != torch.float32:
        return value
    with graph.inserting_before(output):
        return graph.call_function(aten.to.dtype, (value, torch.float32))


def _look_again(module: GraphModule, places: list[Node]) -> None:
    """Notes anew what type every value has."""
    from torch._dispatch.python import enable_python_dispatcher
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    values = [node.meta["val"] for node in places]
    mode = next(value.fake_mode for value in values if hasattr(value, "fake_mode"))
    with torch.no_grad(), enable_python_dispatcher():  # torch's own matmul would fix free sizes
        FakeTensorProp(module, mode).propagate_dont_convert_inputs(*values)

"""A captured program in 16 bits: weights and currents; membranes stay in float32."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule, Node

from neurokit.program.nodes import NEURONS, is_op
from neurokit.program.walk import fetch, store

if TYPE_CHECKING:
    from neurokit.capture import Captured


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
                rounded = graph.call_function(torch.ops.aten.to.dtype, (node, dtype))
            node.replace_all_uses_with(rounded, delete_user_cb=lambda user, own=rounded: user is not own)
    (output,) = (node for node in graph.nodes if node.op == "output")
    output.args = (tuple(_as_before(graph, output, value) for value in output.args[0]),)
    module.recompile()
    _look_again(module, places)


def _as_before(graph: Any, output: Node, value: Any) -> Any:
    """Returns an output in the type that it had."""
    if not isinstance(value, Node) or value.meta["val"].dtype != torch.float32:
        return value
    with graph.inserting_before(output):
        return graph.call_function(torch.ops.aten.to.dtype, (value, torch.float32))


def _look_again(module: GraphModule, places: list[Node]) -> None:
    """Notes anew what type every value has."""
    from torch._dispatch.python import enable_python_dispatcher
    from torch.fx.passes.fake_tensor_prop import FakeTensorProp

    values = [node.meta["val"] for node in places]
    mode = next(value.fake_mode for value in values if hasattr(value, "fake_mode"))
    with torch.no_grad(), enable_python_dispatcher():  # torch's own matmul would fix free sizes
        FakeTensorProp(module, mode).propagate_dont_convert_inputs(*values)

"""Refuses programs that do not read what they are given."""

from __future__ import annotations

from torch import nn

from neurokit.capture.dict_input import FromDict
from neurokit.capture.types import Captured
from neurokit.errors import Unsupported, UnsupportedError


def refuse_unread(captured: Captured, net: nn.Module) -> None:
    """Refuses a program whose outputs depend on no input, and a named part of a dict that its forward never reads.

    Args:
        captured: The capture of one graph.
        net: The module that it was traced of.

    Raises:
        UnsupportedError: Names the inputs.
    """
    names = captured.program.graph_signature.user_inputs[: len(captured.inputs)]
    read = {str(node.target) for node in captured.program.graph.nodes if node.op == "placeholder" and node.users}
    unread = [port.name for port, name in zip(captured.inputs, names, strict=True) if name not in read]
    if not unread or (len(unread) < len(names) and not isinstance(net, FromDict)):
        return
    which = ", ".join(unread)
    why = f"its outputs depend on none of its inputs ({which})" if len(unread) == len(names) else f"it reads no {which}"
    fix = "give the inputs that its forward reads, by the names that it asks for"
    reason = Unsupported("", type(net).__name__, why, fix)
    raise UnsupportedError(f"model {captured.spec.name!r} does not read what it is given", [reason])

"""What a trace computes with free sizes, computed once: torch asks for the same sums and products for every tensor.

Of every tensor with a free size torch computes how much memory it takes, how it lies there and whether it is empty,
from its sizes and strides: tens of thousands of sums, products and comparisons of a few hundred expressions. What the
same operation gave for the same two expressions, while nothing new is known of the sizes, it gives again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.fx.experimental import sym_node
from torch.fx.experimental.proxy_tensor import get_proxy_mode

_OPERATIONS = ("add", "sub", "mul", "eq", "ne", "lt", "le", "gt", "ge")


@contextmanager
def quick_sums() -> Iterator[None]:
    """Traces with what was computed of sizes at hand; where the torch that is installed has no such place, without."""
    place: Any = sym_node.SymNode
    known = {name: getattr(place, name, None) for name in _OPERATIONS}
    made: dict[Any, Any] = {}
    for name, operation in known.items():
        if operation is not None:
            setattr(place, name, _once(name, operation, made))
    try:
        yield
    finally:
        for name, operation in known.items():
            if operation is not None:
                setattr(place, name, operation)


def _once(name: str, operation: Callable[[Any, Any], Any], made: dict[Any, Any]) -> Callable[[Any, Any], Any]:
    def quick(node: Any, other: Any) -> Any:
        env = node.shape_env
        try:
            key = (name, node._expr, other._expr, node.pytype, other.pytype, env._version_counter, id(env))
            found = made.get(key)
        except (AttributeError, TypeError):
            return operation(node, other)
        if get_proxy_mode() is not None:  # there it is a node of the graph
            return operation(node, other)
        if found is None:
            found = made[key] = operation(node, other)
        return found

    return quick

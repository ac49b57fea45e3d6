"""Functions whose slope has no limit, and places of the largest: rounding moves them as their numbers say.

The magnitude of -z is z, and e to it may be infinite where e to -z is small; a quotient by a magnitude is smaller than
the quotient. So the reference's own numbers are computed where such a function reads them, and what it may give on
either side of them is its error.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.parity.magnitudes import Magnitude, gamma, size_of
from neurokit.program.nodes import ancestors
from neurokit.program.ops import Kind, kind_of, names_of
from neurokit.program.walk import fetch, leaves, mapped, once

_MONOTONE = frozenset(("exp", "exp2", "expm1", "log", "log1p", "log2", "sqrt", "rsqrt", "reciprocal", "square"))
_CHOOSES = frozenset(("argmax", "argmin"))
_ROUNDINGS = 64  # of a function of a library, as for every operation outside of the analysis
_OWN = 8.0  # roundings that the function adds itself
_BOTH = 2.0  # the reference's number is off, and so is another implementation's

Numbers = Mapping[Node, tuple[Tensor, ...]]


def is_curved(node: Node) -> bool:
    """Returns whether a node is a quotient by what is computed, an exponential, root, logarithm, power or a place."""
    if node.op != "call_function" or not node.args or not isinstance(node.args[0], Node):
        return False
    if kind_of(node.target) is Kind.DIVIDE:
        by_node = len(node.args) > 1 and isinstance(node.args[1], Node) and node.args[1].op != "get_attr"
        return by_node and not node.kwargs.get("rounding_mode")
    name = names_of(node.target)[1].rstrip("_")
    if name in _CHOOSES:
        return True
    if name == "pow":  # estimated by the largest element, which in a code of distances is far from the others
        return isinstance(node.args[1], int) and node.args[1] > 0
    return kind_of(node.target) is Kind.FUNCTION and name in _MONOTONE


def numbers(module: GraphModule, forced: Sequence[Tensor], inputs: Sequence[Any], steps: bool) -> Numbers:
    """Returns what the curved functions of a program read, under the reference's spikes.

    Args:
        module: The program as a graph module.
        forced: What every neuron node puts out, in order.
        inputs: The program's inputs.
        steps: Whether `forced` holds what rare neurons put out, too.

    Returns:
        The operands by node; functions behind what is not known (a last membrane, a loop) are left out.
    """
    curved = once(module, "curved", lambda: [node for node in module.graph.nodes if is_curved(node)])
    if not curved:
        return {}
    needed, known = ancestors(curved), dict[Node, Any]()
    given, outputs = iter(inputs), iter(forced)
    for node in module.graph.nodes:
        if node.op == "placeholder":
            known[node] = next(given)
        elif node.op == "get_attr":
            known[node] = fetch(module, str(node.target)) if node in needed else None
        elif node.op == "call_function":
            kind = kind_of(node.target)
            if kind is Kind.NEURON or (steps and kind is Kind.STEPWISE):
                known[node] = (next(outputs), None)
            elif node in needed and kind not in (Kind.STEPWISE, None) and names_of(node.target)[1] != "scan":
                known[node] = _computed(node, known)
    found = {node: _operands(node, known) for node in curved}
    return {node: values for node, values in found.items() if values}


def _computed(node: Node, known: Mapping[Node, Any]) -> Any:
    """Returns what an operation gives, or None where something that it reads is not known."""
    args, kwargs = (
        mapped(lambda v: known.get(v) if isinstance(v, Node) else v, part) for part in (node.args, node.kwargs)
    )
    named = zip(leaves((node.args, node.kwargs)), leaves((args, kwargs)), strict=False)
    if any(isinstance(was, Node) and value is None for was, value in named):
        return None
    with torch.no_grad():
        return node.target(*args, **kwargs)  # type: ignore[operator]


def _operands(node: Node, known: Mapping[Node, Any]) -> tuple[Tensor, ...]:
    count = 2 if kind_of(node.target) is Kind.DIVIDE else 1
    values = [known.get(v) if isinstance(v, Node) else v for v in node.args[:count]]
    if not all(isinstance(value, Tensor) for value in values):
        return ()
    return tuple(values)  # type: ignore[arg-type]


def curve(target: Any, args: Sequence[Any], values: Sequence[Tensor], unit: float) -> Magnitude:
    """Returns the magnitude of a curved function's result.

    Args:
        target: The function.
        args: Its arguments, magnitudes among them.
        values: The reference's numbers in their place.
        unit: Unit roundoff of the program.
    """
    errors = [_BOTH * _error(arg, unit) for arg in args[: len(values)]]
    exact = [value.double() for value in values]
    if names_of(target)[1] in _CHOOSES:
        return _place(target, args, values[0], errors[0], unit)
    quotient = kind_of(target) is Kind.DIVIDE
    made, off = _quotient(*exact, *errors) if quotient else _function(target, exact[0], errors[0], args[1:])
    # Numbers below the smallest normal one may be taken for 0.
    off = off + _OWN * unit * made.abs() + torch.finfo(values[0].dtype).tiny
    count = _ROUNDINGS + max(arg.roundings if isinstance(arg, Magnitude) else 0 for arg in args[: len(values)])
    size = torch.maximum(made.abs(), off / gamma(count, unit)).nan_to_num(nan=torch.inf, posinf=torch.inf)
    return Magnitude(size.to(values[0].dtype), count, rigorous=False)


def _place(target: Any, args: Sequence[Any], value: Tensor, off: Tensor, unit: float) -> Magnitude:
    """Returns the magnitude of the place of a largest or smallest element, which may be that of others as near."""
    axis = args[1] if len(args) > 1 else None
    kept = len(args) > 2 and args[2]
    made = target(value, *args[1:])
    x = value.double() if names_of(target)[1] == "argmax" else -value.double()
    off = off.expand(x.shape)
    x, off, places = (x.flatten(), off.flatten(), made.flatten()) if axis is None else (x, off, made)
    axis = 0 if axis is None else axis
    places = places if kept and places.dim() == x.dim() else places.reshape(x.amax(axis).shape).unsqueeze(axis)
    best = x.gather(axis, places) - off.gather(axis, places)
    line = [1] * x.dim()
    line[axis] = -1
    away = (torch.arange(x.shape[axis]).reshape(line) - places).abs() * (x + off >= best)
    most = away.amax(axis, keepdim=True).reshape(made.shape).double()
    return Magnitude(most / gamma(_ROUNDINGS, unit), _ROUNDINGS, rigorous=False)


def _error(value: Any, unit: float) -> Tensor:
    if isinstance(value, Magnitude):
        return replace(value, size=value.size.double(), unit=unit).error()
    return torch.zeros_like(size_of(value), dtype=torch.float64)


def _quotient(a: Tensor, b: Tensor, off_a: Tensor, off_b: Tensor) -> tuple[Tensor, Tensor]:
    made, least = a / b, b.abs() - off_b
    off = (off_a + made.abs() * off_b) / least
    return made, torch.where(least > 0, off, torch.inf)


def _function(target: Any, x: Tensor, off: Tensor, more: Sequence[Any]) -> tuple[Tensor, Tensor]:
    made = target(x, *more)
    sides = torch.maximum((target(x + off, *more) - made).abs(), (made - target(x - off, *more)).abs())
    through = (x.abs() <= off) & (names_of(target)[1].startswith("reciprocal"))
    return made, torch.where(sides.isnan() | through, torch.inf, sides)

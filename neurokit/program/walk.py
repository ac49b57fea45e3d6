"""The one walk over a captured program, on values of another kind: bounds, ranges, recorded currents.

A `Walker` runs every operation in order. What it does with one is a rule for the operation's kind (see
`neurokit.program.ops`); sizes and constants are computed as they are.
"""

from __future__ import annotations

import copy
import operator
import warnings
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from torch import Tensor, nn
from torch.fx import GraphModule, Interpreter, Node

from neurokit.program.keywords import allow_keywords
from neurokit.program.ops import Kind, kind_of

allow_keywords()

#: A rule: (walker, target, arguments, keyword arguments) -> result, or None where it does not know this case.
Rule = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]


def leaves(value: Any) -> list[Any]:
    """Returns everything in arguments of an operation, which are nested in tuples, lists and dicts alone."""
    if isinstance(value, tuple | list):
        return [leaf for part in value for leaf in leaves(part)]
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in leaves(part)]
    return [value]


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Returns arguments of an operation with a function applied to everything in them, nested as before."""
    if isinstance(value, tuple):
        return tuple(mapped(function, part) for part in value)
    if isinstance(value, list):
        return [mapped(function, part) for part in value]
    if isinstance(value, dict):
        return {key: mapped(function, part) for key, part in value.items()}
    return function(value)


class Walker(Interpreter):
    """Runs a program's graph module on values of another kind.

    Subclasses give `rules`, and say which values are theirs (`is_value`), what a layer of neurons becomes
    (`neuron`), and what an operation without a rule becomes (`unknown`).

    Args:
        module: The program as a graph module.

    Attributes:
        node: The node that is being run.
    """

    rules: ClassVar[Mapping[Kind, Rule]] = {}

    def __init__(self, module: GraphModule) -> None:
        super().__init__(module)
        self.node: Any = None

    def run_node(self, n: Node) -> Any:
        """Remembers which node is run."""
        self.node = n
        return super().run_node(n)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Applies the rule of an operation's kind."""
        kind = kind_of(target)
        if kind is Kind.NEURON:
            return self.neuron(target, args, kwargs)
        if not any(map(self.is_value, leaves((args, kwargs)))):
            return super().call_function(target, args, kwargs)
        if kind in (Kind.SIZE, Kind.CREATE):
            return super().call_function(target, *mapped(self.plain, (args, kwargs)))
        if target is operator.getitem and not self.is_value(args[0]):  # of an operation's several results
            return args[0][args[1]]
        rule = None if kind is None else self.rules.get(kind)
        made = None if rule is None else rule(self, target, args, kwargs)
        return self.unknown(target, args, kwargs) if made is None else made

    def call_module(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Skips the guards that torch.export adds; a captured program holds no other modules."""
        return None

    def is_value(self, value: Any) -> bool:
        """Returns whether an argument is one that rules are for."""
        return False

    def plain(self, value: Any) -> Any:
        """Returns a tensor of a value's shape, for what reads sizes alone."""
        return value

    def neuron(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what a layer of neurons puts out."""
        return Interpreter.call_function(self, target, args, kwargs)

    def unknown(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns what an operation puts out that no rule covers."""
        raise NotImplementedError(f"{type(self).__name__} has no rule for {target}")


class PlainWalker(Walker):
    """A walker that nothing traces: it leaves out what torch notes of every node for traces, half of a walk's time."""

    def run_node(self, n: Node) -> Any:
        """Runs a node."""
        self.node = n
        args, kwargs = self.fetch_args_kwargs_from_env(n)
        return getattr(self, n.op)(n.target, args, kwargs)

    def get_attr(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Returns the tensor at a dotted path."""
        return operator.attrgetter(target)(self.module)


def without_guards(module: GraphModule) -> GraphModule:
    """Removes the guards that torch.export adds as modules, in place; returns the module."""
    for node in list(module.graph.nodes):
        if node.op == "call_module":
            module.graph.erase_node(node)
    module.recompile()
    return module


_REQUIRED: Any = object()


def copied(module: GraphModule) -> GraphModule:
    """Returns a deep copy of a program's module, without torch's warning of how its own tree specs are copied."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return copy.deepcopy(module)


def fetch(module: nn.Module, path: str, default: Any = _REQUIRED) -> Any:
    """Returns the tensor at a dotted path, or `default` where there is nothing, if one is given."""
    found: Any = module
    for name in path.split("."):
        found = getattr(found, name) if default is _REQUIRED else getattr(found, name, default)
    return found


def store(module: nn.Module, path: str, value: Tensor) -> None:
    """Puts a tensor at a dotted path, as a parameter without gradient."""
    *parents, name = path.split(".")
    for parent in parents:
        if not hasattr(module, parent):
            module.add_module(parent, nn.Module())
        module = getattr(module, parent)
    if name in module._buffers:
        del module._buffers[name]
    setattr(module, name, nn.Parameter(value.detach().clone(), requires_grad=False))

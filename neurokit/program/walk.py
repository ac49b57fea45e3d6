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
from torch.fx.node import map_arg

from neurokit.program.keywords import allow_keywords
from neurokit.program.ops import Kind, kind_of

allow_keywords()

#: A rule: (walker, target, arguments, keyword arguments) -> result, or None where it does not know this case.
Rule = Callable[[Any, Any, tuple[Any, ...], dict[str, Any]], Any]


def leaves(value: Any) -> list[Any]:
    """Returns everything in arguments of an operation, which are nested in tuples, lists and dicts alone."""
    if isinstance(value, dict):
        value = value.values()
    elif not isinstance(value, tuple | list):
        return [value]
    found: list[Any] = []
    for part in value:
        if isinstance(part, tuple | list | dict):
            found += leaves(part)
        else:
            found.append(part)
    return found


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """Returns arguments of an operation with a function applied to everything in them, nested as before."""
    if isinstance(value, tuple):
        return tuple(mapped(function, part) for part in value)
    if isinstance(value, list):
        return [mapped(function, part) for part in value]
    if isinstance(value, dict):
        return {key: mapped(function, part) for key, part in value.items()}
    return function(value)


class Kept:
    """What was made of a program's constants, for the next walk.

    Attributes:
        constants: The constants themselves, by their paths.
        found: What was made of them, by what it is.
        room: How many numbers more are kept.
    """

    def __init__(self) -> None:
        self.constants: dict[str, Any] = {}
        self.found: dict[Any, Any] = {}
        self.room = 2**28  # 1 GiB of float32

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Returns what was kept, or makes it and keeps it where there is room."""
        if key in self.found:
            return self.found[key]
        made = make()
        size = sum(leaf.numel() for leaf in leaves(made) if isinstance(leaf, Tensor))
        if size <= self.room:
            self.room -= size
            self.found[key] = made
        return made


def once(module: Any, key: Any, make: Callable[[], Any]) -> Any:
    """Returns what is made of a program alone; a module that keeps it (`Readable`) makes it once for all walks."""
    kept: Kept | None = vars(module).get("kept")
    return make() if kept is None else kept.once(key, make)


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
        if not any(map(self.is_value, args)) and not any(map(self.is_value, leaves((args, kwargs)))):
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

    def once(self, key: Any, make: Callable[[], Any]) -> Any:
        """Returns what is made of the program's constants alone: `once`."""
        return once(self.module, key, make)

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

    def __init__(self, module: GraphModule) -> None:
        self.module, self.graph, self.node = module, module.graph, None

    def run(self, *inputs: Any, **_: Any) -> Any:
        """Runs the program on its inputs; what nothing reads any more is let go."""
        given, known = iter(self.graph.process_inputs(*inputs)), dict[Node, Any]()
        result: Any = None
        constants = (vars(self.module).get("kept") or Kept()).constants
        for node, done in last_reads(self.module):
            self.node, kind = node, node.op
            if kind == "placeholder":
                known[node] = next(given)
            elif kind == "get_attr":
                if (path := str(node.target)) not in constants:
                    constants[path] = operator.attrgetter(path)(self.module)
                known[node] = constants[path]
            elif kind == "output":
                result = map_arg(node.args[0], known.__getitem__)
            else:
                args = map_arg(node.args, known.__getitem__)
                kwargs = map_arg(node.kwargs, known.__getitem__) if node.kwargs else {}
                known[node] = getattr(self, kind)(node.target, args, kwargs)
            for read in done:
                del known[read]
        return self.graph.process_outputs(result)


def last_reads(module: Any) -> list[tuple[Node, list[Node]]]:
    """Returns the nodes of a program in order, each with those that it is the last to read.

    A module that keeps its graph as it is (`readable.Readable`) holds the answer for the next walk.
    """
    kept: list[tuple[Node, list[Node]]] | None = vars(module).get("last_reads")
    if kept is not None:
        return kept
    found, seen = [], set[Node]()
    for node in reversed(module.graph.nodes):
        done = [read for read in node.all_input_nodes if read not in seen]
        seen.update(done)
        found.append((node, done))
    found.reverse()
    if "last_reads" in vars(module):
        module.last_reads = found
    return found


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

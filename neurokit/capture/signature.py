"""How a graph's ports are bound to its function: arguments in, leaves of what it returns out, each under its name."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.dims import Dim, Size, evaluate
from neurokit.errors import ModelLoadError, Unsupported, UnsupportedError
from neurokit.spec import GraphSpec, StateSpec

_NEXT = ("{}", "new_{}", "next_{}", "{}_out", "{}_next")  # names under which a function may return a state


class Signature:
    """Calls one graph of a module with tensors in the order of its ports, and returns tensors in that order.

    Args:
        graph: The ports.
        net: The module.

    Attributes:
        output_names: Names of the outputs; known after the first call.

    Raises:
        ModelLoadError: If the module has no such method.
        UnsupportedError: If the method does not take such arguments.
    """

    def __init__(self, graph: GraphSpec, net: nn.Module) -> None:
        self.graph = graph
        self.net = net
        if not callable(getattr(net, graph.method, None)):
            raise ModelLoadError(
                f"{type(net).__name__} has no method {graph.method!r}, which graph {graph.name!r} names",
                expected="a method of the module",
            )
        self.names = tuple(port.name for port in (*graph.inputs, *graph.states))
        self._template = self._bound()
        self.output_names: tuple[str, ...] = ()
        self._places: tuple[int, ...] = ()  # which leaves are outputs, then which are states

    def call(self, values: Sequence[Tensor], net: nn.Module | None = None) -> tuple[Tensor, ...]:
        """Runs the function.

        Args:
            values: Inputs and states, in the order of the ports.
            net: The module as whoever calls holds it: torch.export names what a module runs by how it was reached.

        Returns:
            The outputs, then the new states.

        Raises:
            UnsupportedError: If it does not return what the ports say.
        """
        args, kwargs = _filled(self._template, dict(zip(self.names, values, strict=True)))
        # A module's forward is called by way of the module: its parametrisations are hooks.
        net = self.net if net is None else net
        function = net if self.graph.method == "forward" else getattr(net, self.graph.method)
        leaves = list(named_leaves(function(*args, **kwargs)))
        if not self._places:
            self._find_places([name for name, _ in leaves])
        if not leaves:
            raise self._refusal(
                f"it returns no tensor here and {len(self._places)} elsewhere: with so few steps it makes no output",
                "use the sequence form (target onnx)",
            )
        if max(self._places, default=0) >= len(leaves):
            raise self._refusal(
                f"it returns {len(leaves)} outputs here and {len(self._places)} elsewhere, as a list of steps does",
                "return the steps as one tensor: torch.stack(outputs)",
            )
        return tuple(leaves[place][1] for place in self._places)

    def _function(self) -> Any:
        return getattr(self.net, self.graph.method)

    def _bound(self) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Returns positional and keyword arguments with names of ports for tensors."""
        given = self.graph.arguments
        parameters = _parameters(self._function())
        if given is not None:
            template = ((), dict(given)) if isinstance(given, Mapping) else (tuple(given), {})
            used = list(_leaves(template))
            wrong = sorted(set(used) ^ set(self.names)) or sorted({n for n in used if used.count(n) > 1})
            if wrong:
                raise self._refusal(
                    f"its arguments and its ports differ in {wrong[0]!r}", "name every port once in `arguments`"
                )
        elif len(self.names) > 1 and parameters is not None and set(self.names) <= set(parameters.parameters):
            template = ((), {name: name for name in self.names})
        else:
            template = (self.names, {})
        if parameters is not None:
            try:
                parameters.bind(*template[0], **template[1])
            except TypeError as error:
                takes = ", ".join(parameters.parameters) or "nothing"
                raise self._refusal(
                    f"{self.graph.method}({takes}) does not take its ports {', '.join(self.names)} ({error})",
                    "name the ports as the parameters, or state `arguments`",
                ) from error
        return template

    def _find_places(self, found: list[str]) -> None:
        """Decides which leaves are outputs and which are states.

        Args:
            found: Names of the leaves, as the function's dict or dataclass names them.
        """
        states = self._state_places(found)
        rest = [place for place in range(len(found)) if place not in states]
        declared = self.graph.output_names
        if declared and set(declared) <= {found[place] for place in rest}:
            rest = [found.index(name) for name in declared]
        elif declared and len(declared) != len(rest):
            raise self._refusal(
                f"it returns {len(rest)} output(s) ({', '.join(found[place] for place in rest)}), "
                f"and {len(declared)} are declared ({', '.join(declared)})",
                "declare every output, in order",
            )
        if not rest:
            raise self._refusal("it returns no tensor", "let it return at least one output")
        own = (found[place] for place in rest)
        self.output_names = declared or tuple(f"{name}_out" if name in self.names else name for name in own)
        clash = sorted(set(self.output_names) & set(self.names))
        if clash:
            raise self._refusal(f"an output and an input are both named {clash[0]!r}", "declare `outputs` by name")
        self._places = (*rest, *states)

    def _state_places(self, found: list[str]) -> list[int]:
        wanted = [state.name for state in self.graph.states]
        names = [[n for n in (form.format(name) for form in _NEXT) if n in found] for name in wanted]
        if all(names):
            return [found.index(hits[0]) for hits in names]
        missing = [name for name, hits in zip(wanted, names, strict=True) if not hits]
        if any(names) or len(found) <= len(wanted):
            raise self._refusal(
                f"it returns {', '.join(found) or 'no tensor'}, and not the new value of state {missing[0]!r}",
                "return the states under their names, or after the outputs in their order",
            )
        return list(range(len(found) - len(wanted), len(found)))

    def _refusal(self, why: str, fix: str) -> UnsupportedError:
        name = type(self.net).__name__
        return UnsupportedError(
            f"graph {self.graph.name!r} of {name} cannot be captured", [Unsupported("", name, why, fix)]
        )


def wrong_state(state: StateSpec, value: Tensor, lead: tuple[Size, ...], values: Mapping[str, int]) -> str:
    """Returns why a state does not come back as it was declared, or "".

    Args:
        state: The declaration.
        value: What the function returned.
        lead: Sizes of the axes before its own: the batch.
        values: The sizes of all free axes before the call.
    """
    wanted = [evaluate(size, values) for size in (*lead, *state.next_sizes)]
    dtype = str(value.dtype).removeprefix("torch.")
    if [int(size) for size in value.shape] == wanted and dtype == state.dtype:
        return ""
    sizes = ", ".join(str(size) for size in (*lead, *state.next_sizes))
    return f"state {state.name!r} comes back as {list(value.shape)} {dtype}, declared [{sizes}] {state.dtype}"


def named_leaves(value: Any) -> Iterator[tuple[str, Tensor]]:
    """Yields every tensor of what a module returned, with its name.

    A tensor has the path of keys, fields and places that leads to it, "cache_0_key"; one that is reached by places
    alone is "y", "y1", "y2" and so on, by its place among all tensors. What is no tensor is left out.
    """
    taken: set[str] = set()
    for at, (path, tensor) in enumerate(_paths(value, ())):
        plain = all(isinstance(part, int) for part in path)
        name = (f"y{at}" if at else "y") if plain else re.sub(r"\W", "_", "_".join(str(part) for part in path))
        own, count = name, 1
        while name in taken:  # "a.b" and "a_b" are one name here
            count += 1
            name = f"{own}_{count}"
        taken.add(name)
        yield name, tensor


def _paths(value: Any, path: tuple[Any, ...]) -> Iterator[tuple[tuple[Any, ...], Tensor]]:
    parts: Any = ()
    if isinstance(value, Tensor):
        yield path, value
    elif isinstance(value, Mapping):
        parts = value.items()
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = [(field.name, getattr(value, field.name)) for field in dataclasses.fields(value)]
    elif isinstance(value, tuple) and hasattr(value, "_fields"):
        parts = zip(value._fields, value, strict=True)
    elif isinstance(value, list | tuple):
        parts = enumerate(value)
    elif (leaves := torch.utils._pytree.tree_leaves(value)) != [value]:  # a class that its owner registered
        parts = enumerate(leaves)
    for key, part in parts:
        yield from _paths(part, (*path, key))


def _parameters(function: Any) -> inspect.Signature | None:
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):  # a scripted or built-in function shows none
        return None


def _leaves(template: Any) -> Iterator[str]:
    if isinstance(template, str):
        yield template
    elif isinstance(template, Mapping):
        for part in template.values():
            yield from _leaves(part)
    elif isinstance(template, list | tuple):
        for part in template:
            yield from _leaves(part)


def _filled(template: Any, values: Mapping[str, Tensor]) -> Any:
    """Returns a template with tensors for the names of ports; what is no name of one stays as it is."""
    if isinstance(template, str):
        return values[template]
    if isinstance(template, Mapping):
        return {key: _filled(part, values) for key, part in template.items()}
    if isinstance(template, list | tuple):
        return type(template)(_filled(part, values) for part in template)
    return template


def batch_and_time(timed: bool, steps: int | str | None, batch: int | str) -> tuple[Size, ...]:
    """Returns the sizes of the axes before a port's own: time, where it has that, and the batch."""
    sizes: list[Size] = [batch if isinstance(batch, int) else Dim("B") + 0]
    if timed and steps is not None:
        sizes.insert(0, steps if isinstance(steps, int) else Dim("T") + 0)
    return tuple(sizes)

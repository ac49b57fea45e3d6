"""What models may have beyond one input of fractions, and refusals that say what something does not take of it."""

from __future__ import annotations

from collections.abc import Collection

from neurokit.errors import Unsupported, UnsupportedError
from neurokit.spec import ModelSpec

# What models may have beyond one input of fractions whose sizes are numbers, and how a reason says it.
PORT_TRAITS = {
    "graphs": "several graphs",
    "inputs": "several inputs",
    "states": "declared states",
    "dims": "free axes",
    "dtypes": "inputs of whole numbers or booleans",
}


def needs_of(spec: ModelSpec) -> dict[str, str]:
    """Returns what a model has of `PORT_TRAITS`, each with the names of what has it."""
    graphs = spec.graphs or (spec.as_graph(),)
    inputs = [port for graph in graphs for port in graph.inputs]
    found = {
        "graphs": [graph.name for graph in graphs] if len(graphs) > 1 else [],
        "inputs": [port.name for port in inputs] if any(len(graph.inputs) > 1 for graph in graphs) else [],
        "states": [state.name for graph in graphs for state in graph.states],
        "dims": list(dict.fromkeys(name for graph in graphs for name in graph.dims)),
        "dtypes": [f"{port.name} {port.dtype}" for port in inputs if "float" not in port.dtype],
    }
    return {trait: ", ".join(names) for trait, names in found.items() if names}


def not_taken(spec: ModelSpec, takes: Collection[str], what: str, fix: str) -> list[Unsupported]:
    """Returns every reason why something that takes only some traits does not take a model.

    Args:
        spec: The model.
        takes: Which of `PORT_TRAITS` it takes.
        what: What that is, as the subject of a sentence.
        fix: What to do instead.
    """
    return [
        Unsupported("", spec.name, f"it has {PORT_TRAITS[trait]} ({names}), and {what} takes none", fix)
        for trait, names in needs_of(spec).items()
        if trait not in takes
    ]


def refuse_ports(spec: ModelSpec, takes: Collection[str], what: str, fix: str) -> None:
    """Refuses a model whose ports something does not take.

    Raises:
        UnsupportedError: If so; lists every reason.
    """
    reasons = not_taken(spec, takes, what, fix)
    if reasons:
        raise UnsupportedError(f"{what} cannot take model {spec.name!r}", reasons)

"""A captured program as what walkers run: its graph with the weights as attributes, and nothing around it."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.graph_signature import InputKind, OutputKind
from torch.fx import Graph, GraphModule, Node

from neurokit.program.walk import Kept, fetch


class Readable(nn.Module):
    """Holds a graph and the tensors that it names; it has no forward of its own.

    Attributes:
        graph: The operations, on the program's inputs in their order; once it is walked it stays as it is.
        last_reads: What `neurokit.program.walk.last_reads` found of it.
        kept: What walks made of its constants alone (`neurokit.program.walk.Walker.once`).
    """

    def __init__(self) -> None:
        super().__init__()
        self.graph = Graph()
        self.last_reads: Any = None
        self.kept = Kept()


def readable(program: ExportedProgram) -> Any:
    """Returns a program as a module for `neurokit.program.walk.Walker` alone.

    `ExportedProgram.module` writes a forward, guards and a way of calling around the same graph, which a walk does not
    use and which take as long as running it does. A program that writes to its inputs is left to that.

    Args:
        program: The program. Its tensors are shared.
    """
    signature = program.graph_signature
    if any(spec.kind is not OutputKind.USER_OUTPUT for spec in signature.output_specs):
        return program.module()
    held, known = Readable(), {**program.constants, **program.state_dict}
    specs = iter(signature.input_specs)
    found: dict[Node, Node] = {}
    for node in program.graph.nodes:
        spec = next(specs) if node.op == "placeholder" else None
        if spec is not None and spec.kind is not InputKind.USER_INPUT:
            assert spec.target is not None
            _hold(held, spec.target, known[spec.target])
            found[node] = held.graph.get_attr(spec.target)
            found[node].meta = dict(node.meta)
            continue
        if node.op == "get_attr":  # the graph of a scan's step
            _hold(held, str(node.target), fetch(program.graph_module, str(node.target)))
        found[node] = held.graph.node_copy(node, found.__getitem__)
    return held


def called(module: Any) -> Any:
    """Returns what `readable` gave as a module that is called on the program's inputs; its tensors are shared."""
    return module if isinstance(module, GraphModule) else GraphModule(module, module.graph)


def _hold(module: nn.Module, path: str, value: Any) -> None:
    """Puts a tensor or module at a dotted path, as it is."""
    *parents, name = path.split(".")
    for parent in parents:
        if parent not in module._modules:
            module._modules[parent] = nn.Module()  # add_module raises and catches an error for every new name
        module = module._modules[parent]  # type: ignore[assignment]
    if isinstance(value, Tensor) and not isinstance(value, nn.Parameter):
        module._buffers[name] = value
    else:
        setattr(module, name, value)

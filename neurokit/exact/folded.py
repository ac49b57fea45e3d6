"""A folded program: its linear maps and neurons by number, and the tensors that its graph reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor
from torch.fx import GraphModule, Node

from neurokit.program.walk import fetch, store


@dataclass
class Folded:
    """A program whose linear maps and neurons can be addressed by number; the same numbers for every form.

    Attributes:
        module: The graph module, without batch normalisation.
        linears: Nodes of convolutions and linear maps, in order.
        names: Module path of each.
        neurons: Nodes of the neurons, in order.
        parameters: What changed in each neuron's parameters ("op" and scalars).
        scales: Nodes that multiply a sum by a constant of eight bits, in order: what comes of it is rounded again.
        placeholders: The placeholders, in order: inputs, then states.
        notes: What was approximated, one line each.
        divided: Places of the outputs that a factor multiplies last, which rounds them.
    """

    module: GraphModule
    linears: list[Node] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    neurons: list[Node] = field(default_factory=list)
    parameters: list[dict[str, Any]] = field(default_factory=list)
    scales: list[Node] = field(default_factory=list)
    placeholders: list[Node] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    divided: set[int] = field(default_factory=set)

    def weight(self, index: int) -> Tensor:
        """Returns the weight of a linear map."""
        return fetch(self.module, str(self.linears[index].args[1].target))  # type: ignore[union-attr]

    def bias(self, index: int) -> Tensor:
        """Returns the bias of a linear map; every one has one."""
        return fetch(self.module, str(self.linears[index].args[2].target))  # type: ignore[union-attr]

    def set(self, index: int, weight: Tensor, bias: Tensor) -> None:
        """Replaces weight and bias of a linear map."""
        for place, value in ((1, weight), (2, bias)):
            store(self.module, str(self.linears[index].args[place].target), value)  # type: ignore[union-attr]

"""A loop over time as one call, which torch.export traces as a scan."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, contiguous_format, nn
from torch.fx import Graph, GraphModule


def _laid_out(value: Tensor) -> Tensor:
    return value.clone(memory_format=contiguous_format)


def _apart(values: Sequence[Tensor], others: Sequence[Any]) -> list[Tensor]:
    """Returns first values as a scan takes them: contiguous, and none of them another one or what every step reads.

    `u = v = zeros` makes two of one tensor, and a rest from which a membrane starts is also where it is reset to.
    """
    known: list[Any] = list(others)
    made = []
    for value in values:
        again = any(value is one for one in known)
        made.append(value.clone(memory_format=contiguous_format) if again else value.contiguous())
        known.append(value)
    return made


class LoopCall:
    """A loop as one call: `(first values, sequences, others) -> (last values, outputs of every step)`.

    Args:
        body: One step: (carried values, values of this step, others) -> (carried values, outputs).
        carried: How many values are carried from step to step.
    """

    __name__ = "loop_over_time"

    def __init__(self, body: Graph, carried: int) -> None:
        self._body, self.carried = body, carried
        self._module: Any = GraphModule(nn.Module(), body)
        self.text = "\n".join(str(node.format_node()) for node in body.nodes)

    def __call__(self, first: Sequence[Tensor], sequences: Sequence[Tensor], others: Sequence[Any]) -> list[Tensor]:
        """Runs it."""
        from torch._higher_order_ops.scan import scan

        def combine(carry: list[Tensor], x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
            made = self._module(*carry, *x, *others)
            # A scan may not hand out an alias of what it carries, and what it carries lies in memory as at its start.
            return [_laid_out(v) for v in made[: self.carried]], [v.clone() for v in made[self.carried :]]

        last, outputs = scan(combine, _apart(first, others), list(sequences))
        return [*last, *outputs]

    def step(self, carried: Sequence[Tensor], given: Sequence[Tensor], others: Sequence[Any]) -> list[Tensor]:
        """Runs one step: values that are carried on, then outputs."""
        return list(self._module(*carried, *given, *others))

    def __eq__(self, other: object) -> bool:
        """Returns whether two loops do the same in a step."""
        return isinstance(other, LoopCall) and (self.text, self.carried) == (other.text, other.carried)

    def __hash__(self) -> int:
        """Returns a hash of what a step does."""
        return hash(self.text)

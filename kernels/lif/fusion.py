"""`lif` in a program: any common neuron with a number for every parameter, and one sum of equal shapes before it."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.fx import Node

from neurokit.kernels.lif.op import lif
from neurokit.program.fusions import FusedNeuron, Fusion, Match, Site, register_fusion, shape_of
from neurokit.program.ops import is_named

_TYPES = (torch.float32, torch.float16, torch.bfloat16)


class LifLayer(FusedNeuron):
    """Sum and neuron in one pass.

    Args:
        site: Where it is.
    """

    int8_places = (2,)

    def __init__(self, site: Site) -> None:
        super().__init__(site.neuron)
        self.kind, self.at_rest = site.node.meta["val"][0].dtype, site.at_rest
        self.keywords = site.keywords
        decay = self.keywords.pop("decay")  # which this kernel takes as a tensor
        # Of one element: a compiler makes a number of a constant without axes, and hands the kernel no tensor.
        self.register_buffer("decay", None if decay is None else torch.tensor([decay]))

    def forward(self, *given: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Runs the kernel on the current, or its two summands, from a membrane; at rest it needs to read none."""
        x, v0, *more = given
        last = x.dim() == 5 and not x.is_contiguous() and x[0].is_contiguous(memory_format=torch.channels_last)
        turned = (lambda y: y.movedim(-3, -1)) if last else (lambda y: y)
        spikes, v, current = lif(
            turned(x),
            None if self.at_rest else turned(v0),
            residual=turned(more[0]) if more else None,
            spikes="int8" if self.kind == torch.int8 else "same",
            want_v=not self.at_rest,
            want_current=self.want_current,
            decay=self.decay,
            **self.keywords,
        )
        back = (lambda y: y.movedim(-1, -3)) if last else (lambda y: y)
        handed = back(current) if self.want_current else current
        return self.results(back(spikes), v0.clone() if self.at_rest else back(v), handed, given)

    def plain(self, *given: Tensor) -> Tensor:
        """Returns the sum."""
        x, _, *residual = given
        return x + residual[0] if residual else x


def _match(site: Site) -> Match | str:
    current, before = site.current, site.node.args[1]
    dtype = current.meta["val"].dtype
    if dtype not in _TYPES or before.meta["val"].dtype != torch.float32:  # type: ignore[union-attr]
        return f"its current is {str(dtype).removeprefix('torch.')}"
    if is_named(current, ("add",)) and len(current.args) == 2 and not current.kwargs:
        summands = current.args
        if all(isinstance(one, Node) and shape_of(one) == shape_of(current) for one in summands):
            return Match(LifLayer(site), (summands[0], before, summands[1]), (current,), (current,))  # type: ignore[arg-type]
    return Match(LifLayer(site), (current, before), ())  # type: ignore[arg-type]


register_fusion(Fusion("lif", 40, _match))

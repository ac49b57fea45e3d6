"""Parts of a network that read their own values of the time step before; those values are their state."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from spikingjelly.activation_based import base, layer
from torch import Tensor, nn

Call = Callable[[str, Tensor], Tensor]
Tensors = tuple[Tensor, ...]


class Loop(base.MemoryModule):  # type: ignore[misc]
    """Runs its body step by step, each step with what the body fed back in the one before, zeros at first.

    The body itself takes any number of steps, so that with the fed-back values given it runs at once: it is the same
    network with the loop cut open.

    Attributes:
        parts: The modules that the body runs, by what it calls them.
        stepwise: Whether these take `[B, *shape]`; a body of several steps folds time into the batch for them.
    """

    parts: Mapping[str, nn.Module]
    stepwise = False

    def body(self, xs: Tensors, last: Tensors, call: Call) -> tuple[Tensors, Tensors]:
        """Runs `[T, B, *shape]` with the fed-back values of the steps before, each `[T, B, *shape]`.

        Args:
            xs: The inputs.
            last: The fed-back values.
            call: Runs a part, by its name, on a tensor; `run_part` does.

        Returns:
            The outputs, and the values that each step feeds back to the next.
        """
        raise NotImplementedError

    def sample_shape(self, index: int, xs: Tensors) -> tuple[int, ...]:
        """Returns the shape of one sample of a fed-back value."""
        raise NotImplementedError

    def start(self, xs: Tensors, states: Sequence[Any], lead: tuple[Any, ...]) -> Tensors:
        """Returns states as tensors `[*lead, *shape]`, for an input `[T, B, *shape]`."""
        return tuple(
            xs[0].new_full((*lead, *self.sample_shape(index, xs)), v) if isinstance(v, float) else v
            for index, v in enumerate(states)
        )

    def forward(self, *xs: Tensor, call: Call | None = None) -> Any:
        """Runs `[T, B, *shape]` (step mode "m") or `[B, *shape]` from the module's own states."""
        multi = self.step_mode == "m"
        given = xs if multi else tuple(x.unsqueeze(0) for x in xs)
        last = self.start(given, tuple(self._memories.values()), given[0].shape[1:2])
        ys, last, _ = self.unrolled(given, last, call or self.run_part)
        self._memories.update(zip(list(self._memories), last, strict=True))
        return self.returned(ys if multi else tuple(y.squeeze(0) for y in ys))

    def unrolled(self, xs: Tensors, last: Tensors, call: Call) -> tuple[Tensors, Tensors, list[Tensors]]:
        """Runs `[T, B, *shape]` step by step from fed-back values `[B, *shape]`.

        Returns:
            The outputs, the last values, and those that each step was given.
        """
        steps, feedback = [], []
        for t in range(xs[0].shape[0]):
            ys, fed = self.body(tuple(x[t : t + 1] for x in xs), tuple(v.unsqueeze(0) for v in last), call)
            feedback.append(last)
            last = tuple(v.squeeze(0) for v in fed)
            steps.append(ys)
        return tuple(torch.cat(ys) for ys in zip(*steps, strict=True)), last, feedback

    def run_part(self, name: str, x: Tensor) -> Tensor:
        """Runs one part, the identity where there is none of that name."""
        return self.parts[name](x) if name in self.parts else x

    def returned(self, ys: Tensors) -> Any:
        """Returns outputs as the module that it stands for does."""
        return ys


class GraphLoop(Loop):
    """A strongly connected component of a graph.

    Args:
        names: Its nodes, in the order of a step.
        feeds: Of every node, those that lead to it.
        late: Sources inside whose value of the step before each node reads, by node.
        delays: Nodes that are late as a whole: everyone reads their value of the step before.
        shapes: Shape of every node's output.
        exits: Nodes that something outside reads.
        modules: The module of each node that has one.
    """

    def __init__(
        self,
        names: Sequence[str],
        feeds: Mapping[str, Sequence[str]],
        late: Mapping[str, frozenset[str]],
        delays: frozenset[str],
        shapes: Mapping[str, tuple[int, ...]],
        exits: Sequence[str],
        modules: Mapping[str, nn.Module],
    ) -> None:
        super().__init__()
        self.names, self.exits, self.delays, self.late = tuple(names), tuple(exits), delays, dict(late)
        self.feeds = {name: tuple(feeds[name]) for name in names}
        inside = set(names)
        self.sources = tuple(sorted({s for sources in self.feeds.values() for s in sources} - inside))
        self.fed = tuple(sorted(delays.union(*self.late.values())))
        self.shapes = [shapes[name] for name in self.fed]
        self.parts = dict(modules)
        for number, name in enumerate(self.fed):
            safe = "".join(c if c.isalnum() or c == "_" else "_" for c in name)
            taken = f"last_{safe}" in self._memories
            self.register_memory(f"last_{safe}_{number}" if taken else f"last_{safe}", 0.0)
        self.step_mode = "m"

    def sample_shape(self, index: int, xs: Tensors) -> tuple[int, ...]:
        """Returns the shape of one sample of a fed-back value."""
        return self.shapes[index]

    def body(self, xs: Tensors, last: Tensors, call: Call) -> tuple[Tensors, Tensors]:
        """Runs every node once on `[T, B, *shape]`, through `call(name, x)`."""
        values = dict(zip(self.sources, xs, strict=True))
        old = dict(zip(self.fed, last, strict=True))
        made: dict[str, Tensor] = {}
        for name in self.names:
            given = [
                old[s] if s in self.late[name] or s in self.delays else values[s] if s in values else made[s]
                for s in self.feeds[name]
            ]
            total = given[0]
            for other in given[1:]:
                total = total + other
            made[name] = call(name, total)
        outputs = tuple(old[name] if name in self.delays else made[name] for name in self.exits)
        return outputs, tuple(made[name] for name in self.fed)


class Container(Loop):
    """One of SpikingJelly's recurrent containers: its module's output `y` is fed back."""

    stepwise = True

    def __init__(self, old: layer.ElementWiseRecurrentContainer | layer.LinearRecurrentContainer) -> None:
        super().__init__()
        self.sub_module = old.sub_module
        self.rc = getattr(old, "rc", None)
        self.element_wise_function: Any = getattr(old, "element_wise_function", None)
        self.features = getattr(old, "sub_module_out_features", 0)
        self.parts = dict(_chain("sub_module", self.sub_module))
        self.register_memory("y", 0.0)
        self.step_mode = old.step_mode

    def sample_shape(self, index: int, xs: Tensors) -> tuple[int, ...]:
        """Returns the shape of one sample of the output."""
        shape = tuple(xs[0].shape[2:])
        return shape if self.rc is None else (*shape[:-1], self.features)

    def body(self, xs: Tensors, last: Tensors, call: Call) -> tuple[Tensors, Tensors]:
        """Runs `[T, B, *shape]`, time folded into the batch."""
        x, old = xs[0].flatten(0, 1), last[0].flatten(0, 1)
        joined = self.element_wise_function(old, x) if self.rc is None else self.rc(torch.cat((x, old), dim=-1))
        for name in self.parts:
            joined = call(name, joined)
        y = joined.unflatten(0, xs[0].shape[:2])
        return (y,), (y,)

    def returned(self, ys: Tensors) -> Any:
        """Returns the output."""
        return ys[0]


class Recurrent(Loop):
    """A neuron that receives, beside its input, what a recurrent map makes of its own last spikes.

    Args:
        recurrent: The map.
        cell: The neuron, in single-step mode.
    """

    stepwise = True

    def __init__(self, recurrent: nn.Module, cell: nn.Module) -> None:
        super().__init__()
        self.recurrent, self.cell = recurrent, cell
        self.parts = {"recurrent": recurrent, "cell": cell}
        self.register_memory("spk", 0.0)
        self.step_mode = "s"

    def sample_shape(self, index: int, xs: Tensors) -> tuple[int, ...]:
        """Returns the shape of one sample of the spikes."""
        return tuple(xs[0].shape[2:])

    def body(self, xs: Tensors, last: Tensors, call: Call) -> tuple[Tensors, Tensors]:
        """Runs `[T, B, *shape]`, time folded into the batch."""
        x, old = xs[0].flatten(0, 1), last[0].flatten(0, 1)
        spikes = call("cell", x + call("recurrent", old)).unflatten(0, xs[0].shape[:2])
        return (spikes,), (spikes,)

    def returned(self, ys: Tensors) -> Any:
        """Returns the spikes."""
        return ys[0]


def _chain(path: str, module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Yields the modules that a sequence of modules runs one after the other, with their paths."""
    if type(module) is not nn.Sequential:
        yield path, module
        return
    for name, part in module.named_children():
        yield from _chain(f"{path}.{name}", part)

"""What a network of the test set is: how it is built, what it takes, and how its own library runs it."""

from collections.abc import Callable
from dataclasses import dataclass, is_dataclass
from typing import Any

import torch
from torch import nn


@dataclass(frozen=True)
class Network:
    """One network of the set.

    Attributes:
        name: Its name.
        build: Returns it, in evaluation mode.
        shape: Shape of one sample.
        time_steps: T as a user gives it, or None where the forward knows.
        by: How its library runs it: "sequence", "step" (one call a step), "state" (one call a step, which takes and
            returns the state) or "states" (the same, of several arguments).
        single: Whether the library itself makes single-precision states, so that it does not run in double.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    time_steps: int | None
    by: str = "sequence"
    single: bool = False


NETWORKS: dict[str, Network] = {}


def network(shape: tuple[int, ...], time_steps: int | None, *, name: str = "", by: str = "sequence", single=False):
    """Registers a factory under its own name."""

    def register(build: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
        entry = Network(name or build.__name__, build, shape, time_steps, by, single)
        assert entry.name not in NETWORKS
        NETWORKS[entry.name] = entry
        return build

    return register


def seeded(seed: int = 0) -> None:
    """Makes the weights of the network that is built next repeatable."""
    torch.manual_seed(seed)


_WEIGHTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


def boosted(module: nn.Module, gain: float = 3.0) -> nn.Module:
    """Returns a network in evaluation mode with larger weights, so that its neurons fire."""
    with torch.no_grad():
        for part in module.modules():
            if isinstance(part, _WEIGHTED):
                part.weight.mul_(gain)
    return module.eval()


def flat(value: Any) -> list[torch.Tensor]:
    """Returns the tensors of an output, in order."""
    if isinstance(value, torch.Tensor):
        return [value]
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return [leaf for part in value.values() for leaf in flat(part)]
    return [leaf for part in value for leaf in flat(part)] if isinstance(value, list | tuple) else []


def _in_double(_module: nn.Module, _inputs: Any, output: Any) -> Any:
    return torch.utils._pytree.tree_map(
        lambda value: value.double() if isinstance(value, torch.Tensor) and value.is_floating_point() else value, output
    )


def eager(entry: Network, x: torch.Tensor) -> list[torch.Tensor]:
    """Runs a network as its own library does, in double precision where it can."""
    net, hooks = entry.build(), []
    if not entry.single:
        net, x = net.double(), x.double()
        # snnTorch's surrogates give single precision
        hooks = [part.register_forward_hook(_in_double) for part in net.modules()]
    try:
        return _run(entry, net, x)
    finally:
        for hook in hooks:  # SpikingJelly's neurons share one surrogate, with all networks of a process
            hook.remove()


def _run(entry: Network, net: nn.Module, x: torch.Tensor) -> list[torch.Tensor]:
    with torch.no_grad():
        if entry.by == "sequence":
            return flat(net(x))
        steps, state = [], None
        for x_t in x:
            if entry.by == "states":
                y, *state = net(x_t, *(state or ()))
            elif entry.by == "state":
                y, state = net(x_t, state)
            else:
                y = net(x_t)
            steps.append(flat(y))
    return [torch.stack(values) for values in zip(*steps, strict=True)]

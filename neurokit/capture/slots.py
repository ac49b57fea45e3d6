"""The stateful modules of a twin, and its time axis, while it is run."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import nn

from neurokit.capture.neurons import Adapter, States
from neurokit.neurons.stepwise import Step


@dataclass
class Slot:
    """One stateful module of the twin while it is being run."""

    path: str
    module: nn.Module
    adapter: Adapter
    names: tuple[str, ...]
    initial: States
    values: States = ()
    calls: int = 0
    has_time: bool = True
    scanned: bool = False
    forgotten: bool = False
    uniform: bool = False  # output and states have the shapes of input and states before: seen in a dry run
    step: Step | None = None
    carried: bool = True  # whether a run begins with the state that the last one left
    seen: list[tuple[int, ...]] = field(default_factory=list)
    written: dict[str, Any] = field(default_factory=dict)  # what the user's code set before the first call, `[B, ...]`
    rewritten: bool = False  # whether it set one again before a later call
    starts: dict[str, Any] = field(default_factory=dict)  # initial values of one sample, where they are no reset value

    @property
    def op(self) -> str:
        """Operation in the program; a neuron inside of a scan has none."""
        return "decomposed" if self.scanned and self.adapter.op not in ("loop", "delay", "hidden") else self.adapter.op


@dataclass
class Timeline:
    """The time axis of the run in progress, as the neurons see it."""

    folded: bool = False
    steps: Any = 1


class Order(list[str]):
    """Paths of the stateful modules in the order in which they were run.

    torch.export puts a module's plain lists back to what they were before it traced; not one of a class of its own.
    """

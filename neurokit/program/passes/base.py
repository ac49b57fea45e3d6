"""What a pass is: its name, its rewrite, and the two conditions that are checked at every run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch.fx import GraphModule

#: Returns one line for everything that is not as it should be.
Condition = Callable[[GraphModule], list[str]]


class PassError(RuntimeError):
    """A pass met a program that it is not for, or did not do what it promises: a mistake in neurokit."""


def anything(module: GraphModule) -> list[str]:
    """The condition that every program meets."""
    return []


@dataclass(frozen=True)
class Pass:
    """A rewrite of a program's graph that leaves what it computes as it was, bit for bit unless it says otherwise.

    Attributes:
        name: What it does, in a few words.
        rewrite: Changes the graph in place.
        after: What holds when it has run.
        before: What must hold for it to run.
    """

    name: str
    rewrite: Callable[[GraphModule], None]
    after: Condition
    before: Condition = anything

    def __call__(self, module: GraphModule) -> None:
        """Runs the pass.

        Raises:
            PassError: If a condition does not hold.
        """
        self.rewritten(module)
        module.recompile()

    def rewritten(self, module: GraphModule) -> None:
        """Runs the pass over the graph alone; the module has to be recompiled behind the last of several.

        Raises:
            PassError: If a condition does not hold.
        """
        self._check(self.before(module), "cannot run")
        self.rewrite(module)
        module.graph.lint()
        self._check(self.after(module), "did not do its work")

    def _check(self, wrong: list[str], what: str) -> None:
        if wrong:
            raise PassError(f"pass {self.name!r} {what}: {'; '.join(wrong[:3])}")

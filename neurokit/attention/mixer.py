"""What a token mixer without softmax is: one equation in three forms, with a state of fixed size."""

from __future__ import annotations

from typing import ClassVar, TypeVar

from torch import Tensor

from neurokit.attention.pattern import Card
from neurokit.registry import Registry


class TokenMixer:
    """Mixes tokens with a state whose size does not depend on their number.

    A subclass is a frozen dataclass of its settings, registered under its card's name. All forms are one function.
    """

    card: ClassVar[Card]

    @classmethod
    def samples(cls) -> list[TokenMixer]:
        """Returns small instances for the contract tests."""
        raise NotImplementedError

    def start(self, q: Tensor, v: Tensor) -> Tensor:
        """Returns the state before the first token, for queries `[B, H, S, D]` and values `[B, H, S, Dv]`."""
        raise NotImplementedError

    def recurrent(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes token by token.

        Args:
            q: Queries `[B, H, S, D]`.
            k: Keys `[B, H, S, D]`.
            v: Values `[B, H, S, Dv]`.
            state: What is kept of the tokens before.

        Returns:
            Outputs `[B, H, S, Dv]` and the state after the last token.
        """
        raise NotImplementedError

    def block(self, q: Tensor, k: Tensor, v: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Mixes block by block: products inside of a block, the state between blocks; the same as `recurrent`."""
        return self.recurrent(q, k, v, state)

    def quadratic(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Mixes a whole sequence from rest by one matrix of weights, `[B, H, S, Dv]`."""
        raise NotImplementedError


_M = TypeVar("_M", bound=type[TokenMixer])

MIXERS: Registry[type[TokenMixer]] = Registry(
    "mixer", "neurokit.attention.mixers", "neurokit.mixers", command="neurokit list mixers"
)


def register_mixer(cls: _M) -> _M:
    """Registers a mixer class under its card's name; that gives it the contract tests and its row in the documents."""
    MIXERS.add(cls.card.name, cls)
    return cls

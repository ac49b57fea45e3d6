"""What a token of a language model costs: pairs, multiply-adds and bytes by its equations, and chips' prices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.reports.tokens import ChipTokens, PatternWork, TokenReport
from neurokit.spec import ModelSpec, TokenWork

if TYPE_CHECKING:
    from neurokit.hw_sim.chips.profile import HardwareProfile

# Counts of `TokenWork`: unit, and the term of a chip that is the price of one.
COUNTS = {
    "pairs": ("", ""),
    "products": ("", "product_operation"),
    "weighted": ("", "graded_event"),
    "read": ("B", ""),
    "written": ("B", ""),
}
SOURCE = "the model's equations (models/decoder/README.md)"
_NO_TERM = {
    "pairs": "a pair is priced by its products",
    "read": "no chip here states what a byte of a cache costs to read",
    "written": "no chip here states what a byte of a cache costs to write",
}
_MOST = 131_072  # tokens; the mean is a sum over all of them


def token_energy(spec: ModelSpec, tokens: int, chips: Sequence[HardwareProfile] = ()) -> TokenReport:
    """Counts what the last token of a text costs, and prices what chips have a price for.

    Args:
        spec: A language model.
        tokens: Tokens of the text, the counted one included.
        chips: Chips whose prices are asked.

    Raises:
        InputError: If the model says nothing of tokens, or cannot have so many.
    """
    if spec.token_work is None:
        raise InputError(
            f"model {spec.name!r} says nothing of tokens", expected="a language model", fix="leave --tokens out"
        )
    longest = spec.task.settings.get("longest", _MOST) if spec.task else _MOST
    most = min(longest if isinstance(longest, int) else _MOST, _MOST)
    if isinstance(tokens, bool) or not isinstance(tokens, int) or not 1 <= tokens <= most:
        raise InputError(f"{tokens!r} tokens of {spec.name!r}", expected=f"a whole number from 1 to {most:,}")
    last = spec.token_work(tokens - 1)
    whole = [spec.token_work(before) for before in range(tokens)]
    names = list(dict.fromkeys(work.pattern or work.part for work in last))
    patterns = tuple(
        PatternWork(
            name,
            sum((work.pattern or work.part) == name for work in last),
            _counted([work for work in last if (work.pattern or work.part) == name]),
            _mean(name, whole),
        )
        for name in names
    )
    total = _counted(list(last))
    return TokenReport(
        spec.name,
        tokens,
        patterns,
        total,
        _mean("", whole),
        tuple(_priced(chip, total) for chip in chips),
        (
            "caches and states are float32, and every byte that a step needs is read once",
            "norms, rotations, softmax and gates, a few operations a channel, are not counted",
            "a chip's prices hold at its own widths of weights and states, not at float32",
        ),
    )


def _counted(works: Sequence[TokenWork], share: float = 1.0) -> dict[str, Quantity]:
    return {
        name: Quantity.exact(sum(getattr(work, name) for work in works) * share, unit, "analytic", SOURCE)
        for name, (unit, _) in COUNTS.items()
    }


def _mean(pattern: str, whole: Sequence[Sequence[TokenWork]]) -> dict[str, Quantity]:
    works = [work for token in whole for work in token if not pattern or (work.pattern or work.part) == pattern]
    return _counted(works, 1 / len(whole))


def _priced(chip: HardwareProfile, total: dict[str, Quantity]) -> ChipTokens:
    energy, missing = {}, {}
    for name, (_, term) in COUNTS.items():
        price = chip.prices.get(term) if term else None
        if price is None:
            missing[name] = _NO_TERM.get(name) or f"{chip.name} has no price {term!r}"
            continue
        count, one = total[name].value, price.quantity()
        source = f"{int(count)} x {term} of {chip.name}: {one.source}"
        energy[name] = Quantity(count * one.value, count * one.low, count * one.high, "J", one.kind, source)
    return ChipTokens(chip.name, energy, missing)

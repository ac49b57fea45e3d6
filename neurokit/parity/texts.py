"""Texts: does a language model's artifact write the reference's tokens, however the text is fed to it?

A text is a batch of prompts with padding on the left, and what the reference writes after them. The artifact must give
the reference's logits at every position within their rounding bound, and its tokens wherever the reference's margin,
its logit over that of the artifact's token, exceeds the bound on either side. Inside of it rounding may decide: such
tokens are counted as undecided.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

# Both sides of a comparison are rounded: a difference of two logits may be off by twice the bound, between two sides.
SIDES = 2.0
_CHUNKS = (3, 5)  # the parts that a text is fed in; the rest is the last one


@dataclass(frozen=True)
class Text:
    """A text and what the reference makes of it.

    Attributes:
        graph: Graph that takes it.
        ids: Name of its input.
        logits: Name of its output.
        padding: What stands left of a shorter prompt.
        tokens: Prompts and continuations `[B, N]`.
        prompt: Tokens of the prompts; the rest was written by the reference.
        wanted: The reference's logits after each token `[B, N, vocabulary]`.
        bound: Largest error by rounding of each position's logits `[B, N]`.
        whole: Whether the prompt must be fed in one call; what follows it is cut all the same.
        free: Whether any number of rows may be fed.
    """

    graph: str
    ids: str
    logits: str
    padding: int
    tokens: np.ndarray
    prompt: int
    wanted: np.ndarray
    bound: np.ndarray
    whole: bool = False
    free: bool = False

    def head(self) -> dict[str, Any]:
        """Returns what is no array."""
        names = ("graph", "ids", "logits", "padding", "prompt", "whole", "free")
        return {name: getattr(self, name) for name in names}

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the arrays for the file."""
        return {"text.tokens": self.tokens, "text.wanted": self.wanted, "text.bound": self.bound}

    @classmethod
    def read(cls, head: dict[str, Any], data: Any) -> Text:
        """Reads what `head` and `arrays` gave.

        Raises:
            ValueError: If they do not fit each other.
        """
        text = cls(**head, tokens=data["text.tokens"], wanted=data["text.wanted"], bound=data["text.bound"])
        shape = text.tokens.shape
        fits = len(shape) == 2 and text.wanted.shape[:2] == shape == text.bound.shape and text.wanted.ndim == 3
        kinds = (text.tokens.dtype.kind, text.wanted.dtype.kind, text.bound.dtype.kind) == ("i", "f", "f")
        names = all(isinstance(name, str) for name in (text.graph, text.ids, text.logits))
        if not (
            fits
            and kinds
            and names
            and isinstance(text.prompt, int)
            and isinstance(text.whole, bool)
            and isinstance(text.free, bool)
            and 0 < text.prompt < shape[1]
        ):
            raise ValueError("the text's tokens and logits do not fit each other")
        if not (np.isfinite(text.wanted).all() and (text.bound >= 0).all()):
            raise ValueError("the text has logits or bounds that are no numbers")
        return text


@dataclass(frozen=True)
class TextFindings:
    """What the runs of a text found.

    Attributes:
        tokens: Tokens compared.
        undecided: Tokens that differ from the reference's inside of the rounding bound.
        error: Largest difference of a logit, in parts of the largest.
        faults: One line each.
    """

    tokens: int = 0
    undecided: int = 0
    error: float = 0.0
    faults: tuple[str, ...] = ()


def judge_text(runner: Any, text: Text) -> TextFindings:
    """Runs a text freely, and with the reference's tokens in one pass, in chunks and step by step.

    Where rows are free in number, one without padding is run by itself, too: graphs may have a faster way for one text.

    Args:
        runner: An open artifact of the step form.
        text: The text.
    """
    judge = _Judge(text)
    length = text.tokens.shape[1]
    first = text.prompt if text.whole else 0
    cuts = [first + at for at in np.cumsum(_CHUNKS).tolist() if first + at < length]
    start = [first] if first else []
    judge.run("written freely", lambda: _free(runner, text, judge))
    judge.run("in one pass", lambda: _fed(runner, text, start))
    judge.run("in chunks", lambda: _fed(runner, text, [*start, *cuts]))
    judge.run("step by step", lambda: _fed(runner, text, list(range(max(first, 1), length))))
    single = _single(text)
    alone = _Judge(single)
    if text.free and len(text.tokens) > 1 and len(single.tokens):
        alone.run("alone", lambda: _fed(runner, single, start))
    both = (judge, alone)
    return TextFindings(
        sum(one.tokens for one in both),
        sum(one.undecided for one in both),
        max(one.error for one in both),
        (*judge.faults, *alone.faults),
    )


def _single(text: Text) -> Text:
    """Returns the first row without padding, if there is one."""
    row = np.flatnonzero((text.tokens != text.padding).all(1))[:1]
    return replace(text, tokens=text.tokens[row], wanted=text.wanted[row], bound=text.bound[row])


def _fed(runner: Any, text: Text, cuts: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    runner.reset(len(text.tokens))
    at = 0
    for part in np.split(text.tokens, cuts, 1):
        yield at, runner.run(text.graph, {text.ids: np.ascontiguousarray(part)})[text.logits]
        at += part.shape[1]


def _free(runner: Any, text: Text, judge: _Judge) -> Iterator[tuple[int, np.ndarray]]:
    """Feeds the artifact's own tokens; where one is undecided, the reference's, as what follows is another text."""
    runner.reset(len(text.tokens))
    ids = np.ascontiguousarray(text.tokens[:, : text.prompt])
    for at in range(text.prompt, text.tokens.shape[1] + 1):
        logits = runner.run(text.graph, {text.ids: ids})[text.logits]
        yield at - ids.shape[1], logits
        if at == text.tokens.shape[1]:
            return
        own, given = logits[:, -1].argmax(-1), text.tokens[:, at]
        ids = np.where(judge.close(at - 1, own), given, own)[:, None].astype(text.tokens.dtype)


class _Judge:
    """Compares logits and tokens with the reference's."""

    def __init__(self, text: Text) -> None:
        self._text = text
        self._largest = float(np.abs(text.wanted).max(initial=0.0)) or 1.0
        self.tokens = self.undecided = 0
        self.error = 0.0
        self.faults: list[str] = []

    def close(self, at: int, token: np.ndarray) -> np.ndarray:
        """Whether the margin of the reference's token over another is within rounding, `[B]`."""
        wanted, rows = self._text.wanted[:, at], np.arange(len(token))
        return wanted.max(-1) - wanted[rows, token] <= 2 * SIDES * self._text.bound[:, at]

    def run(self, how: str, calls: Callable[[], Iterator[tuple[int, np.ndarray]]]) -> None:
        """Compares every position of a run, up to its first fault."""
        for first, logits in calls():
            for offset in range(logits.shape[1]):
                fault = self._position(first + offset, logits[:, offset])
                if fault:
                    self.faults.append(f"text {how}: {fault}")
                    return

    def _position(self, at: int, logits: np.ndarray) -> str:
        text = self._text
        real = text.tokens[:, at] != text.padding
        if logits.shape != text.wanted[:, at].shape or not np.isfinite(logits[real]).all():
            return f"after token {at + 1} the logits are no numbers of the reference's shape"
        off = np.abs(logits.astype(np.float64) - text.wanted[:, at]).max(-1)
        self.error = max(self.error, float(off[real].max(initial=0.0)) / self._largest)
        token = logits.argmax(-1)
        same = token == text.wanted[:, at].argmax(-1)
        self.tokens += int(real.sum())
        close = self.close(at, token)
        self.undecided += int((real & ~same & close).sum())
        for row in np.flatnonzero(real):
            where = f"after token {at + 1} of {text.tokens.shape[1]} of text {row + 1}"
            if not (same[row] or close[row]):
                wanted = text.wanted[row, at]
                margin = float(wanted.max() - wanted[token[row]])
                said = f"{where} it gives token {token[row]} for {wanted.argmax()}"
                return f"{said}, whose margin of {margin:.2g} exceeds rounding"
            if not off[row] <= SIDES * text.bound[row, at]:
                return f"{where} a logit is off by {off[row]:.2g}, rounding explains {SIDES * text.bound[row, at]:.2g}"
        return ""

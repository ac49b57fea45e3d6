"""The host's loop around a language model: prompt in, tokens out; numpy only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Protocol

import numpy as np

from neurokit.errors import InputError
from neurokit.tasks.choice import best_class

_FURTHER = ("whole_prompt", "least", "encoder", "image_token", "image_count", "needs_image")
_NUMBERS = ("vocabulary", "padding", "longest")


class Stream(Protocol):
    """What the loop needs of an open artifact: the part of `neurokit.target.Runner` for streams."""

    def reset(self, batch: int = 1) -> None:
        """Empties the caches for `batch` texts."""
        ...

    def step(self, given: Any) -> Any:
        """Runs the next tokens and keeps the caches."""
        ...


@dataclass(frozen=True)
class Loop:
    """What a manifest's task records for the host: names of ports, and tokens with a meaning.

    Attributes:
        ids: Input that takes tokens `[B, S]`.
        logits: Output `[B, S, vocabulary]`.
        vocabulary: Number of tokens.
        padding: What stands left of a shorter text in a batch.
        longest: Largest number of tokens of a text.
        stop: Tokens that end an answer.
        full: Of a model with two graphs, the one that takes prompts and every `every`-th token; "" for one graph.
        partial: The one that takes the other tokens.
        every: See `full`; 0 for never.
        check_every: Every how many tokens since a full one the states `near` are looked at; 0 for never.
        threshold: Where one of them is at or below it, the token is taken by the full graph.
        near: States `[B]`, the cosines of this token's queries with those of the last full one.
        whole_prompt: Whether a prompt must be fed in one call.
        least: Smallest number of tokens of a prompt.
        encoder: Of a model of more than text, the graph that is run before a prompt; "" for none.
        image_token: Token that stands for a visual one; -1 for none.
        image_count: How many of them a picture has.
        needs_image: Whether a prompt must have a picture.
    """

    ids: str
    logits: str
    vocabulary: int
    padding: int
    longest: int
    stop: tuple[int, ...] = ()
    full: str = ""
    partial: str = ""
    every: int = 1
    check_every: int = 0
    threshold: float = 0.0
    near: tuple[str, ...] = ()
    whole_prompt: bool = False
    least: int = 1
    encoder: str = ""
    image_token: int = -1
    image_count: int = 0
    needs_image: bool = False

    @classmethod
    def of(cls, settings: Mapping[str, Any], where: str) -> Loop:
        """Reads the settings of a generation task.

        Raises:
            InputError: If they say nothing of a loop.
        """
        names = [settings.get(key) for key in ("ids", "logits")]
        numbers = [settings.get(key) for key in _NUMBERS]
        stop = settings.get("stop", [])
        whole = [*numbers, *(stop if isinstance(stop, list) else [None])]
        if not all(isinstance(name, str) for name in names) or not all(type(number) is int for number in whole):
            raise InputError(
                f"{where} does not say how it writes a text",
                expected="a model with task generation and settings ids, logits, " + ", ".join(_NUMBERS),
            )
        vocabulary, padding, longest = (int(number) for number in numbers if number is not None)
        full, partial, every = str(settings.get("full", "")), str(settings.get("partial", "")), settings.get("every", 1)
        check, near = settings.get("check_every", 0), tuple(settings.get("near", ()))
        fits = type(every) is int and type(check) is int and min(every, check) >= 0 and every + check >= 1
        if not fits or bool(check) != bool(near) or bool(full) != bool(partial):
            raise InputError(
                f"{where} names graphs {full!r} and {partial!r}, one in {every!r} full, looked at every {check!r}",
                expected="both, and every >= 1 or check_every >= 1 with states to look at",
            )
        ports = (str(names[0]), str(names[1]), vocabulary, padding, longest, tuple(stop), full, partial)
        made = cls(*ports, every, check, float(settings.get("threshold", 0.0)), near)
        further = {key: settings[key] for key in _FURTHER if key in settings}
        for key, value in further.items():
            if type(value) is not type(getattr(made, key)):
                raise InputError(f"{where} has {key}={value!r}", expected=type(getattr(made, key)).__name__)
        return replace(made, **further)


@dataclass(frozen=True)
class Sampling:
    """How the next token is chosen.

    Attributes:
        temperature: What logits are divided by; 0 takes the most likely token, of equal ones the lowest.
        top_p: Only the most likely tokens whose probabilities together reach this are drawn from.
        seed: Seed of the draws; row b of a batch draws from (seed, b), whatever else is in the batch.
    """

    temperature: float = 0.0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self) -> None:
        if not (0.0 <= self.temperature < float("inf")):
            raise InputError(f"temperature is {self.temperature}", expected="a number from 0")
        if not (0.0 < self.top_p <= 1.0):
            raise InputError(f"top_p is {self.top_p}", expected="a number above 0, up to 1")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) or self.seed < 0:
            raise InputError(f"seed is {self.seed!r}", expected="a whole number from 0")


@dataclass(frozen=True)
class Continuation:
    """What a model wrote after one prompt.

    Attributes:
        tokens: The new tokens; a stop token is the last of them.
        ended: "stop" after a stop token, else "length".
    """

    tokens: tuple[int, ...]
    ended: Literal["stop", "length"]


def probabilities(logits: np.ndarray, sampling: Sampling) -> np.ndarray:
    """Returns what a token is drawn from, float64 `[vocabulary]`; the temperature must not be 0.

    Of equally likely tokens at the edge of `top_p` the lower numbers are kept.
    """
    z = logits.astype(np.float64)
    z = (z - z.max()) / sampling.temperature
    p = np.exp(z)
    p /= p.sum()
    order = np.argsort(-p, kind="stable")
    before = np.cumsum(p[order]) - p[order]
    p[order[before >= sampling.top_p]] = 0.0
    return p / p.sum()


def choose(logits: np.ndarray, sampling: Sampling, generator: np.random.Generator) -> int:
    """Returns the next token by the logits `[vocabulary]` of the last position."""
    if sampling.temperature == 0.0:
        return int(best_class(logits))
    total = np.cumsum(probabilities(logits, sampling))
    return int(np.searchsorted(total, generator.random() * total[-1], side="right"))


def left_padded(prompts: Sequence[Sequence[int]], loop: Loop, tokens: int) -> np.ndarray:
    """Returns prompts as one array `[B, S]`, the shorter ones padded on the left.

    Raises:
        InputError: If there is no prompt, one is empty or too long, or a token is not of the vocabulary.
    """
    if not prompts:
        raise InputError("there is no prompt", expected="one prompt or more")
    if isinstance(tokens, bool) or not isinstance(tokens, int) or tokens < 1:
        raise InputError(f"{tokens!r} tokens are asked for", expected="a whole number >= 1")
    longest = max(len(prompt) for prompt in prompts)
    for at, prompt in enumerate(prompts):
        label = "the prompt" if len(prompts) == 1 else f"prompt {at + 1}"
        if len(prompt) == 0:
            raise InputError(f"{label} has no token", expected="one token or more")
        check_tokens(prompt, loop, label)
        if len(prompt) < loop.least:
            raise InputError(
                f"{label} has {len(prompt)} tokens, and what its attention is calibrated by ends behind them",
                expected=f"{loop.least} tokens or more",
            )
        visual = sum(token == loop.image_token for token in prompt) if loop.image_token >= 0 else 0
        if visual not in ({loop.image_count} if loop.needs_image else {0, loop.image_count}):
            raise InputError(
                f"{label} has {visual} image tokens",
                expected=f"token {loop.image_token} {loop.image_count} times"
                + ("" if loop.needs_image else ", or never"),
            )
    if longest + tokens > loop.longest:
        raise InputError(
            f"{longest} tokens of prompt and {tokens} new ones are {longest + tokens}",
            expected=f"at most {loop.longest}, which the model was made for",
        )
    ids = np.full((len(prompts), longest), loop.padding, np.int64)
    for row, prompt in zip(ids, prompts, strict=True):
        row[longest - len(prompt) :] = prompt
    return ids


def check_tokens(tokens: Sequence[int], loop: Loop, label: str) -> None:
    """Refuses what is no token of the vocabulary.

    Raises:
        InputError: Names the first one and its place.
    """
    for place, token in enumerate(tokens):
        whole = isinstance(token, int | np.integer) and not isinstance(token, bool)
        if not whole or not 0 <= token < loop.vocabulary:
            raise InputError(
                f"{label} has {token!r} at place {place}", expected=f"token numbers 0 to {loop.vocabulary - 1}"
            )


def decode(
    stream: Stream,
    loop: Loop,
    prompts: Sequence[Sequence[int]],
    tokens: int,
    *,
    sampling: Sampling | None = None,
    stop: Sequence[int] | None = None,
    chunk: int | None = None,
    inputs: Mapping[str, np.ndarray] | None = None,
) -> list[Continuation]:
    """Feeds prompts, then each chosen token, until every text has ended.

    Args:
        stream: An open artifact of the step form.
        loop: What its manifest records.
        prompts: Token numbers of each text of the batch.
        tokens: Largest number of new tokens of a text.
        sampling: How tokens are chosen; default is the most likely one.
        stop: Tokens that end a text; default is what the manifest records.
        chunk: Tokens of a prompt that are fed in one call; default is all.
        inputs: What the graph in front of the text takes, such as pictures, a row a prompt.

    Raises:
        InputError: If prompts or settings do not fit the model; nothing has been run then.
    """
    if bool(loop.encoder) != bool(inputs):
        what = "there is no picture" if loop.encoder else f"there are inputs {', '.join(inputs or {})}"
        raise InputError(what, expected=f"the inputs of graph {loop.encoder!r}" if loop.encoder else "prompts alone")
    ids = left_padded(prompts, loop, tokens)
    sampling = sampling or Sampling()
    ends = set(loop.stop if stop is None else stop)
    check_tokens(sorted(ends), loop, "the list of stop tokens")
    size = ids.shape[1] if chunk is None else chunk
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise InputError(f"the chunk is {chunk!r} tokens", expected="a whole number >= 1")
    if loop.whole_prompt and size < ids.shape[1]:
        raise InputError(
            f"the chunk is {size} tokens, and what calibrates attention is made of a whole prompt",
            expected=f"{ids.shape[1]} or more, or none",
        )
    stream.reset(len(ids))
    if loop.encoder:
        _running(stream, loop.encoder)(loop.encoder, {name: np.asarray(x) for name, x in (inputs or {}).items()})
    parts = [ids[:, at : at + size] for at in range(0, ids.shape[1], size)]
    for part in parts:
        logits = _fed(stream, loop, np.ascontiguousarray(part), loop.full)
    return _write(stream, loop, logits[:, -1], tokens, sampling, ends)


def _fed(stream: Stream, loop: Loop, ids: np.ndarray, graph: str) -> np.ndarray:
    """Returns the logits of the next tokens, by the one graph or by the one that is named."""
    feeds = {loop.ids: ids}
    if not graph:
        return np.asarray(stream.step(feeds)[loop.logits])
    return np.asarray(_running(stream, graph)(graph, feeds)[loop.logits])


def _running(stream: Stream, graph: str) -> Callable[[str, Mapping[str, Any]], Any]:
    """Returns what runs one graph of several."""
    run: Callable[[str, Mapping[str, Any]], Any] | None = getattr(stream, "run", None)
    if run is None:
        raise InputError(f"this runtime runs no graph {graph!r} of several", expected="a target of ONNX Runtime")
    return run


def _next(stream: Stream, loop: Loop, ids: np.ndarray, since: int) -> tuple[int, np.ndarray]:
    """Feeds one token a text by the graph that is due.

    Whether queries are near enough is known when the token has been taken: where they are not, the stream goes back and
    the full graph takes it.

    Returns:
        How many tokens were taken since a full one, and the logits `[B, vocabulary]`.
    """
    if loop.every and since + 1 >= loop.every:
        return 0, _fed(stream, loop, ids, loop.full)[:, -1]
    looked = bool(loop.check_every) and (since + 1) % loop.check_every == 0
    if looked and not hasattr(stream, "mark"):
        raise InputError("this runtime cannot take a token back", expected="a target of ONNX Runtime")
    before: Any = stream.mark() if looked else None  # type: ignore[attr-defined]
    logits = _fed(stream, loop, ids, loop.partial)[:, -1]
    if looked and any((stream.state(name) <= loop.threshold).any() for name in loop.near):  # type: ignore[attr-defined]
        stream.rewind(before)  # type: ignore[attr-defined]
        return 0, _fed(stream, loop, ids, loop.full)[:, -1]
    return since + 1, logits


def _write(
    stream: Stream, loop: Loop, logits: np.ndarray, tokens: int, sampling: Sampling, ends: set[int]
) -> list[Continuation]:
    """Chooses tokens and feeds them; a text that has ended is fed token 0, and what comes of it is dropped."""
    generators = [np.random.default_rng([sampling.seed, row]) for row in range(len(logits))]
    texts: list[list[int]] = [[] for _ in generators]
    done, since = [False] * len(texts), 0
    for count in range(tokens):
        for row, text in enumerate(texts):
            if not done[row]:
                text.append(choose(logits[row], sampling, generators[row]))
                done[row] = text[-1] in ends
        if all(done) or count == tokens - 1:
            break
        ids = np.array([[0 if ended else text[-1]] for text, ended in zip(texts, done, strict=True)], np.int64)
        since, logits = _next(stream, loop, ids, since)
    return [Continuation(tuple(text), "stop" if end else "length") for text, end in zip(texts, done, strict=True)]

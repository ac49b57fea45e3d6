"""Runs a language model of spikes token by token from events alone, in whole numbers, and counts what it routes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neurokit.errors import InputError
from neurokit.program.spiking_text import SpikingText

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class TextRun:
    """What one text gave.

    Attributes:
        spikes: Spikes of every population, uint8 `[T, N]`, by "layer 0 q" and so on.
        counts: The state of each layer after the last token, `[heads, D, D]`: coincidences of a key's and a value's
            channel.
        logits: In units of the grid, `[T, vocabulary]`.
        events: Events through each projection, product and readout in each step, `[T]`.
    """

    spikes: Mapping[str, NDArray[np.uint8]]
    counts: tuple[Ints, ...]
    logits: Ints
    events: Mapping[str, Ints]

    @property
    def synaptic_events(self) -> int:
        """All events, over projections and steps."""
        return sum(int(events.sum()) for events in self.events.values())


@dataclass
class _Record:
    spikes: dict[str, list[Ints]] = field(default_factory=dict)
    events: dict[str, list[int]] = field(default_factory=dict)

    def fired(self, name: str, at: Ints, size: int) -> Ints:
        raster = np.zeros(size, np.uint8)
        raster[at] = 1
        self.spikes.setdefault(name, []).append(raster)
        return at

    def routed(self, name: str, count: int) -> None:
        self.events.setdefault(name, []).append(count)


def run_text(text: SpikingText, tokens: Sequence[int]) -> TextRun:
    """Runs a text from rest.

    Nothing is added that no spike sends: a spike adds its column of a matrix; a key's and a value's spike of one head
    add 1 to their count; a query's spike reads the row of its channel.

    Args:
        text: The model in whole numbers.
        tokens: Token numbers; none is padding.

    Raises:
        InputError: If there is no token, or one is outside of the vocabulary.
    """
    if not len(tokens) or not all(0 <= token < len(text.embed) for token in tokens):
        raise InputError(f"{len(tokens)} tokens", expected=f"one or more, of 0 to {len(text.embed) - 1}")
    record, size = _Record(), text.layers[0].out.shape[1] // text.heads
    counts = [np.zeros((text.heads, size, size), np.int64) for _ in text.layers]
    logits = [_token(text, int(token), counts, record) for token in tokens]
    spikes = {name: np.stack(rows).astype(np.uint8) for name, rows in record.spikes.items()}
    events = {name: np.asarray(rows, np.int64) for name, rows in record.events.items()}
    return TextRun(spikes, tuple(counts), np.stack(logits), events)


def _token(text: SpikingText, token: int, counts: list[Ints], record: _Record) -> Ints:
    """Runs one token, adds to the counts, and returns the logits."""

    def fire(name: str, membrane: Ints) -> Ints:
        return record.fired(name, np.flatnonzero(membrane >= text.threshold), len(membrane))

    def send(name: str, spiking: Ints, matrix: Ints) -> Ints:
        record.routed(name, len(spiking) * len(matrix))
        total: Ints = matrix[:, spiking].sum(1)
        return total

    x = text.embed[token].copy()
    for at, layer in enumerate(text.layers):
        name, width = f"layer {at}", layer.out.shape[1]
        sent = send(f"{name} qkv", fire(f"{name} in", x), layer.qkv)
        q, k, v = (fire(f"{name} {part}", sent[n * width : (n + 1) * width]) for n, part in enumerate("qkv"))
        out = _mixed(text.heads, counts[at], q, k, v, record, name)
        won = record.fired(f"{name} won", np.flatnonzero(out > np.roll(out, 1, 1)), width)
        x = x + send(f"{name} out", won, layer.out)
        inner = fire(f"{name} inner", send(f"{name} up", fire(f"{name} middle", x), layer.up))
        x = x + send(f"{name} down", inner, layer.down)
    return send("head", fire("last", x), text.head)


def _mixed(heads: int, counts: Ints, q: Ints, k: Ints, v: Ints, record: _Record, name: str) -> Ints:
    """Counts the coincidences of a token's keys and values, and reads the rows of its queries, `[heads, D]`."""
    size = counts.shape[1]
    out = np.zeros((heads, size), np.int64)
    met = 0
    for head in range(heads):
        keys, values, queries = (x[x // size == head] % size for x in (k, v, q))
        counts[head][np.ix_(keys, values)] += 1
        met += len(keys) * len(values)
        out[head] = counts[head][queries].sum(0)
    record.routed(f"{name} coincidences", met)
    record.routed(f"{name} reads", len(q) * size)
    return out


def differing(run: TextRun, spikes: Mapping[str, NDArray[np.uint8]]) -> dict[str, int]:
    """Returns how many spikes of each recorded population differ from a run's.

    Raises:
        InputError: If a population is missing on either side.
    """
    if run.spikes.keys() != spikes.keys():
        raise InputError("other populations were recorded", expected=", ".join(run.spikes))
    return {name: int((run.spikes[name] != spikes[name]).sum()) for name in spikes}

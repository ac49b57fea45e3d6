"""Makes the text that a language model's artifact is verified with: prompts, what the reference writes, its logits."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from neurokit.errors import InputError
from neurokit.parity.calls import LENGTHS
from neurokit.parity.texts import Text
from neurokit.tasks.decoding import Loop

if TYPE_CHECKING:
    import torch

    from neurokit.capture import Captured

_PROMPT, _WRITTEN = 12, 12  # tokens
_PADDED = 5  # of the second prompt
_ROOM = 16.0  # times the largest error that was seen
_FLOOR = 8.0  # units roundoff of the largest logit below which no bound goes
_MOST_PARAMETERS = 400_000_000  # above it no copy in float64 is made


def make_text(captured: Captured, seed: int = 0) -> tuple[Text | None, tuple[str, ...]]:
    """Writes on from drawn prompts with the reference in float64, and sees how far its own type is from it.

    There are two prompts, or as many as a fixed batch has.

    The bound of a position is 16 times the largest deviation that the reference's own type shows there or anywhere
    before, in one pass and step by step, and at least 8 units roundoff of the largest logit: an estimate, as another
    order of sums moves every layer's input.

    Args:
        captured: A language model that keeps states.
        seed: Seed of the prompts.

    Returns:
        The text, or None if the model is none or too large, and notes.
    """
    loop = _loop_of(captured)
    if loop is None:
        return None, ()
    count = sum(p.numel() for p in captured.module.parameters())
    if count > _MOST_PARAMETERS:
        return None, (f"with {count:,} parameters no float64 reference is made: no text was written",)
    import torch

    module = captured.module
    length = _length(loop)
    prompt = max(length - _WRITTEN, 1)
    rows = 2 if captured.batch == "dynamic" else captured.batch
    ids = torch.from_numpy(np.random.default_rng([seed, 1]).integers(0, loop.vocabulary, (rows, prompt)))
    ids[1:2, : min(_PADDED, prompt - 1)] = loop.padding
    double = copy.deepcopy(module).double()
    with torch.no_grad():
        tokens, wanted = _write(double, captured, ids, length)
        ways = [[length], [1] * length]
        if loop.whole_prompt:
            ways = [[prompt, length - prompt], [prompt, *[1] * (length - prompt)]]
        seen = [_logits(module, captured, tokens, parts) for parts in ways]
    real = (tokens != loop.padding).numpy()
    off = np.max([np.abs(found.double().numpy() - wanted.numpy()).max(-1) for found in seen], 0)
    worst = np.maximum.accumulate(np.where(real, off, 0.0).max(0))
    unit = float(torch.finfo(seen[0].dtype).eps) / 2
    bound = np.maximum(_ROOM * worst, _FLOOR * unit * float(wanted[torch.from_numpy(real)].abs().max()))
    return (
        Text(
            captured.graph,
            loop.ids,
            loop.logits,
            loop.padding,
            tokens.numpy(),
            prompt,
            np.nan_to_num(wanted.numpy()).astype(np.float32),
            np.broadcast_to(bound, tokens.shape).copy(),
            loop.whole_prompt,
            captured.batch == "dynamic",
        ),
        (),
    )


def tokens_verified(captured: Captured) -> int:
    """Returns how many tokens the longest run of a verification feeds: its text, or its calls in a row."""
    loop = _loop_of(captured)
    example = captured.spec.example
    if loop is None or example is None:
        return 0
    axes = captured.spec.as_graph().dims.values()
    later = sum(max((axis.example(length) for axis in axes), default=length) for length in LENGTHS)
    first = example(1, 1, 0)
    ids = first[loop.ids] if isinstance(first, Mapping) else first
    return max(_length(loop), ids.shape[1] + later)


def _length(loop: Loop) -> int:
    return min(_PROMPT + loop.least - 1 + _WRITTEN, loop.longest)


def _loop_of(captured: Captured) -> Loop | None:
    spec = captured.spec
    if spec.task is None or spec.task.name != "generation" or not spec.states or captured.parts or captured.spiking:
        return None
    try:
        loop = Loop.of(spec.task.settings, spec.name)
    except InputError:
        return None
    names = [port.name for port in spec.inputs]
    return loop if names == [loop.ids] and loop.logits in captured.output_names and loop.longest > 1 else None


def _call(
    module: torch.nn.Module, captured: Captured, ids: torch.Tensor, states: Sequence[torch.Tensor]
) -> tuple[torch.Tensor, list[torch.Tensor]]:
    found = module(ids, *states)
    assert captured.spec.task is not None
    at = captured.output_names.index(captured.spec.task.settings["logits"])
    return found[at], list(found[len(captured.output_names) :])


def _start(module: torch.nn.Module, captured: Captured, batch: int) -> list[torch.Tensor]:
    """Returns the states before the first call, in the module's type."""
    import torch

    kind = next((p.dtype for p in module.parameters() if p.is_floating_point()), torch.float32)
    return [x.to(kind) if x.is_floating_point() else x for x in captured.initial_states(batch)]


def _write(
    module: torch.nn.Module, captured: Captured, ids: torch.Tensor, length: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Returns prompts with the tokens of largest logit behind them, and the logits after every token."""
    import torch

    states, rows, tokens = _start(module, captured, len(ids)), [], ids
    while True:
        logits, states = _call(module, captured, ids, states)
        rows.append(logits)
        if tokens.shape[1] == length:
            return tokens, torch.cat(rows, 1)
        ids = logits[:, -1:].argmax(-1)
        tokens = torch.cat([tokens, ids], 1)


def _logits(module: torch.nn.Module, captured: Captured, tokens: torch.Tensor, parts: Sequence[int]) -> torch.Tensor:
    import torch

    states, rows = _start(module, captured, len(tokens)), []
    for part in tokens.split(list(parts), 1):
        logits, states = _call(module, captured, part, states)
        rows.append(logits)
    return torch.cat(rows, 1)

"""Integrated Gradients: how much of a logit is due to each token of a prompt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    import torch

    from neurokit.models.decoder.net import Decoder

AT_ONCE = 32  # points of the path in one batch
GAP, FIRST_STEPS, MOST_STEPS = 0.01, 16, 4096


@dataclass(frozen=True)
class Attribution:
    """What each token of a prompt contributes to a logit of its last position.

    Attributes:
        ids: The prompt.
        target: The token whose logit it is.
        tokens: Contribution of each token, float64 `[N]`, in units of the logit.
        value: The logit.
        baseline_value: The logit with the baseline's embedding at every place.
        steps: Points of the path.
    """

    ids: tuple[int, ...]
    target: int
    tokens: np.ndarray
    value: float
    baseline_value: float
    steps: int

    @property
    def gap(self) -> float:
        """|sum of contributions - (value - baseline value)| in parts of the latter: 0 for the exact integral."""
        wanted = self.value - self.baseline_value
        difference = abs(float(self.tokens.sum()) - wanted)
        return difference / abs(wanted) if wanted else difference

    def to_json(self) -> dict[str, Any]:
        """Returns plain JSON values."""
        return {
            "ids": list(self.ids),
            "target": self.target,
            "tokens": self.tokens.tolist(),
            "value": self.value,
            "baseline_value": self.baseline_value,
            "steps": self.steps,
            "gap": self.gap,
        }


def attribute(
    model: ModelSpec | Decoder,
    ids: Sequence[int],
    *,
    target: int | None = None,
    baseline: int = 0,
    steps: int | None = None,
    gap: float = GAP,
) -> Attribution:
    """Attributes a logit of a prompt's last position to its tokens (Sundararajan et al., 2017), in float64.

    With x the prompt's embeddings, b the baseline's at every place, f the logit and n steps:

        A_t = sum over channels of (x_t - b) * 1/n sum_(i < n) df/dx_t at b + (i + 1/2) / n (x - b)

    Args:
        model: A language model of softmax attention, or its network.
        ids: The prompt, one token or more.
        target: Token whose logit is attributed; default is the most likely one.
        baseline: Token whose embedding is the baseline.
        steps: Points of the path (midpoint rule); default doubles them from 16 until the gap is at most `gap`.
        gap: Completeness that is asked for, where `steps` is not given; after 4,096 steps the best is returned.

    Raises:
        InputError: If the prompt, a token or the number of steps does not fit.
        UnsupportedError: If the model has other layers than softmax attention.
    """
    import torch

    from neurokit.models.decoder.one_pass import decoder_of, in_float64

    built = model.build() if isinstance(model, ModelSpec) else model
    net = in_float64(decoder_of(built, model.name if isinstance(model, ModelSpec) else "of this network"))
    _check(net, ids, target, baseline, steps)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    given = torch.tensor([list(ids)])
    end = net.model.embed_tokens(given)
    start = net.model.embed_tokens(torch.full_like(given, baseline))
    with torch.no_grad():
        logits = _last_logits(net, end, given)[0]
        chosen = int(logits.argmax()) if target is None else target
        value, below = float(logits[chosen]), float(_last_logits(net, start, given)[0, chosen])
    count = FIRST_STEPS if steps is None else steps
    while True:
        contributions = (end - start)[0] * _mean_gradient(net, start, end, given, chosen, count)
        found = Attribution(tuple(ids), chosen, contributions.sum(-1).numpy(), value, below, count)
        if steps is not None or found.gap <= gap or count >= MOST_STEPS:
            return found
        count *= 2


def _check(net: Decoder, ids: Sequence[int], target: int | None, baseline: int, steps: int | None) -> None:
    config = net.config
    if not 1 <= len(ids) <= config.longest:
        raise InputError(f"the prompt has {len(ids)} tokens", expected=f"1 to {config.longest}")
    for token in [*ids, baseline, *([] if target is None else [target])]:
        if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < config.vocabulary:
            raise InputError(f"token {token!r} is named", expected=f"token numbers 0 to {config.vocabulary - 1}")
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 10**6):
        raise InputError(f"{steps!r} steps", expected="a whole number from 1 to 1,000,000")


def _last_logits(net: Decoder, x: torch.Tensor, ids: torch.Tensor) -> torch.Tensor:
    """Returns the logits `[n, vocabulary]` of the last position for embeddings `[n, S, width]`."""
    from neurokit.models.decoder.one_pass import logits_of, through, tokens_of

    tokens = tokens_of(net, ids.expand(x.shape[0], -1))
    layers: Any = net.model.layers
    for at, layer in enumerate(layers):
        x = through(layer, at, x, tokens)
    return logits_of(net, x[:, -1])


def _mean_gradient(
    net: Decoder, start: torch.Tensor, end: torch.Tensor, ids: torch.Tensor, target: int, steps: int
) -> torch.Tensor:
    import torch

    total = torch.zeros_like(end[0])
    for first in range(0, steps, AT_ONCE):
        places = (torch.arange(first, min(first + AT_ONCE, steps), dtype=end.dtype) + 0.5) / steps
        x = (start + places[:, None, None] * (end - start)).requires_grad_(True)
        (slope,) = torch.autograd.grad(_last_logits(net, x, ids)[:, target].sum(), x)
        total += slope.sum(0)
    return total / steps


def proxy_tuned(big: np.ndarray, small: np.ndarray, tuned: np.ndarray) -> np.ndarray:
    """Returns the probabilities of a big model tuned by the difference that tuning made to a small one.

    softmax(big + (tuned - small)) (Liu et al., Proxy Tuning, 2024). The reverse, as SCA has it, tunes the small one:
    `proxy_tuned(small, big, tuned_big)`. With `tuned` equal to `small` it is the big model.

    Args:
        big: Logits `[..., vocabulary]` of the model that is to be tuned.
        small: Logits of the model that tuning changed, before it.
        tuned: Logits of that model after it.

    Raises:
        InputError: If the shapes differ.
    """
    if not big.shape == small.shape == tuned.shape or not big.ndim:
        raise InputError(
            f"logits are {big.shape}, {small.shape} and {tuned.shape}", expected="one vocabulary, one shape"
        )
    z = big.astype(np.float64) + (tuned.astype(np.float64) - small.astype(np.float64))
    weights = np.exp(z - z.max(-1, keepdims=True))
    return weights / weights.sum(-1, keepdims=True)

"""The transform `gift`: visual tokens that the query turned to get more attention in every later row.

Written from the method's equations; the released code's licence forbids its use, and none of it was taken.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurokit.errors import InputError, Unsupported
from neurokit.spec import AttentionHost, ModelSpec
from neurokit.transforms.common.calibrate import (
    CalibrationCard,
    CalibrationTransform,
    ImageCalibration,
    Kept,
    image_range,
    image_refusals,
    scope_options,
)
from neurokit.transforms.common.content import content_tokens
from neurokit.transforms.common.heads import numbers
from neurokit.transforms.transform import Option, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.attention.calibration import Decision, View

_SALIENCY, _QUERY = "gift_saliency", "gift_query"
_RAW, _CONTENT = "gift_raw", "gift_content"  # handed from layer to layer inside of a call
_DEVIATIONS = 3.0


@dataclass(frozen=True)
class GIFT(ImageCalibration):
    """A saliency map of the prompt biases visual keys; query tokens keep their balance with them.

    Attributes:
        alpha: The bias of the most salient visual token.
        saliency: Layers whose attention makes the map.
        content: Tokens that carry content; None for all.
        tail: Tokens at a prompt's end that are no part of the query.
    """

    alpha: float = 5.0
    saliency: tuple[int, ...] = ()
    content: tuple[int, ...] | None = None
    tail: int = 0

    name: ClassVar[str] = "gift"
    whole_prompt: ClassVar[bool] = True
    memories: ClassVar[tuple[Kept, ...]] = (
        Kept(_SALIENCY, "saliency of a visual token, 0 to 1", shared=True),
        Kept(_QUERY, "1 where a token of the query stands", shared=True),
    )

    def touches(self, layer: int) -> bool:
        """Whether the method changes a layer, or takes its map from it."""
        return layer in self.saliency or super().touches(layer)

    def remember(self, view: View, weights: Tensor | None, layer: int) -> None:
        """Adds a saliency layer's part to the map of a prompt; after the last of them the map is whole."""
        import torch

        if layer not in self.saliency:
            return
        assert weights is not None
        shared = view.shared
        if layer == self.saliency[0]:
            query, content = self.query_of(view)
            shared[_QUERY] = torch.where(view.begins[:, None, None], query.to(weights)[:, None], shared[_QUERY])
            shared[_CONTENT] = content
        raw = gaze_shift(weights, self.image_of(view), shared[_CONTENT])
        shared[_RAW] = raw if layer == self.saliency[0] else shared[_RAW] + raw
        if layer == self.saliency[-1]:
            whole = normalised(shared[_RAW] / len(self.saliency), self.image_of(view))
            shared[_SALIENCY] = torch.where(view.begins[:, None, None], whole[:, None], shared[_SALIENCY])

    def query_of(self, view: View) -> tuple[Tensor, Tensor]:
        """Returns which keys are the query's, bool `[B, T]`, and which rows carry content `[B, S]`."""
        import torch

        assert view.ids is not None
        last = view.query[:, -1:] - self.tail
        image = self.image_of(view).to(torch.int64)
        behind = (image.cumsum(-1) > 0) & (image == 0) & (view.key <= last)
        rows = self.behind_image(view) & (view.query <= last)
        if self.content is not None:
            listed = torch.tensor(self.content, device=view.ids.device)
            rows = rows & (view.ids[..., None] == listed).any(-1)
        return behind, rows

    def sets(self, view: View) -> Tensor:
        """Returns the visual tokens and the query's `[B, 1, 2, T]`."""
        import torch

        return torch.stack([self.image_of(view), view.shared[_QUERY][:, 0] > 0], 1)[:, None]

    def key_bias(self, view: View) -> Tensor:
        """Returns alpha times the saliency `[B, 1, T]`."""
        return self.alpha * view.shared[_SALIENCY]

    def decide(self, view: View, masses: Tensor | None, biased: Tensor | None) -> Decision:
        """Returns the factor g of query tokens, and which heads of a row get the bias.

        The half of the heads with most visual mass get the bias; g is their new visual mass over the old one, and goes
        to the half with most mass on the query. A prompt's last row is changed, and every later one.
        """
        import torch

        assert masses is not None
        assert biased is not None
        later = view.begins.logical_not()[:, None] & (view.query >= 0)
        rows = (later | (view.query == view.query[:, -1:]))[:, None]
        looking = half(masses[..., 0]) & rows  # [B, H, S]
        asking = half(masses[..., 1]) & rows
        old, new = (torch.where(looking, x[..., 0], 0.0).sum(1, keepdim=True) for x in (masses, biased))
        g = torch.where(old > 0, new / torch.where(old > 0, old, 1.0), 1.0)
        factor = torch.where(asking, g, 1.0)
        return torch.stack([torch.ones_like(factor), factor], -1), looking.to(masses)


def gaze_shift(weights: Tensor, image: Tensor, content: Tensor) -> Tensor:
    """Returns how much attention turned to each visual token `[B, T]`, 0 elsewhere.

    d[h, t, v] = max(0, A[h, t, v] - A[h, t - 1, v]) for rows t that carry content; the mean over them and over the
    half of the heads with the largest sum.

    Args:
        weights: A `[B, H, S, T]`.
        image: Which keys are visual tokens, bool `[B, T]`.
        content: Which rows carry content, bool `[B, S]`.
    """
    import torch

    zero = weights.new_zeros(())
    rise = (weights - torch.cat([weights[:, :, :1], weights[:, :, :-1]], 2)).relu()
    rows = torch.where(content, weights.new_ones(()), zero)
    sums = (rows[:, None, None] @ rise)[:, :, 0]
    sums = torch.where(image[:, None], sums, zero)
    kept = torch.where(half(sums.sum(-1)[..., None]), sums, zero).sum(1)
    return kept / ((weights.shape[1] // 2) * rows.sum(-1, keepdim=True).clamp_min(1))


def normalised(raw: Tensor, image: Tensor) -> Tensor:
    """Returns a map `[B, T]` from 0 to 1 over visual tokens; 0 elsewhere, and everywhere where it is constant.

    Values are clipped to 3 standard deviations (of a sample) around the mean before.
    """
    import torch

    zero = raw.new_zeros(())
    count = torch.where(image, raw.new_ones(()), zero).sum(-1, keepdim=True)
    mean = torch.where(image, raw, zero).sum(-1, keepdim=True) / count.clamp_min(1)
    off = torch.where(image, raw - mean, zero)
    reach = _DEVIATIONS * ((off * off).sum(-1, keepdim=True) / (count - 1).clamp_min(1)).sqrt()
    clipped = torch.minimum(torch.maximum(off, -reach), reach)
    least = torch.where(image, clipped, raw.new_full((), float("inf"))).amin(-1, keepdim=True)
    most = torch.where(image, clipped, raw.new_full((), float("-inf"))).amax(-1, keepdim=True)
    varies = image & (most > least)
    span = torch.where(most > least, most - least, raw.new_ones(()))
    return torch.where(varies, (clipped - least) / span, zero)


def half(mass: Tensor) -> Tensor:
    """Returns which heads are the half of largest mass `[B, H, S]`; of equal ones the lower number goes first."""
    import torch

    heads = mass.shape[1]
    index = torch.arange(heads, device=mass.device)
    lower = (index[:, None] > index)[None, :, :, None]  # [1, H, other, 1]
    mine, other = mass[:, :, None], mass[:, None]
    before = (other > mine) | ((other == mine) & lower)
    return before.to(torch.int64).sum(2) < heads // 2


@register_transform
class GIFTTransform(CalibrationTransform):
    """Biases visual tokens by how attention turned to them over the query."""

    info = TransformInfo(
        name="gift",
        summary="visual tokens that the query turned to get exp(alpha s) times the attention from the prompt's end on",
        source="GIFT, ICML 2026 (amazon-science/GIFT), from its equations",
        options={
            "alpha": Option(5.0, "logarithm of the largest factor, from 0: 5 of LLaVA-1.5, 4 of Qwen2-VL"),
            "saliency": Option(
                "", "layers that the map is made of, in front of those that are changed: 11 of LLaVA-1.5-7B"
            ),
            "content": Option("all", "a TOML file of the tokens that carry content, or all"),
            "tail": Option(0, "tokens at a prompt's end that are no part of the query"),
            "image": Option("tokens", "visual tokens: those that the model marks, or positions 3-19"),
            **scope_options("those behind the last saliency layer, the model's last one left out"),
        },
    )
    card = CalibrationCard(
        equation="d[l,h,t,v] = max(0, A[l,h,t,v] - A[l,h,t-1,v]) for query tokens t with content\n"
        "s = mean of d over layers, rows and the half of the heads with the largest sum; clipped at 3 deviations, "
        "brought to 0 ... 1\n"
        "half of the heads with most visual mass: A[h,v] exp(alpha s[v]); g = their new visual mass / old\n"
        "half of the heads with most mass on the query: A[h,query] g; rows divided by their sums\n"
        "deployed: alpha s[v] and log g are added to the scores of those heads",
        sets="visual tokens; tokens of the query",
        factors="exp(alpha s) a key in chosen heads; g, one number a row of a layer, in chosen heads",
        source="amazon-science/GIFT, ICML 2026",
        licence="CC BY-NC 4.0: written from the equations, no code taken",
        released="makes the map in one more prefill without the change, so that its layers may lie behind those that "
        "are changed (here they may not); divides untouched heads' rows too; a constant map is NaN; one text; content "
        "words by a tagger of parts of speech (here by a list of tokens)",
        cost="the scores once more, a softmax, and a product with two columns twice a layer; two numbers a key kept",
        method="the prompt in one call, as its end must be known; then chunks and steps alike",
    )

    def refusals(self, spec: ModelSpec, host: AttentionHost, settings: Mapping[str, Any]) -> list[Unsupported]:
        """Returns that a model marks no visual tokens, or has too few heads."""
        if host.heads < 2:
            return [Unsupported("", spec.name, "it has one head, and half of the heads is chosen", "another model")]
        return image_refusals(spec, host, "gift", settings["image"])

    def neutral(self, settings: Mapping[str, Any]) -> bool:
        """Whether alpha is 0."""
        return bool(settings["alpha"] == 0.0)

    def method(self, settings: Mapping[str, Any], host: AttentionHost) -> GIFT:
        """Returns the method with its settings; as `CalibrationTransform.method`."""
        alpha, tail = settings["alpha"], settings["tail"]
        if not (math.isfinite(alpha) and alpha >= 0):
            raise InputError(f"transform 'gift': alpha is {alpha:g}", expected="0 or more")
        if tail < 0:
            raise InputError(f"transform 'gift': tail is {tail}", expected="0 or more tokens")
        if not settings["saliency"]:
            raise InputError("transform 'gift': no saliency layer is named", expected="saliency=..., a layer's number")
        saliency = numbers("gift", "saliency", settings["saliency"], host.layers, "saliency layer")
        behind = [at for at in host.dense if saliency[-1] < at < host.layers - 1] or [host.layers - 1]
        scope = self.scope(settings, host, behind)
        early = [layer for layer, _ in scope if layer <= saliency[-1]]
        if early:
            raise InputError(
                f"transform 'gift': layer {early[0]} is changed by a map that layer {saliency[-1]} makes",
                expected=f"layers above {saliency[-1]}: a graph computes layer after layer",
            )
        content = content_tokens(settings["content"], host.vocabulary)
        return GIFT(scope, image_range("gift", settings["image"]), alpha, saliency, content, tail)

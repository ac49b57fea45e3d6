"""The transform `act`: attention to sinks behind the first one is cut, and given to the other tokens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurokit.errors import InputError
from neurokit.spec import AttentionHost
from neurokit.transforms.common.calibrate import (
    Calibration,
    CalibrationCard,
    CalibrationTransform,
    Kept,
    scope_options,
    unit,
)
from neurokit.transforms.transform import Option, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.attention.calibration import Decision, View

_SINK = "act_sink"


@dataclass(frozen=True)
class ACT(Calibration):
    """Sinks of a head are the columns of large mean in the prompt, the first one left out.

    Attributes:
        beta: What the sinks' weights are multiplied by.
        threshold: Mean weight of a column above which it is a sink.
    """

    beta: float = 0.4
    threshold: float = 0.1

    name: ClassVar[str] = "act"
    whole_prompt: ClassVar[bool] = True
    memories: ClassVar[tuple[Kept, ...]] = (Kept(_SINK, "1 where a key of the prompt is a sink of the head", True),)

    def remember(self, view: View, weights: Tensor | None, layer: int) -> None:
        """Finds the sinks of a prompt, rows of padding left out; later calls keep them."""
        import torch

        assert weights is not None
        real = torch.where(view.query >= 0, weights.new_ones(()), weights.new_zeros(()))
        columns = (real[:, None, None] @ weights)[:, :, 0]  # [B, H, T]
        # A key is seen by the rows from its own position on: N - j of them, padding or not.
        rows = view.query[:, -1:] - view.key + 1
        mean = columns / rows[:, None].clamp_min(1).to(columns)
        high = ((mean > self.threshold) & (view.key >= 0)[:, None]).to(columns)
        sinks = high * (high.cumsum(-1) > 1).to(columns)
        view.memory[_SINK] = torch.where(view.begins[:, None, None], sinks, view.memory[_SINK])

    def sets(self, view: View) -> Tensor:
        """Returns the sinks, and all other keys `[B, H, 2, T]`."""
        import torch

        sink = view.memory[_SINK] > 0
        return torch.stack([sink, sink.logical_not()], 2)

    def decide(self, view: View, masses: Tensor | None, biased: Tensor | None) -> Decision:
        """Returns beta n / (n + (1 - beta) m) for sinks of mass m and other keys of mass n; 1 where n is 0."""
        import torch

        assert masses is not None
        sinks, others = masses[..., :1], masses[..., 1:]
        some = others > 0
        factor = self.beta * others / torch.where(some, others + (1 - self.beta) * sinks, 1.0)
        factor = torch.where(some, factor, 1.0)
        return torch.cat([factor, torch.ones_like(factor)], -1), None


@register_transform
class ACTTransform(CalibrationTransform):
    """Cuts the attention of sinks in the middle of a text."""

    info = TransformInfo(
        name="act",
        summary="weights of sinks behind the first one times beta, what is freed goes to the other tokens",
        source="Yu et al., ACT, ICML 2024 (arXiv 2406.15765)",
        options={
            "beta": Option(0.4, "what sinks keep, 0 to 1"),
            "threshold": Option(0.1, "mean weight of a column above which it is a sink, above 0, below 1"),
            **scope_options("2 to the last but one"),
        },
    )
    card = CalibrationCard(
        equation="c_j = sum over rows i of A_ij / (N - j), of the prompt; S = {j: c_j > threshold} without its first\n"
        "a'_j = beta a_j for j in S, a'_j = a_j + (1 - beta) m a_j / (1 - m) for others, m = sum of a over S\n"
        "deployed: log of beta (1 - m) / (1 - beta m) is added to the scores of S",
        sets="the sinks of the head's prompt; all other keys",
        factors="beta (1 - m) / (1 - beta m) and 1, by row",
        source="Yu et al., ACT, arXiv 2406.15765; GATECH-EIC/ACT, models/llama_modelling_aug.py",
        licence="the README says Apache-2.0, there is no licence file; equations only, no code taken",
        released="calibrates the first text of a batch only; layers and head lists are those of one model; in steps "
        "every column above the threshold counts, sinks get mass back and the first entry is set to 1, so "
        "rows sum to 1.3 and more: steps here keep the prompt's sinks, and rows sum to 1",
        cost="the scores once more, a softmax, and a product with two columns a layer; one number a head and key kept",
        method="the prompt in one call, as later rows decide what earlier ones see; then chunks and steps alike",
    )

    def neutral(self, settings: Mapping[str, Any]) -> bool:
        """Whether beta is 1."""
        return bool(settings["beta"] == 1.0)

    def method(self, settings: Mapping[str, Any], host: AttentionHost) -> ACT:
        """Returns the method with its settings; as `CalibrationTransform.method`."""
        beta = unit("act", "beta", settings["beta"])
        threshold = settings["threshold"]
        if not 0 < threshold < 1:
            raise InputError(f"transform 'act': threshold is {threshold:g}", expected="above 0, below 1")
        layers = [at for at in host.dense if 2 <= at < host.layers - 1]
        return ACT(self.scope(settings, host, layers), beta, threshold)

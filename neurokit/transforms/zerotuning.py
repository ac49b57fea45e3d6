"""The transform `zerotuning`: the weights of the first token are multiplied by a number in some heads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurokit.errors import InputError
from neurokit.spec import AttentionHost
from neurokit.transforms.common.calibrate import (
    Calibration,
    CalibrationCard,
    CalibrationTransform,
    image_range,
    scope_options,
)
from neurokit.transforms.transform import Option, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.attention.calibration import Decision, View


@dataclass(frozen=True)
class ZeroTuning(Calibration):
    """One set of keys by position, one constant factor.

    Attributes:
        gamma: The factor.
        keys: First position of the set, and the first behind it; positions count from a row's first token.
    """

    gamma: float = 1.0
    keys: tuple[int, int] = (0, 1)

    name: ClassVar[str] = "zerotuning"
    needs_weights: ClassVar[bool] = False

    def sets(self, view: View) -> Tensor:
        """Returns the keys of the set `[B, 1, 1, T]`."""
        inside = (view.key >= self.keys[0]) & (view.key < self.keys[1])
        return inside[:, None, None]

    def decide(self, view: View, masses: Tensor | None, biased: Tensor | None) -> Decision:
        """Returns gamma for every row."""
        import torch

        return torch.full((1, 1, 1, 1), self.gamma, device=view.key.device), None


@register_transform
class ZeroTuningTransform(CalibrationTransform):
    """Scales the attention that the first token (or a range of positions) gets."""

    info = TransformInfo(
        name="zerotuning",
        summary="attention to the first token times gamma in chosen heads, rows divided by their sums",
        source="Han et al., ZeroTuning, 2025 (arXiv 2505.11739)",
        options={
            "gamma": Option(1.0, "factor above 0; above 1 flattens the other keys' share, below 1 sharpens it"),
            "keys": Option("0-1", "positions first-end that are scaled, the end not in it; 0-1 is the first token"),
            **scope_options("all"),
        },
    )
    card = CalibrationCard(
        equation="a'_0 = gamma a_0 / D, a'_i = a_i / D for i >= 1, D = (gamma - 1) a_0 + 1\n"
        "deployed: log gamma is added to the score of key 0",
        sets="key 0 of each row's tokens, or a range of positions",
        factors="gamma, a constant",
        source="Han et al., ZeroTuning, arXiv 2505.11739; FeijiangHan/ZeroTuning, core algorithms/modelling_llama.py",
        licence="no licence file; equations only, no code taken",
        released="its modelling file calls a function by another name than it defines; gamma 0 makes row 0 NaN; in "
        "half precision the product is rounded before the rows are divided",
        cost="one Add of a constant on the mask; all layers of one setting share it",
        method="whole, in chunks and in steps alike",
    )

    def neutral(self, settings: Mapping[str, Any]) -> bool:
        """Whether gamma is 1."""
        return bool(settings["gamma"] == 1.0)

    def method(self, settings: Mapping[str, Any], host: AttentionHost) -> ZeroTuning:
        """Returns the method with its settings; as `CalibrationTransform.method`."""
        gamma = settings["gamma"]
        if not (math.isfinite(gamma) and gamma > 0):
            why = "with 0 a row that sees nothing else would be 0 / 0" if gamma == 0 else "a finite factor"
            raise InputError(f"transform 'zerotuning': gamma is {gamma:g}", expected=f"above 0: {why}")
        keys = settings["keys"]
        at = (int(keys), int(keys) + 1) if keys.isdigit() else image_range("zerotuning", keys, "keys")
        if at is None or at[1] > host.longest:
            raise InputError(f"transform 'zerotuning': keys={keys}", expected=f"positions below {host.longest}")
        return ZeroTuning(self.scope(settings, host, host.dense), gamma, at)

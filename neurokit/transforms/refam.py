"""The transform `refam`: a heat map of the words of content over the image becomes an output of the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from neurokit.errors import InputError
from neurokit.spec import AttentionHost
from neurokit.transforms.common.calibrate import Calibration, CalibrationCard, CalibrationTransform
from neurokit.transforms.transform import Option, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class RefAM(Calibration):
    """Reads attention, and changes none.

    Attributes:
        kappa: Factor of the median above which an image token is a global sink.
        deep: Number of the first deep block.
    """

    kappa: float = 4.0
    deep: int = 0

    name: ClassVar[str] = "refam"

    def heat_map(self, weights: Tensor, content: Tensor) -> Tensor:
        """Returns the map `[B, N]`; as `neurokit.attention.heat_map`."""
        from neurokit.attention.heat_map import heat_map

        return heat_map(weights, content, content.shape[1], self.kappa, self.deep)


@register_transform
class RefAMTransform(CalibrationTransform):
    """Adds a heat map of the text over the image."""

    info = TransformInfo(
        name="refam",
        summary="a heat map of the words of content over the image, global sinks suppressed, as an output of the graph",
        source="RefAM (arXiv 2509.22650), faithful in form: its blocks and thresholds were not to be had",
        options={
            "kappa": Option(4.0, "image tokens that receive more than so many medians are sinks; 1 or more"),
            "deep": Option(-1, "first block in which sinks are looked for; -1 is the later half"),
        },
    )
    card = CalibrationCard(
        equation="h_v = mean over blocks, heads and words t of content of A[t, v], v the image's tokens\n"
        "r_v = mean over heads and all rows of the deep blocks of A[., v]; h_v = 0 where r_v > kappa median(r)\n"
        "point: argmax of h; mask: the largest connected part of h >= threshold max(h)",
        sets="words of content, of stop words and appended magnets; image tokens that are global sinks",
        factors="1 for words of content, 0 for others and for sinks; attention itself is not changed",
        source="RefAM, arXiv 2509.22650; no code found, rule of sinks, blocks and thresholds are ours",
        licence="none; from the method's description",
        released="no code was found; the paper's masks come from SAM, here from a threshold and connectedness",
        cost="the weights of all blocks are kept until the map is read",
        method="one call; there are no steps",
    )
    joint = True

    def neutral(self, settings: Mapping[str, Any]) -> bool:
        """Never: the output is new."""
        return False

    def notes(self, settings: Mapping[str, Any]) -> tuple[str, ...]:
        """Returns what is not the paper's."""
        return ("faithful in form: the rule of sinks, the blocks and the thresholds are not the paper's",)

    def method(self, settings: Mapping[str, Any], host: AttentionHost) -> RefAM:
        """Returns the method with its settings; as `CalibrationTransform.method`."""
        kappa, deep = settings["kappa"], settings["deep"]
        if not kappa >= 1:
            raise InputError(f"transform 'refam': kappa is {kappa:g}", expected="1 or more")
        if not -1 <= deep < host.layers:
            raise InputError(f"transform 'refam': deep is {deep}", expected=f"a block, 0 to {host.layers - 1}, or -1")
        return RefAM((), kappa, host.layers // 2 if deep < 0 else deep)

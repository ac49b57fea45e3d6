"""The transform `var`: in rows that look at the image, attention to sinks is given to the other visual tokens."""

from __future__ import annotations

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
    unit,
)
from neurokit.transforms.common.heads import numbers
from neurokit.transforms.transform import Option, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.attention.calibration import Decision, View

_SINK = "var_sink"
_EPS = 1e-6  # of the norm that massive activations are found in, and of a visual token's share


@dataclass(frozen=True)
class VAR(ImageCalibration):
    """Sinks are tokens with a massive activation in one of a few channels of the stream.

    Attributes:
        dims: The channels.
        tau: Value of the normalised stream above which an activation is massive.
        rho: Largest share of sinks in a row's visual mass.
        summ: Smallest visual mass of a row.
        p: What sinks keep.
    """

    dims: tuple[int, ...] = ()
    tau: float = 20.0
    rho: float = 0.5
    summ: float = 0.2
    p: float = 0.6

    name: ClassVar[str] = "var"
    looks_at_stream: ClassVar[bool] = True
    memories: ClassVar[tuple[Kept, ...]] = (Kept(_SINK, "1 where a token has a massive activation in the layer"),)

    def massive(self, stream: Tensor) -> Tensor:
        """Returns which tokens have a massive activation, bool `[B, S]`, for a stream `[B, S, width]`."""
        norm = stream * ((stream * stream).mean(-1, keepdim=True) + _EPS).rsqrt()
        found = norm[..., self.dims[0]].abs() > self.tau
        for channel in self.dims[1:]:
            found = found | (norm[..., channel].abs() > self.tau)
        return found

    def remember(self, view: View, weights: Tensor | None, layer: int) -> None:
        """Marks the new tokens; those before keep what they were marked with."""
        assert view.stream is not None
        massive = self.massive(view.stream) & (view.query >= 0)
        view.memory[_SINK] = view.entered(_SINK, massive[:, None].to(view.memory[_SINK]))

    def sets(self, view: View) -> Tensor:
        """Returns visual sinks, other sinks, and visual tokens that are none `[B, 1, 3, T]`."""
        import torch

        sink, image = view.memory[_SINK][:, 0] > 0, self.image_of(view)
        return torch.stack([sink & image, sink & ~image, image & ~sink], 1)[:, None]

    def decide(self, view: View, masses: Tensor | None, biased: Tensor | None) -> Decision:
        """Returns p for sinks and 1 + (1 - p) m_S / m_N for visual others in rows that qualify; 1 in other rows."""
        import torch

        assert masses is not None
        inside, outside, others = masses[..., 0], masses[..., 1], masses[..., 2]
        image, sink = self.image_of(view), view.memory[_SINK][:, 0] > 0
        count = image.to(masses).sum(-1)[:, None, None]
        visual = inside + others
        rows = (visual >= self.summ) & (inside <= self.rho * (visual + _EPS * count)) & (others > 0)
        rows = rows & (image & sink).any(-1)[:, None, None] & self.behind_image(view)[:, None]
        gained = 1 + (1 - self.p) * (inside + outside) / torch.where(others > 0, others, 1.0)
        cut = torch.full_like(gained, self.p)
        factors = torch.stack([cut, cut, gained], -1)
        return torch.where(rows[..., None], factors, 1.0), None


@register_transform
class VARTransform(CalibrationTransform):
    """Redistributes what visual sinks get."""

    info = TransformInfo(
        name="var",
        summary="attention to sinks times p in rows that look at the image, what is freed goes to visual tokens",
        source="Kang et al., See What You Are Told: Visual Attention Sink, ICLR 2025 (arXiv 2503.03321)",
        options={
            "dims": Option("", "channels of massive activations: 2533,1415 of Llama-2-7B, 2100,4743 of 13B"),
            "tau": Option(20.0, "normalised activation above which a token is a sink"),
            "rho": Option(0.5, "largest share of sinks in a row's visual mass, 0 to 1"),
            "summ": Option(0.2, "smallest visual mass of a row, 0 to 1"),
            "p": Option(0.6, "what sinks keep, 0 to 1"),
            "image": Option("tokens", "visual tokens: those that the model marks, or positions 3-19"),
            "last_layer": Option(False, "whether the last layer is changed too, as the released code does"),
            **scope_options("2 to the last but one"),
        },
    )
    card = CalibrationCard(
        equation="S = {tokens with |norm(h)_d| > tau for a d of dims}, norm without weight, h what enters the layer\n"
        "rows: behind the image, visual mass >= summ, share of sinks in it <= rho, some visual token in S\n"
        "a'_j = p a_j for j in S; a'_j = a_j (1 + (1 - p) m_S / m_N) for visual j not in S\n"
        "deployed: logs of the two factors are added to the scores",
        sets="visual sinks; other sinks; visual tokens that are no sinks",
        factors="p, p and 1 + (1 - p) m_S / m_N in rows that qualify, else 1",
        source="Kang et al., arXiv 2503.03321; seilk/VisAttnSink, src/logic/logic.py",
        licence="Apache-2.0; equations only, no code taken",
        released="asks for the last layer to be left out and changes it (last_layer=true does so); one text; keeps "
        "the prompt's sinks in steps, where a generated token is never one: here every token is marked by its own "
        "activation, so that prompt, chunks and steps are the same",
        cost="the scores once more, a softmax, and a product with three columns a layer; one number a key kept",
        method="whole, in chunks and in steps alike",
    )

    def refusals(self, spec: ModelSpec, host: AttentionHost, settings: Mapping[str, Any]) -> list[Unsupported]:
        """Returns that a model marks no visual tokens."""
        return image_refusals(spec, host, "var", settings["image"])

    def neutral(self, settings: Mapping[str, Any]) -> bool:
        """Whether p is 1."""
        return bool(settings["p"] == 1.0)

    def method(self, settings: Mapping[str, Any], host: AttentionHost) -> VAR:
        """Returns the method with its settings; as `CalibrationTransform.method`."""
        if not settings["dims"]:
            raise InputError("transform 'var': no channel is named", expected="dims=..., where activations are massive")
        dims = numbers("var", "dims", settings["dims"], host.width, "channel")
        if not settings["tau"] > 0:
            raise InputError(f"transform 'var': tau is {settings['tau']:g}", expected="above 0")
        rho, summ, p = (unit("var", key, settings[key]) for key in ("rho", "summ", "p"))
        end = host.layers if settings["last_layer"] else host.layers - 1
        layers = [at for at in host.dense if 2 <= at < end]
        image = image_range("var", settings["image"])
        return VAR(self.scope(settings, host, layers), image, dims, settings["tau"], rho, summ, p)

"""Diffusion transformers in Flux's form: text and image tokens in one attention, under their public names."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from neurokit.spec import AttentionHost, ModelSpec, TensorSpec, register_model

if TYPE_CHECKING:
    from torch import nn


@dataclass(frozen=True)
class JointConfig:
    """The sizes of a joint diffusion transformer.

    Attributes:
        channels: Channels of an image token.
        joint: Blocks in which text and image have weights of their own.
        single: Blocks behind them, with the same weights for both.
        heads: Heads.
        axes: Channels of a head that turn with each of the three coordinates of a token.
        text_width: Width of a text token's embedding.
        pooled: Width of the embedding of the whole text.
        text: Number of text tokens.
        side: Height and width of the image, in tokens.
        theta: Base of the rotary frequencies.
        heat: What reads a heat map off the attention, or None.
    """

    channels: int
    joint: int
    single: int
    heads: int
    axes: tuple[int, int, int]
    text_width: int
    pooled: int
    text: int
    side: int
    theta: float = 10000.0
    heat: Any = None

    @property
    def head_size(self) -> int:
        """Width of a head."""
        return sum(self.axes)

    @property
    def width(self) -> int:
        """Width of the stream."""
        return self.heads * self.head_size

    @property
    def image(self) -> int:
        """Number of image tokens."""
        return self.side * self.side


JOINT_DIT_TINY = JointConfig(8, 2, 2, 2, (4, 6, 6), 24, 20, 7, 6)


@register_model
def joint_dit_tiny() -> ModelSpec:
    """A diffusion transformer in Flux's form with 121,736 parameters, drawn by name."""

    def build(config: JointConfig) -> nn.Module:
        from neurokit.models.decoder.drawn import fill
        from neurokit.models.joint_dit.net import JointTransformer

        return fill(JointTransformer.blank(config), gains={})

    return _spec(JOINT_DIT_TINY, build)


def _spec(config: JointConfig, build: Any) -> ModelSpec:
    def calibrate(method: Any) -> ModelSpec:
        return _spec(replace(config, heat=method), build)

    blocks = config.joint + config.single
    content = TensorSpec("content", (config.text,), low=0.0, high=1.0, layout="L", meaning="1 for words of content")
    heat = (TensorSpec("heat_map", (config.image,), layout="L", meaning="attention of the text to each image token"),)
    return ModelSpec(
        "joint_dit_tiny",
        lambda: build(config),
        (
            TensorSpec("hidden_states", (config.image, config.channels), layout="LF", low=-2.0, high=2.0),
            TensorSpec("encoder_hidden_states", (config.text, config.text_width), layout="LF", low=-2.0, high=2.0),
            TensorSpec("pooled", (config.pooled,), layout="F", low=-2.0, high=2.0),
            TensorSpec("timestep", (), layout="", meaning="time of the diffusion, 0 to 1"),
            *([content] if config.heat else []),
        ),
        description="diffusion transformer in Flux's form, 0.1 M parameters, untrained",
        source="FLUX.1 (Black Forest Labs, 2024), from its public implementation's equations",
        outputs=(
            TensorSpec("sample", (config.image, config.channels), layout="LF", meaning="predicted flow"),
            *(heat if config.heat else ()),
        ),
        attention=AttentionHost(
            blocks,
            config.heads,
            config.heads,
            config.width,
            config.text + config.image,
            0,
            tuple(range(blocks)),
            calibrate,
            image=True,
            joint=True,
        ),
    )

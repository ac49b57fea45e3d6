"""Vision-language models in LLaVA's form: a CLIP tower, a projector and a decoder, two graphs under public names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from neurokit.dims import Dim
from neurokit.models.decoder import TINY_LM, attention_of, loop_of
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.mixing import states_of, token_work
from neurokit.spec import GraphSpec, ModelSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    from torch import nn

VISION, TEXT = "vision", "text"
IMAGE_TOKEN = 250


@dataclass(frozen=True)
class VisionConfig:
    """The sizes of a CLIP tower.

    Attributes:
        width: Width of its stream.
        inner: Width of its MLP.
        layers: Number of layers, those that are not used included.
        heads: Heads.
        image: Height and width of a picture, in pixels.
        patch: Height and width of a patch.
        feature_layer: Layer whose stream is taken, counted as the public code does: -2 is what the last but one gives.
        eps: What layer norms add under their root.
    """

    width: int
    inner: int
    layers: int
    heads: int
    image: int
    patch: int
    feature_layer: int = -2
    eps: float = 1e-5

    @property
    def tokens(self) -> int:
        """Visual tokens of a picture; the class token is left out."""
        return (self.image // self.patch) ** 2

    @property
    def used(self) -> int:
        """Layers that are computed."""
        return self.layers + 1 + self.feature_layer if self.feature_layer < 0 else self.feature_layer


TINY_VISION = VisionConfig(width=32, inner=64, layers=2, heads=2, image=28, patch=7)


@register_model
def tiny_vlm() -> ModelSpec:
    """A vision-language model in LLaVA's form with 246,432 parameters, drawn by name."""

    def build(config: DecoderConfig) -> nn.Module:
        from neurokit.models.decoder.drawn import GAINS, fill
        from neurokit.models.vision_language.net import VisionLanguage, blank

        return fill(blank(VisionLanguage, config, TINY_VISION), gains={**GAINS, "linear_2.weight": 8.0})

    config = replace(TINY_LM, image_token=IMAGE_TOKEN)
    return vision_language_spec("tiny_vlm", config, TINY_VISION, build, "LLaVA's form, 0.2 M parameters, untrained")


def vision_language_spec(
    name: str,
    config: DecoderConfig,
    vision: VisionConfig,
    build: Callable[[DecoderConfig], nn.Module],
    description: str = "vision-language model",
) -> ModelSpec:
    """Returns the specification of a vision-language model.

    Graph `vision` takes pictures and gives the features of their visual tokens; graph `text` is the decoder, whose
    tokens `image_token` stand for them in order. A runner hands the features on.

    Args:
        name: Name of the model.
        config: Sizes of the decoder, with the token that stands for a visual one.
        vision: Sizes of the tower.
        build: Returns the module for such sizes of the decoder.
        description: One line for listings.
    """

    def changed(**what: Any) -> ModelSpec:
        return vision_language_spec(name, replace(config, **what), vision, build, description)

    new = Dim("S", max=config.longest)
    features = TensorSpec(
        "features",
        (vision.tokens, config.width),
        layout="LF",
        meaning="visual tokens, in the decoder's width",
        source=f"{VISION}.features",
    )
    pixels = (3, vision.image, vision.image)
    graphs = (
        GraphSpec(
            VISION,
            (TensorSpec("pixel_values", pixels, low=-2.0, high=2.0, meaning="a picture, normalised as CLIP takes it"),),
            (replace(features, source=""),),
            method="vision",
        ),
        GraphSpec(
            TEXT,
            (
                TensorSpec("ids", (new,), "int64", "L", high=config.vocabulary - 1, meaning="tokens; -1 is padding"),
                features,
            ),
            (TensorSpec("logits", (new, config.vocabulary), layout="LF", meaning="of the token after each token"),),
            states_of(config),
            example=_example(config, vision),
        ),
    )
    loop = {
        **loop_of(config),
        "full": TEXT,
        "partial": TEXT,
        "every": 1,
        "encoder": VISION,
        "image_token": config.image_token,
        "image_count": vision.tokens,
        "needs_image": any(method.looks_at_image for method in config.calibrations),
    }
    return ModelSpec(
        name,
        lambda: build(config),
        description=description,
        source="LLaVA (Liu et al., 2023) with CLIP (Radford et al., 2021) and Llama, from their equations",
        task=TaskSpec("generation", loop),
        graphs=graphs,
        attention=attention_of(config, changed),
        token_work=lambda before: token_work(config, before),
    )


def _example(config: DecoderConfig, vision: VisionConfig) -> Callable[..., Mapping[str, Any]]:
    """Returns what draws the tokens of a call; a first one that is long enough has a picture."""

    def example(batch: int, time_steps: int, seed: int, sizes: Mapping[str, int] | None = None) -> Any:
        import torch

        sizes = {"S": vision.tokens + 10, "P": 0, **(sizes or {})}
        generator = torch.Generator().manual_seed(seed)
        ids = torch.randint(0, config.vocabulary, (batch, sizes["S"]), generator=generator)
        ids[ids == config.image_token] = 0
        if sizes["P"] == 0 and sizes["S"] >= vision.tokens + 4:
            ids[:, 3 : 3 + vision.tokens] = config.image_token
            ids[1::2, :2] = -1
        features = torch.randn(batch, vision.tokens, config.width, generator=generator)
        return {"ids": ids, "features": features}

    return example

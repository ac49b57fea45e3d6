"""EmotionIC: the emotion of every utterance of a dialogue."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.spec import ModelSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SOURCE = "Liu et al., EmotionIC, 2023; own code from the published structure, parameters named as released"
EMOTIONS = ("happy", "sad", "neutral", "angry", "excited", "frustrated")  # IEMOCAP's, in the public order
# What the host decodes with, by the names of the outputs; see neurokit.tasks.skip_chain.
FIELD = {"speakers": "speakers", "start": "start", "end": "end", "same": "same", "other": "other"}
# Which input is what of a dialogue in JSON; see neurokit.data.dialogues.
DIALOGUE = {"features": "text", "speaker": "speaker"}


@register_model
def emotionic() -> ModelSpec:
    """IEMOCAP's sizes on dialogues of up to 32 utterances: 62,000,144 parameters and 84 of the random field."""
    return _spec("emotionic", 32, {})


def emotionic_small() -> ModelSpec:
    """Two layers and two cells, 32 and 24 wide, on dialogues of up to 8 utterances."""
    return _spec("emotionic_small", 8, {"features": 32, "width": 24, "layers": 2, "cells": 2, "heads": 4})


def _spec(name: str, longest: int, sizes: dict[str, int]) -> ModelSpec:
    features = sizes.get("features", 1024)

    def build() -> nn.Module:
        import torch

        from neurokit.models.emotionic.net import EmotionIC

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return EmotionIC(**sizes).eval()

    def example(batch: int, time_steps: int, seed: int) -> dict[str, torch.Tensor]:
        import torch

        drawn = torch.Generator().manual_seed(seed)
        speaker = torch.randint(3, (batch, longest), generator=drawn)
        lengths = torch.randint(longest // 2, longest + 1, (batch, 1), generator=drawn)
        speaker[torch.arange(longest) >= lengths] = -1
        return {"text": torch.randn(batch, longest, features, generator=drawn), "speaker": speaker}

    return ModelSpec(
        name=name,
        build=build,
        inputs=(
            TensorSpec("text", (longest, features), layout="LF", low=-4, high=4, meaning="features of the utterances"),
            TensorSpec("speaker", (longest,), "int64", "L", low=-1, high=8, meaning="who speaks; -1 behind the end"),
        ),
        outputs=("emissions", *FIELD),
        description="emotion of every utterance of a dialogue, decoded exactly on the host",
        source=SOURCE,
        task=TaskSpec(
            "sequence_labelling",
            {"classes": list(EMOTIONS), "skip_chain": dict(FIELD), "dialogue": dict(DIALOGUE)},
        ),
        example=example,
        small=emotionic_small,
    )

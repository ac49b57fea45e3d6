"""A sentence encoder without a vocabulary: the mean of vectors of hashed character n-grams, as fastText has it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from neurokit.dims import Dim
from neurokit.spec import ModelSpec, TensorSpec, register_model

if TYPE_CHECKING:
    from torch import nn

BUCKETS, WIDTH, LEAST, MOST = 8192, 128, 3, 6
LONGEST = 4096  # n-grams of a sentence


@register_model
def ngram_encoder() -> ModelSpec:
    """1,048,576 parameters, drawn by name: words that share n-grams are near each other, and nothing else is known."""
    length = Dim("L", max=LONGEST)

    def build() -> nn.Module:
        from neurokit.models.decoder.drawn import fill
        from neurokit.models.ngram_encoder.net import NgramEncoder

        return fill(NgramEncoder(BUCKETS, WIDTH)).eval()

    def example(batch: int, time_steps: int, seed: int, sizes: Mapping[str, int] | None = None) -> Any:
        import torch

        generator = torch.Generator().manual_seed(seed)
        count = (sizes or {}).get("L", 12)
        ids = torch.randint(0, BUCKETS, (batch, count), generator=generator)
        ids[1::2, (count + 1) // 2 :] = -1
        return {"ids": ids}

    return ModelSpec(
        "ngram_encoder",
        build,
        (TensorSpec("ids", (length,), "int64", "L", low=-1, high=BUCKETS - 1, meaning="n-grams; -1 is padding"),),
        description="sentence encoder of hashed character n-grams, 1.0 M parameters, untrained",
        source="after Bojanowski et al., fastText, TACL 2017; faithful in form",
        options={"ngrams": {"buckets": BUCKETS, "least": LEAST, "most": MOST}},
        example=example,
        outputs=(TensorSpec("embedding", (WIDTH,), layout="F", meaning="of a sentence, of length 1"),),
    )

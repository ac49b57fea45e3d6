"""The transform `head_mask`: a language model becomes a scorer of texts whose heads are masked by an input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neurokit.errors import Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.transform import Transformed, TransformInfo, register_transform


@register_transform
class HeadMask:
    """Makes the graph that `neurokit score` runs: texts and a mask of heads in, the loss of every token out."""

    info = TransformInfo(
        name="head_mask",
        summary="a language model as a scorer: losses of the tokens of a text, heads masked by an input",
        source="AttentionInfluence (Hua et al., arXiv 2505.07293), from its equations",
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why the model has no heads to mask."""
        if spec.scorer is not None:
            return []
        return [Unsupported("", spec.name, "it is no decoder of softmax attention alone", "leave the transform away")]

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the scorer."""
        assert spec.scorer is not None  # `check` was asked
        return Transformed(spec.scorer())

"""The transform `merge`: re-parameterised branches become single convolutions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from neurokit.errors import Unsupported
from neurokit.spec import ModelSpec
from neurokit.transforms.transform import Transformed, TransformInfo, register_transform

if TYPE_CHECKING:
    from torch import nn


@register_transform
class Merge:
    """Merges re-parameterised branches exactly, so that spikes are the operands of a dense convolution."""

    info = TransformInfo(
        name="merge",
        summary="re-parameterised branches (RepConv) merged into single convolutions",
        source="Ding et al., RepVGG, CVPR 2021; Yao et al., Meta-SpikeFormer, ICLR 2024",
    )

    def check(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Sequence[Unsupported]:
        """Returns why there is nothing to merge."""
        if spec.merge_reparameterised is not None:
            return []
        fix = "leave the transform away, or give the ModelSpec a merge_reparameterised"
        return [Unsupported("", spec.name, "its specification says of no branches how they are merged", fix)]

    def apply(self, spec: ModelSpec, settings: Mapping[str, Any]) -> Transformed:
        """Returns the specification that builds the merged module."""
        build, merge = spec.build, spec.merge_reparameterised
        assert merge is not None

        def merged() -> nn.Module:
            return merge(build())

        return Transformed(replace(spec, build=merged, merge_reparameterised=None))

"""The specification of an untrained network that segments images or volumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from neurokit.spec import ModelSpec, TaskSpec, TensorSpec

if TYPE_CHECKING:
    import torch
    from torch import nn


def segmenter(
    name: str,
    shape: tuple[int, ...],
    make: Callable[[], nn.Module],
    *,
    description: str,
    source: str,
    small: Callable[[], ModelSpec],
    layout: str = "CHW",
    seen: tuple[int, ...] = (),
    further: tuple[str, ...] = (),
    settings: Mapping[str, Any] | None = None,
    large: bool = False,
) -> ModelSpec:
    """Returns a network with one score a class at every place.

    Args:
        name: Name of the model.
        shape: Sizes of its input, channels first.
        make: Makes the network, with random weights.
        description: One line on the model.
        source: Where it is published.
        small: Returns a model of the same parts and few of each.
        layout: One letter an axis.
        seen: Sizes of one sample that its batch statistics are matched to, if another than `shape`.
        further: Names of what it gives beside the scores.
        settings: Further settings of its task.
        large: Whether its module takes more than a gigabyte.
    """

    def drawn(batch: int, sizes: tuple[int, ...], seed: int) -> torch.Tensor:
        import torch

        return torch.rand(batch, *sizes, generator=torch.Generator().manual_seed(seed))

    def build() -> nn.Module:
        from neurokit.models.common.untrained import build_untrained

        return build_untrained(make, drawn(2, seen or shape, 0))

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("image", shape, layout=layout, meaning="brightness, 0 to 1"),),
        outputs=("scores", *further),
        description=description,
        source=source,
        task=TaskSpec("segmentation", {"background": 0, **(settings or {})}),
        example=lambda batch, time_steps, seed: drawn(batch, shape, seed),
        small=small,
        large=large,
    )

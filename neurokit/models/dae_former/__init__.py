"""DAE-Former and TransDAE: segmentation by attention over places and over channels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.models.common.segmenter import segmenter
from neurokit.spec import ModelSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

DAE = "Azad et al., DAE-Former, 2022; own code from the published structure, parameters named as released (MIT)"
SPIKING = "design of its own on TransDAE's frame (Azad et al., 2024), attention after Yao et al., ICLR 2024"
TIME_STEPS = 4
SCALE = 1.6  # standard deviation of untrained currents, so that every layer fires
TRANS = "Azad et al., TransDAE, 2024; no code is published: faithful in form on DAE-Former's frame"


@register_model
def dae_former() -> ModelSpec:
    """As published at 224 px: 48,073,065 parameters, of which 18,382,864 are never read."""
    return _spec("dae_former", DAE, (128, 320, 512), 224, interacting=False)


@register_model
def trans_dae() -> ModelSpec:
    """Spatially reduced and efficient attention, and skip connections across scales, on grey images of 224 px."""
    return _spec("trans_dae", TRANS, (128, 320, 512), 224, interacting=True)


@register_model
def trans_dae_spiking() -> ModelSpec:
    """TransDAE of spikes over 4 steps, on grey images of 224 px: its efficient attention counts coincidences."""
    return _spiking("trans_dae_spiking", (128, 320, 512), 224, 2)


def trans_dae_spiking_small() -> ModelSpec:
    """One block a stage, 16 to 64 wide, on images of 64 x 64."""
    return _spiking("trans_dae_spiking_small", (16, 32, 64), 64, 1)


def dae_former_small() -> ModelSpec:
    """One block a stage, 16 to 64 wide, on images of 32 x 32."""
    return _spec("dae_former_small", DAE, (16, 32, 64), 32, interacting=False, depth=1)


def trans_dae_small() -> ModelSpec:
    """One block a stage, 16 to 64 wide, on images of 64 x 64."""
    return _spec("trans_dae_small", TRANS, (16, 32, 64), 64, interacting=True, depth=1)


def _spec(
    name: str, source: str, widths: tuple[int, int, int], side: int, *, interacting: bool, depth: int = 2
) -> ModelSpec:
    channels = 1 if interacting else 3

    def make():  # type: ignore[no-untyped-def]  # torch is imported where it is used
        from neurokit.models.dae_former.net import DAEFormer

        return DAEFormer(widths, depth=depth, channels=channels, interacting=interacting)

    return segmenter(
        name,
        (channels, side, side),
        make,
        description="segmentation into 9 classes by attention over places and over channels",
        source=source,
        small=trans_dae_small if interacting else dae_former_small,
    )


def _spiking(name: str, widths: tuple[int, int, int], side: int, depth: int) -> ModelSpec:
    def example(batch: int, time_steps: int, seed: int) -> torch.Tensor:
        import torch

        image = torch.rand(batch, 1, side, side, generator=torch.Generator().manual_seed(seed))
        return image.expand(time_steps, -1, -1, -1, -1).contiguous()

    def build() -> nn.Module:
        from neurokit.models.common.untrained import build_untrained
        from neurokit.models.dae_former.spiking import SpikingTransDAE

        return build_untrained(lambda: SpikingTransDAE(widths, depth=depth), example(2, TIME_STEPS, 0), SCALE)

    return ModelSpec(
        name=name,
        build=build,
        inputs=(TensorSpec("image", (1, side, side), layout="CHW", meaning="brightness, 0 to 1"),),
        outputs=("scores",),
        time_steps=TIME_STEPS,
        time_input="sequence",
        time_output="mean",
        description="segmentation into 9 classes by spiking attention over places and over channels",
        source=SPIKING,
        task=TaskSpec("segmentation", {"background": 0}),
        example=example,
        small=trans_dae_spiking_small,
    )

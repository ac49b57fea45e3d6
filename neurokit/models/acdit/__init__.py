"""ACDiT: images by autoregression over blocks and diffusion inside of each."""

from __future__ import annotations

from typing import TYPE_CHECKING

from neurokit.spec import ModelSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SOURCE = "Hu et al., ACDiT, 2024; own code from the published equations, parameters named as released (MIT)"


@register_model
def acdit_b() -> ModelSpec:
    """Size B on latents of 256 px images, 4 blocks of 256 tokens: 130,305,028 parameters; all blocks in one pass."""
    return _spec("acdit_b", {})


def acdit_small() -> ModelSpec:
    """Two layers 32 wide, 4 blocks of 4 tokens."""
    return _spec("acdit_small", {"depth": 2, "width": 32, "heads": 2, "side": 4, "classes": 5})


def _spec(name: str, sizes: dict[str, int]) -> ModelSpec:
    side, classes, latent, count = sizes.get("side", 32), sizes.get("classes", 1000), 4, 4
    block = (count, side * side // count, latent)

    def build() -> nn.Module:
        import torch

        from neurokit.models.acdit.net import ACDiT, Sizes

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return ACDiT(Sizes(**sizes)).eval()

    def example(batch: int, time_steps: int, seed: int) -> dict[str, torch.Tensor]:
        import torch

        drawn = torch.Generator().manual_seed(seed)
        return {
            "clean": torch.randn(batch, *block, generator=drawn),
            "noised": torch.randn(batch, *block, generator=drawn),
            "t": 1000 * torch.rand(batch, count, generator=drawn),
            "label": torch.randint(classes + 1, (batch,), generator=drawn),
        }

    return ModelSpec(
        name=name,
        build=build,
        inputs=(
            TensorSpec("clean", block, layout="NLC", low=-4, high=4, meaning="latents of the image, blocks in order"),
            TensorSpec("noised", block, layout="NLC", low=-4, high=4, meaning="the same with noise"),
            TensorSpec("t", (count,), layout="N", high=1000, meaning="time of the noise of each block"),
            TensorSpec("label", (), "int64", layout="", high=classes, meaning="class; the last number is none"),
        ),
        outputs=("noise",),
        description="noise in every block of an image, given the clean blocks before it",
        source=SOURCE,
        example=example,
        small=acdit_small,
    )

"""ACDiT: images by autoregression over blocks and diffusion inside of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from neurokit.dims import Dim
from neurokit.spec import GraphSpec, ModelSpec, StateSpec, TaskSpec, TensorSpec, register_model

if TYPE_CHECKING:
    import torch
    from torch import nn

SMALL = {"depth": 2, "width": 32, "heads": 2, "side": 4, "classes": 5}
SOURCE = "Hu et al., ACDiT, 2024; own code from the published equations, parameters named as released (MIT)"


@register_model
def acdit_b() -> ModelSpec:
    """Size B on latents of 256 px images, 4 blocks of 256 tokens: 130,305,028 parameters; all blocks in one pass."""
    return _spec("acdit_b", {})


@register_model
def acdit_b_blocks() -> ModelSpec:
    """The same network a block a call, with a cache of the clean blocks: what the host draws an image with."""
    return _blocks("acdit_b_blocks", {})


def acdit_blocks_small() -> ModelSpec:
    """Two layers 32 wide, 4 blocks of 4 tokens."""
    return _blocks("acdit_blocks_small", SMALL)


def acdit_small() -> ModelSpec:
    """Two layers 32 wide, 4 blocks of 4 tokens."""
    return _spec("acdit_small", SMALL)


def _spec(name: str, sizes: dict[str, int]) -> ModelSpec:
    side, classes, latent, count = sizes.get("side", 32), sizes.get("classes", 1000), 4, 4
    block = (count, side * side // count, latent)

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
        build=_build(sizes),
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


def _blocks(name: str, sizes: dict[str, int]) -> ModelSpec:
    side, classes, latent, count = sizes.get("side", 32), sizes.get("classes", 1000), 4, 4
    heads, width = sizes.get("heads", 12), sizes.get("width", 768)
    tokens = side * side // count

    def example(batch: int, time_steps: int, seed: int, sizes: dict[str, int] | None = None) -> dict[str, torch.Tensor]:
        import torch

        drawn = torch.Generator().manual_seed(seed)
        return {
            "block": torch.randn(batch, tokens, latent, generator=drawn),
            "index": torch.full((batch,), (sizes or {}).get("P", 0) // tokens % count),
            "t": 1000 * torch.rand(batch, generator=drawn),
            "label": torch.randint(classes + 1, (batch,), generator=drawn),
            "clean": torch.randint(2, (batch,), generator=drawn).float(),
        }

    cache = (sizes.get("depth", 12) * heads, Dim("P", min=0, max=count * tokens), width // heads)
    step = GraphSpec(
        "step",
        (
            TensorSpec("block", (tokens, latent), layout="LC", low=-4, high=4, meaning="latents of a block"),
            TensorSpec("index", (), "int64", layout="", high=count - 1, meaning="number of the block"),
            TensorSpec("t", (), layout="", high=1000, meaning="time of its noise"),
            TensorSpec("label", (), "int64", layout="", high=classes, meaning="class; the last number is none"),
            TensorSpec("clean", (), layout="", meaning="1 for a clean block, 0 for one with noise"),
        ),
        ("noise",),
        tuple(StateSpec(part, cache, layout="HLF", grows={"P": f"P+{tokens}"}) for part in ("keys", "values")),
        method="step",
        example=example,
    )
    return ModelSpec(
        name,
        _build(sizes),
        description="an image drawn block after block, each by diffusion that looks back at the clean ones",
        source=SOURCE,
        task=TaskSpec("block_diffusion", {"blocks": [int(count**0.5)] * 2, "steps": 25}),
        graphs=(step,),
        small=acdit_blocks_small,
    )


def _build(sizes: dict[str, int]) -> Callable[[], nn.Module]:
    """Returns what makes the network, with random weights that are the same every time."""

    def build() -> nn.Module:
        import torch

        from neurokit.models.acdit.net import ACDiT, Sizes

        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return ACDiT(Sizes(**sizes)).eval()

    return build

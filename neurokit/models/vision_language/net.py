"""A CLIP tower, a projector and a decoder that puts their features in the place of image tokens; public names."""

from __future__ import annotations

from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.net import Decoder, Trunk
from neurokit.models.decoder.tokens import Tokens
from neurokit.models.vision_language import VisionConfig


class Embeddings(nn.Module):
    """A class token and patches, each with its position."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.class_embedding = nn.Parameter(torch.zeros(vision.width))
        self.patch_embedding = nn.Conv2d(3, vision.width, vision.patch, vision.patch, bias=False)
        self.position_embedding = nn.Embedding(vision.tokens + 1, vision.width)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns `[B, 1 + tokens, width]` for pictures `[B, 3, H, W]`."""
        patches = self.patch_embedding(pixels).flatten(2).transpose(1, 2)
        first = self.class_embedding.expand(pixels.shape[0], 1, -1)
        return torch.cat([first, patches], 1) + self.position_embedding.weight


class VisionAttention(nn.Module):
    """Attention of all tokens to all, every projection with a bias."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.heads = vision.heads
        for name in ("k_proj", "v_proj", "q_proj", "out_proj"):
            setattr(self, name, nn.Linear(vision.width, vision.width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, tokens, width]`."""
        batch, count, width = x.shape
        q, k, v = (
            proj(x).view(batch, count, self.heads, width // self.heads).transpose(1, 2)
            for proj in (self.q_proj, self.k_proj, self.v_proj)
        )
        out = F.scaled_dot_product_attention(q, k, v)
        return self.out_proj(out.transpose(1, 2).reshape(batch, count, width))


class VisionMLP(nn.Module):
    """Two layers with x sigmoid(1.702 x) between them, which CLIP was trained with."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(vision.width, vision.inner)
        self.fc2 = nn.Linear(vision.inner, vision.width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, tokens, width]`."""
        x = self.fc1(x)
        return self.fc2(x * torch.sigmoid(1.702 * x))


class VisionLayer(nn.Module):
    """Attention and an MLP, each behind a norm and beside the stream."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.self_attn = VisionAttention(vision)
        self.layer_norm1 = nn.LayerNorm(vision.width, vision.eps)
        self.mlp = VisionMLP(vision)
        self.layer_norm2 = nn.LayerNorm(vision.width, vision.eps)

    def forward(self, x: Tensor) -> Tensor:
        """Returns the stream `[B, tokens, width]`."""
        x = x + self.self_attn(self.layer_norm1(x))
        return x + self.mlp(self.layer_norm2(x))


class Encoder(nn.Module):
    """The layers; a module of its own for the sake of the public names."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.layers = nn.ModuleList(VisionLayer(vision) for _ in range(vision.layers))


class VisionModel(nn.Module):
    """CLIP's tower; layers behind the one whose stream is taken, and the last norm, are weights without use."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.used = vision.used
        self.embeddings = Embeddings(vision)
        self.pre_layrnorm = nn.LayerNorm(vision.width, vision.eps)
        self.encoder = Encoder(vision)
        self.post_layernorm = nn.LayerNorm(vision.width, vision.eps)

    def forward(self, pixels: Tensor) -> Tensor:
        """Returns the stream of the patches `[B, tokens, width]`, the class token left out."""
        x = self.pre_layrnorm(self.embeddings(pixels))
        for layer in self.encoder.layers[: self.used]:
            x = layer(x)
        return x[:, 1:]


class VisionTower(nn.Module):
    """A module of its own for the sake of the public names."""

    def __init__(self, vision: VisionConfig) -> None:
        super().__init__()
        self.vision_model = VisionModel(vision)


class Projector(nn.Module):
    """From the tower's width to the decoder's."""

    def __init__(self, vision: VisionConfig, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(vision.width, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, tokens, width]`."""
        return self.linear_2(F.gelu(self.linear_1(x)))


class Parts(nn.Module):
    """Tower, projector and decoder under their public names."""

    def __init__(self, vision: VisionConfig, config: DecoderConfig) -> None:
        super().__init__()
        self.vision_tower = VisionTower(vision)
        self.multi_modal_projector = Projector(vision, config.width)
        self.language_model = Trunk(config)


class VisionLanguage(Decoder):
    """A decoder with two functions: `vision` makes features of pictures, `forward` is the decoder's that reads them.

    Args:
        config: The decoder's sizes, with the token that stands for a visual one.
        vision: The tower's sizes.
    """

    def __init__(self, config: DecoderConfig, vision: VisionConfig) -> None:
        super().__init__(config)
        self.model: Parts = Parts(vision, config)  # type: ignore[assignment]

    @property
    def trunk(self) -> Trunk:
        """Embedding, layers and last norm."""
        return self.model.language_model

    def vision(self, pixel_values: Tensor) -> dict[str, Tensor]:
        """Returns "features" `[B, tokens, width]` for pictures `[B, 3, H, W]`."""
        return {"features": self.model.multi_modal_projector(self.model.vision_tower.vision_model(pixel_values))}

    def embed(self, ids: Tensor, tokens: Tokens, *inputs: Tensor) -> Tensor:
        """Returns the embedded tokens `[B, S, width]`, features in the place of image tokens, in their order."""
        (features,) = inputs
        visual = ids == self.config.image_token
        so_far = tokens.shared["image"][:, 0].sum(-1, keepdim=True).to(torch.int64)
        index = so_far - visual.sum(-1, keepdim=True) + visual.cumsum(-1) - 1
        index = index.clamp(0, features.shape[1] - 1)
        picked = features.gather(1, index[..., None].expand(-1, -1, features.shape[2]))
        return torch.where(visual[..., None], picked, super().embed(ids, tokens))


_N = TypeVar("_N", bound=Decoder)


def blank(make: type[_N], config: DecoderConfig, vision: VisionConfig) -> _N:
    """Returns a module whose parameters are all zero; nothing is drawn from the caller's generator."""
    with torch.device("meta"):
        module = make(config, vision)  # type: ignore[call-arg]
    module.load_state_dict({name: torch.zeros(x.shape) for name, x in module.state_dict().items()}, assign=True)
    module.compute()
    return module.eval()

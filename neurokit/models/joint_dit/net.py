"""A diffusion transformer over text and image tokens in one attention; its parameters carry their public names."""

from __future__ import annotations

import math
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.joint_dit import JointConfig

_EPS = 1e-6
_STEPS = 1000.0  # a time of 1, in the steps that the frequencies are made for
_FREQUENCIES = 256


def plain_norm(x: Tensor) -> Tensor:
    """Layer norm over the last axis without weights."""
    return F.layer_norm(x, (x.shape[-1],), eps=_EPS)


def turn(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotates the pairs (2i, 2i + 1) of `[B, H, N, D]` by angles `[N, D / 2]`."""
    a, b = x[..., 0::2], x[..., 1::2]
    return torch.stack([a * cos - b * sin, b * cos + a * sin], -1).flatten(-2)


class HeadNorm(nn.Module):
    """RMS norm of a head with a weight."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Returns the normalised heads."""
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + _EPS) * self.weight


class Modulation(nn.Module):
    """Shifts, scales and gates of a block, from the embedding of time and text."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.count = count
        self.linear = nn.Linear(width, count * width)

    def forward(self, embedding: Tensor) -> tuple[Tensor, ...]:
        """Returns `count` tensors `[B, 1, width]`."""
        return self.linear(F.silu(embedding))[:, None].chunk(self.count, -1)


class TwoLayers(nn.Module):
    """Two layers with silu between them."""

    def __init__(self, inner: int, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(inner, width)
        self.linear_2 = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, width]`."""
        return self.linear_2(F.silu(self.linear_1(x)))


def angles(time: Tensor, rates: Tensor) -> Tensor:
    """Returns the angles of a time's waves `[B, frequencies / 2]`, in the network's type."""
    return _STEPS * time[:, None] * rates


class TimeText(nn.Module):
    """The embedding of time and of the whole text."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.timestep_embedder = TwoLayers(_FREQUENCIES, config.width)
        self.text_embedder = TwoLayers(config.pooled, config.width)
        self.compute()

    def compute(self) -> None:
        """Sets the frequencies of the time's waves."""
        half = _FREQUENCIES // 2
        rates = torch.exp(-math.log(10000.0) * torch.arange(half) / half)
        self.register_buffer("rates", rates, persistent=False)

    def forward(self, time: Tensor, pooled: Tensor) -> Tensor:
        """Returns `[B, width]` for times `[B]` and texts `[B, pooled]`."""
        angle = angles(time, cast(Tensor, self.rates))
        return self.timestep_embedder(torch.cat([angle.cos(), angle.sin()], -1)) + self.text_embedder(pooled)


class Gelu(nn.Module):
    """The first half of an MLP; a module of its own for the sake of the public names."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Linear(width, 4 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, N, 4 width]`."""
        return F.gelu(self.proj(x), approximate="tanh")


class MLP(nn.Module):
    """Two layers with gelu between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([Gelu(width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """Returns `[B, N, width]`."""
        for layer in self.net:
            x = layer(x)
        return x


class JointAttention(nn.Module):
    """Attention of text and image tokens to each other, text first.

    Args:
        config: Sizes.
        both: Whether text has weights of its own.
    """

    def __init__(self, config: JointConfig, both: bool) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.norm_q, self.norm_k = HeadNorm(config.head_size), HeadNorm(config.head_size)
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        if both:
            self.to_out = nn.ModuleList([nn.Linear(width, width)])
            self.norm_added_q, self.norm_added_k = HeadNorm(config.head_size), HeadNorm(config.head_size)
            self.add_q_proj, self.add_k_proj, self.add_v_proj = (nn.Linear(width, width) for _ in range(3))
            self.to_add_out = nn.Linear(width, width)

    def heads(self, x: Tensor, *layers: nn.Module) -> tuple[Tensor, ...]:
        """Returns projections of `[B, N, width]` as `[B, H, N, D]`."""
        shape = (*x.shape[:2], self.config.heads, self.config.head_size)
        return tuple(layer(x).view(shape).transpose(1, 2) for layer in layers)

    def image_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns normalised queries and keys, and values, by the image's weights."""
        q, k, v = self.heads(x, self.to_q, self.to_k, self.to_v)
        return self.norm_q(q), self.norm_k(k), v

    def text_heads(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Returns normalised queries and keys, and values, by the text's weights."""
        q, k, v = self.heads(x, self.add_q_proj, self.add_k_proj, self.add_v_proj)
        return self.norm_added_q(q), self.norm_added_k(k), v

    def attend(self, q: Tensor, k: Tensor, v: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns outputs `[B, N, width]`, and weights `[B, H, N, N]` where a heat map is read off them."""
        q, k = turn(q, *rope), turn(k, *rope)
        weights = None
        if self.config.heat is not None:
            weights = (q @ k.transpose(-1, -2) * self.config.head_size**-0.5).softmax(-1)
        out = F.scaled_dot_product_attention(q, k, v) if weights is None else weights @ v
        return out.transpose(1, 2).flatten(2), weights


class JointBlock(nn.Module):
    """Attention and an MLP, with weights of its own for text and for image."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config = config
        self.norm1, self.norm1_context = Modulation(config.width, 6), Modulation(config.width, 6)
        self.attn = JointAttention(config, both=True)
        self.ff, self.ff_context = MLP(config.width), MLP(config.width)

    def forward(
        self, image: Tensor, text: Tensor, embedding: Tensor, rope: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Returns both streams and the weights."""
        of_image, of_text = self.norm1(embedding), self.norm1_context(embedding)
        heads = [
            torch.cat(pair, 2)
            for pair in zip(
                self.attn.text_heads(plain_norm(text) * (1 + of_text[1]) + of_text[0]),
                self.attn.image_heads(plain_norm(image) * (1 + of_image[1]) + of_image[0]),
                strict=True,
            )
        ]
        out, weights = self.attn.attend(heads[0], heads[1], heads[2], rope)
        count = self.config.text
        image = image + of_image[2] * self.attn.to_out[0](out[:, count:])
        text = text + of_text[2] * self.attn.to_add_out(out[:, :count])
        image = image + of_image[5] * self.ff(plain_norm(image) * (1 + of_image[4]) + of_image[3])
        text = text + of_text[5] * self.ff_context(plain_norm(text) * (1 + of_text[4]) + of_text[3])
        return image, text, weights


class SingleBlock(nn.Module):
    """Attention and an MLP side by side, with the same weights for text and image."""

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.norm = Modulation(config.width, 3)
        self.proj_mlp = nn.Linear(config.width, 4 * config.width)
        self.proj_out = nn.Linear(5 * config.width, config.width)
        self.attn = JointAttention(config, both=False)

    def forward(self, x: Tensor, embedding: Tensor, rope: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor | None]:
        """Returns the stream of text and image, and the weights."""
        shift, scale, gate = self.norm(embedding)
        y = plain_norm(x) * (1 + scale) + shift
        out, weights = self.attn.attend(*self.attn.image_heads(y), rope)
        both = torch.cat([out, F.gelu(self.proj_mlp(y), approximate="tanh")], -1)
        return x + gate * self.proj_out(both), weights


class JointTransformer(nn.Module):
    """The whole network.

    Args:
        config: Its sizes.
    """

    def __init__(self, config: JointConfig) -> None:
        super().__init__()
        self.config, width = config, config.width
        self.time_text_embed = TimeText(config)
        self.context_embedder = nn.Linear(config.text_width, width)
        self.x_embedder = nn.Linear(config.channels, width)
        self.transformer_blocks = nn.ModuleList(JointBlock(config) for _ in range(config.joint))
        self.single_transformer_blocks = nn.ModuleList(SingleBlock(config) for _ in range(config.single))
        self.norm_out = Modulation(width, 2)
        self.proj_out = nn.Linear(width, config.channels)
        self.compute()

    @classmethod
    def blank(cls, config: JointConfig) -> JointTransformer:
        """Returns a network whose parameters are all zero; nothing is drawn from the caller's generator."""
        with torch.device("meta"):
            module = cls(config)
        module.load_state_dict({name: torch.zeros(x.shape) for name, x in module.state_dict().items()}, assign=True)
        module.time_text_embed.compute()
        module.compute()
        return cast(JointTransformer, module.eval())

    def compute(self) -> None:
        """Sets the angles of all tokens: text stands at the origin, image tokens at (0, row, column)."""
        c, angles = self.config, []
        place = torch.arange(c.image)
        places = torch.stack([torch.zeros_like(place), place // c.side, place % c.side])
        places = torch.cat([torch.zeros(3, c.text, dtype=torch.int64), places], 1)
        for axis, width in enumerate(c.axes):
            rate = c.theta ** (-torch.arange(0, width, 2, dtype=torch.float64) / width)
            angles.append(places[axis][:, None] * rate)
        angle = torch.cat(angles, 1)
        self.register_buffer("cos", angle.cos().float(), persistent=False)
        self.register_buffer("sin", angle.sin().float(), persistent=False)

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        pooled: Tensor,
        timestep: Tensor,
        content: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Predicts the flow of an image.

        Args:
            hidden_states: Image tokens `[B, N, channels]`.
            encoder_hidden_states: Text tokens `[B, L, text_width]`.
            pooled: The whole text `[B, pooled]`.
            timestep: Time `[B]`, 0 to 1.
            content: Of a network that reads a heat map: 1 for words of content `[B, L]`.

        Returns:
            "sample" `[B, N, channels]`, and "heat_map" `[B, N]`.
        """
        rope = (cast(Tensor, self.cos), cast(Tensor, self.sin))
        embedding = self.time_text_embed(timestep, pooled)
        image, text = self.x_embedder(hidden_states), self.context_embedder(encoder_hidden_states)
        read: list[Any] = []
        for block in self.transformer_blocks:
            image, text, weights = block(image, text, embedding, rope)
            read.append(weights)
        x = torch.cat([text, image], 1)
        for block in self.single_transformer_blocks:
            x, weights = block(x, embedding, rope)
            read.append(weights)
        scale, shift = self.norm_out(embedding)
        image = plain_norm(x[:, self.config.text :]) * (1 + scale) + shift
        found = {"sample": self.proj_out(image)}
        if self.config.heat is not None:
            assert content is not None
            found["heat_map"] = self.config.heat.heat_map(torch.stack(read, 1), content)
        return found

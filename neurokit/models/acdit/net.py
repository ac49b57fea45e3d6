"""ACDiT (Hu et al., 2024): blocks of an image denoised one after the other, each looking back at clean blocks.

A sequence holds the clean blocks and then the noised ones. Clean tokens see clean blocks up to their own; noised tokens
see the clean blocks before theirs and their own block. Conditioning (time and class) modulates noised tokens only.
Written from the published equations; names of parameters are those of the public checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.decoder.layers import RMSNorm

EPS = 1e-6
_ROTARY_BASE_STEP = 100


@dataclass(frozen=True)
class Sizes:
    """Sizes of the network.

    Attributes:
        depth: Blocks of the transformer.
        width: Size of a token.
        heads: Heads.
        latent: Channels of a latent pixel.
        side: Latent pixels a side of the image.
        blocks: Blocks a side: the image is denoised in `blocks**2` squares.
        classes: Number of classes; one more row stands for "no class".
        mlp: Width of the feed-forward part, as a multiple of `width`.
    """

    depth: int = 12
    width: int = 768
    heads: int = 12
    latent: int = 4
    side: int = 32
    blocks: int = 2
    classes: int = 1000
    mlp: int = 4

    @property
    def count(self) -> int:
        """Number of blocks of the image."""
        return self.blocks**2

    @property
    def tokens(self) -> int:
        """Tokens of a block."""
        return (self.side // self.blocks) ** 2


def visible(count: int, tokens: int) -> Tensor:
    """Returns which key (last axis) a query sees, bool `[2 n, 2 n]` with n = count * tokens (the paper's SCAM)."""
    block = torch.arange(count * tokens) // tokens
    query, key = block[:, None], block[None, :]
    clean = torch.cat([query >= key, torch.zeros_like(query == key)], 1)
    noised = torch.cat([query > key, query == key], 1)
    return torch.cat([clean, noised])


def positions(sizes: Sizes) -> Tensor:
    """Returns row and column of every token, blocks in order, `[2, blocks**2 * tokens]`."""
    edge = sizes.side // sizes.blocks
    block, inside = torch.arange(sizes.count), torch.arange(sizes.tokens)
    row = (block // sizes.blocks * edge)[:, None] + inside // edge
    column = (block % sizes.blocks * edge)[:, None] + inside % edge
    return torch.stack([row.flatten(), column.flatten()])


def angles(sizes: Sizes) -> Tensor:
    """Returns the angle of every element of a head at every token, float64 `[blocks**2 * tokens, head size]`.

    The first half of a head holds the row's angles twice, the second half the column's, as in the released code. Since
    an element is turned together with the one half a head away, the two of a pair get different angles.
    """
    size = sizes.width // sizes.heads
    base = (int(8 * sizes.side / math.pi) // _ROTARY_BASE_STEP + 1) * _ROTARY_BASE_STEP
    exponents = torch.linspace(0, size, size // 4, dtype=torch.float64) / size
    turns = positions(sizes).double()[:, :, None] / base**exponents
    return torch.cat([turns[0], turns[0], turns[1], turns[1]], 1)


class Attention(nn.Module):
    """Attention with normalised, turned queries and keys."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.q_norm, self.k_norm = RMSNorm(width // heads, EPS), RMSNorm(width // heads, EPS)
        self.proj = nn.Linear(width, width)

    def keys(self, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Takes `[B, N, width]`, returns queries, keys and values `[B, heads, N, head size]`."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        return _turned(self.q_norm(q), cos, sin), _turned(self.k_norm(k), cos, sin), v

    def mixed(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
        """Takes queries, keys and values, returns `[B, N, width]`."""
        return self.proj(F.scaled_dot_product_attention(q, k, v, mask).transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """Two layers with GELU (tanh form) between."""

    def __init__(self, width: int, inner: int) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(width, inner), nn.Linear(inner, width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, N, width]`."""
        return self.fc2(F.gelu(self.fc1(x), approximate="tanh"))


class Block(nn.Module):
    """Attention and feed-forward; what time and class say shifts, scales and gates the noised tokens."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm1, self.norm2 = RMSNorm(sizes.width, EPS), RMSNorm(sizes.width, EPS)
        self.attn = Attention(sizes.width, sizes.heads)
        self.mlp = FeedForward(sizes.width, sizes.mlp * sizes.width)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(sizes.width, 6 * sizes.width))

    def before(self, clean: Tensor, noised: Tensor, c: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Returns what attention takes, clean tokens first, and the six parts of the modulation."""
        parts = list(self.adaLN_modulation(c).chunk(6, dim=-1))
        return torch.cat([self.norm1(clean), _modulated(self.norm1(noised), parts[0], parts[1])], 1), parts

    def after(self, clean: Tensor, noised: Tensor, mixed: Tensor, parts: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Adds what attention gave, and what the feed-forward part makes of it."""
        count = clean.shape[1]
        clean = clean + mixed[:, :count]
        noised = noised + parts[2] * mixed[:, count:]
        given = torch.cat([self.norm2(clean), _modulated(self.norm2(noised), parts[3], parts[4])], 1)
        made = self.mlp(given)
        return clean + made[:, :count], noised + parts[5] * made[:, count:]


class FinalLayer(nn.Module):
    """The noised tokens, normalised and modulated, back to latent pixels."""

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.norm_final = RMSNorm(sizes.width, EPS)
        self.linear = nn.Linear(sizes.width, sizes.latent)
        self.adaLN_modulation = nn.Sequential(nn.SiLU(), nn.Linear(sizes.width, 2 * sizes.width))

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        """Takes tokens and conditions `[B, N, width]`, returns `[B, N, latent]`."""
        shift, scale = self.adaLN_modulation(c).chunk(2, dim=-1)
        return self.linear(_modulated(self.norm_final(x), shift, scale))


class TimeEmbedder(nn.Module):
    """Cosines and sines of the time, through two layers (as in DiT: 256 values, longest period 10,000)."""

    frequencies: Tensor

    def __init__(self, width: int, values: int = 256) -> None:
        super().__init__()
        half = values // 2
        steps = torch.arange(half, dtype=torch.float64) / half
        self.register_buffer("frequencies", torch.exp(-math.log(10_000) * steps), persistent=False)
        self.mlp = nn.Sequential(nn.Linear(values, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Tensor) -> Tensor:
        """Takes times `[...]`, returns `[..., width]`."""
        turns = t[..., None] * self.frequencies.to(t.dtype)
        return self.mlp(torch.cat([turns.cos(), turns.sin()], -1))


class LabelEmbedder(nn.Module):
    """A vector a class, and one for none."""

    def __init__(self, width: int, classes: int) -> None:
        super().__init__()
        self.embedding_table = nn.Embedding(classes + 1, width)

    def forward(self, label: Tensor) -> Tensor:
        """Takes numbers of classes `[B]`, returns `[B, width]`."""
        return self.embedding_table(label)


class ACDiT(nn.Module):
    """Predicts the noise of every block, given the clean blocks before it."""

    turns: Tensor
    mask: Tensor

    def __init__(self, sizes: Sizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.t_embedder = TimeEmbedder(sizes.width)
        self.y_embedder = LabelEmbedder(sizes.width, sizes.classes)
        self.x_embedder = nn.Linear(sizes.latent, sizes.width, bias=False)
        self.blocks = nn.ModuleList(Block(sizes) for _ in range(sizes.depth))
        self.final_layer = FinalLayer(sizes)
        self.register_buffer("turns", angles(sizes), persistent=False)
        self.register_buffer("mask", visible(sizes.count, sizes.tokens), persistent=False)

    def forward(self, clean: Tensor, noised: Tensor, t: Tensor, label: Tensor) -> Tensor:
        """Predicts all blocks at once.

        Args:
            clean: The image's blocks, `[B, blocks, tokens, latent]`.
            noised: The same with noise.
            t: Time of the noise of each block, `[B, blocks]`.
            label: Number of the class, int64 `[B]`.

        Returns:
            The noised blocks' predictions one after the other, `[B, blocks * tokens, latent]`.
        """
        x, z = (self.x_embedder(part.flatten(1, 2)) for part in (clean, noised))
        c = (self.t_embedder(t) + self.y_embedder(label)[:, None]).repeat_interleave(self.sizes.tokens, 1)
        cos, sin = (wave.to(x.dtype).repeat(2, 1) for wave in (self.turns.cos(), self.turns.sin()))
        for block in self.blocks:
            given, parts = block.before(x, z, c)
            x, z = block.after(x, z, block.attn.mixed(*block.attn.keys(given, cos, sin), self.mask), parts)
        return self.final_layer(z, c)

    def remember(self, clean: Tensor, index: int, cache: list[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Returns the keys and values of every layer with those of one more clean block.

        Args:
            clean: Block number `index`, `[B, tokens, latent]`.
            index: Number of the block.
            cache: Keys and values of the blocks before, `[B, heads, N, head size]` a layer; empty before the first.
        """
        x = self.x_embedder(clean)
        none, nothing = x[:, :0], x[:, :0]
        grown = []
        for layer, block in enumerate(self.blocks):
            given, parts = block.before(x, none, nothing)
            q, k, v = block.attn.keys(given, *self._waves(index, x.dtype))
            if cache:
                k, v = torch.cat([cache[layer][0], k], 2), torch.cat([cache[layer][1], v], 2)
            grown.append((k, v))
            x, none = block.after(x, none, block.attn.mixed(q, k, v, None), parts)
        return grown

    def predict(
        self, noised: Tensor, index: int, t: Tensor, label: Tensor, cache: list[tuple[Tensor, Tensor]]
    ) -> Tensor:
        """Predicts one block from the remembered ones.

        Args:
            noised: Block number `index` with noise, `[B, tokens, latent]`.
            index: Number of the block.
            t: Time of its noise, `[B]`.
            label: Number of the class, int64 `[B]`.
            cache: Keys and values of all blocks before it.

        Returns:
            The prediction, `[B, tokens, latent]`.
        """
        z = self.x_embedder(noised)
        c = (self.t_embedder(t) + self.y_embedder(label))[:, None].expand(-1, self.sizes.tokens, -1)
        x = z[:, :0]
        for layer, block in enumerate(self.blocks):
            given, parts = block.before(x, z, c)
            q, k, v = block.attn.keys(given, *self._waves(index, z.dtype))
            if cache:
                k, v = torch.cat([cache[layer][0], k], 2), torch.cat([cache[layer][1], v], 2)
            x, z = block.after(x, z, block.attn.mixed(q, k, v, None), parts)
        return self.final_layer(z, c)

    def step(
        self, block: Tensor, index: Tensor, t: Tensor, label: Tensor, clean: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Predicts one block from the remembered ones, or remembers it: both are one look back at the clean blocks.

        Args:
            block: Block number `index`, `[B, tokens, latent]`: with noise, or clean.
            index: Number of the block, int64 `[B]`.
            t: Time of its noise, `[B]`.
            label: Number of the class, int64 `[B]`.
            clean: 1 for a clean block, which time and class do not modulate, 0 for a noised one, `[B]`.
            keys: Of the blocks before it, `[B, layers heads, N, head size]`.
            values: As the keys.

        Returns:
            The prediction `[B, tokens, latent]`, and keys and values with those of this block, which the next one looks
            back at where it was clean; after a noised one the host takes them back.
        """
        x = self.x_embedder(block)
        free = (1 - clean)[:, None, None]
        c = (self.t_embedder(t) + self.y_embedder(label))[:, None]
        table = self.turns.unflatten(0, (self.sizes.count, self.sizes.tokens))
        cos, sin = (wave.to(x.dtype)[index][:, None] for wave in (table.cos(), table.sin()))
        grown: tuple[list[Tensor], list[Tensor]] = ([], [])
        for layer, net in enumerate(self.blocks):
            shift, scale, gate, *behind = net.adaLN_modulation(c).chunk(6, dim=-1)
            q, k, v = net.attn.keys(_modulated(net.norm1(x), free * shift, free * scale), cos, sin)
            part = slice(layer * self.sizes.heads, (layer + 1) * self.sizes.heads)
            k, v = torch.cat([keys[:, part], k], 2), torch.cat([values[:, part], v], 2)
            x = x + (free * gate + clean[:, None, None]) * net.attn.mixed(q, k, v, None)
            made = net.mlp(_modulated(net.norm2(x), free * behind[0], free * behind[1]))
            x = x + (free * behind[2] + clean[:, None, None]) * made
            grown[0].append(k)
            grown[1].append(v)
        return self.final_layer(x, c), torch.cat(grown[0], 1), torch.cat(grown[1], 1)

    def _waves(self, index: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        here = self.turns[index * self.sizes.tokens : (index + 1) * self.sizes.tokens]
        return here.cos().to(dtype), here.sin().to(dtype)


def _modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    return x * (1 + scale) + shift


def _turned(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat([-second, first], -1) * sin

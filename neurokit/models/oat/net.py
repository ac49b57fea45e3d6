"""OAT: scanpaths over objects of a shelf, by an encoder of objects and a decoder of fixations.

Written from the published structure (Fang et al., ECCV 2024), with the names of the public checkpoints, among them
layers that nothing reads. The public table of positions is fitted and lies beside the checkpoints; here one of the same
kind is computed: rows whose cosines fall off as a bell with a deviation of two places.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shelf:
    """Sizes of a task and its network.

    Attributes:
        rows: Rows of the shelf.
        columns: Objects a row.
        image: Height and width of the picture of an object.
        width: Of the tokens; half for the look, half for the place.
        heads: Of the attention.
        inner: Of the feed-forward layers.
        layers: Of the encoder, and of the decoder.
        longest: Largest number of fixations.
    """

    rows: int = 2
    columns: int = 11
    image: tuple[int, int] = (150, 93)
    width: int = 512
    heads: int = 4
    inner: int = 512
    layers: int = 4
    longest: int = 64

    @property
    def objects(self) -> int:
        """Number of objects; as tokens they are followed by the end, the padding and the beginning."""
        return self.rows * self.columns

    @property
    def part(self) -> int:
        """Numbers of one of the three parts of a place; together they are cut to half a token."""
        return -(-self.width // 6)

    @property
    def flattened(self) -> int:
        """Numbers of a picture behind the convolutions."""
        return 32 * math.prod(((side - 4) // 5 - 2) // 3 for side in self.image)


class Attention(nn.Module):
    """Attention with one matrix for queries, keys and values, as torch's own names it."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_proj_weight = nn.Parameter(torch.empty(3 * width, width))
        self.in_proj_bias = nn.Parameter(torch.zeros(3 * width))
        self.out_proj = nn.Linear(width, width)
        nn.init.xavier_uniform_(self.in_proj_weight)

    def queries(self, x: Tensor) -> Tensor:
        """Takes `[B, L, width]`, returns `[B, heads, L, D]`."""
        width = x.shape[2]
        return self._heads(F.linear(x, self.in_proj_weight[:width], self.in_proj_bias[:width]))

    def keys(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Takes `[B, L, width]`, returns keys and values `[B, heads, L, D]`."""
        width = x.shape[2]
        k, v = F.linear(x, self.in_proj_weight[width:], self.in_proj_bias[width:]).chunk(2, 2)
        return self._heads(k), self._heads(v)

    def forward(self, q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
        """Takes what the two above give, returns `[B, L, width]`."""
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(y.transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class EncoderLayer(nn.Module):
    """Attention and feed-forward, each added and normalised after."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.self_attn = Attention(width, heads)
        self.linear1, self.linear2 = nn.Linear(width, inner), nn.Linear(inner, width)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Takes and returns `[B, L, width]`."""
        x = self.norm1(x + self.self_attn(self.self_attn.queries(x), *self.self_attn.keys(x)))
        return self.norm2(x + self.linear2(self.linear1(x).relu()))


class DecoderLayer(EncoderLayer):
    """Attention to earlier fixations, then to the objects, then feed-forward."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__(width, heads, inner)
        self.multihead_attn = Attention(width, heads)
        self.norm3 = nn.LayerNorm(width)

    def step(self, x: Tensor, memory: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> tuple[Tensor, ...]:
        """Takes fixations `[B, S, width]`, objects, and keys and values so far; returns fixations, keys, values."""
        new_k, new_v = self.self_attn.keys(x)
        k, v = torch.cat([k, new_k], 2), torch.cat([v, new_v], 2)
        x = self.norm1(x + self.self_attn(self.self_attn.queries(x), k, v, mask))
        x = self.norm2(x + self.multihead_attn(self.multihead_attn.queries(x), *self.multihead_attn.keys(memory)))
        return self.norm3(x + self.linear2(self.linear1(x).relu())), k, v


class Look(nn.Module):
    """Half a token from the picture of an object."""

    def __init__(self, shelf: Shelf) -> None:
        super().__init__()
        self.cnn1 = nn.Sequential(nn.Conv2d(3, 16, 5), nn.ReLU(), nn.MaxPool2d(5))
        self.cnn2 = nn.Sequential(nn.Conv2d(16, 32, 3), nn.ReLU(), nn.MaxPool2d(3))
        self.fc = nn.Linear(shelf.flattened, shelf.width // 2)

    def forward(self, images: Tensor) -> Tensor:
        """Takes `[B, N, H, W, 3]`, returns `[B, N, width / 2]`."""
        flat = images.flatten(0, 1).permute(0, 3, 1, 2)
        return self.fc(self.cnn2(self.cnn1(flat)).flatten(1)).unflatten(0, (-1, images.shape[1]))


class Matching(nn.Module):
    """Scores of objects for every fixation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.decode_fc, self.encode_fc = nn.Linear(width, width), nn.Linear(width, width)

    def forward(self, memory: Tensor, x: Tensor) -> Tensor:
        """Takes objects `[B, N, width]` and fixations `[B, S, width]`, returns `[B, S, N + 1]`, the last column 0."""
        scores = self.decode_fc(x) @ self.encode_fc(memory).transpose(1, 2) * x.shape[2] ** -0.5
        return F.pad(scores, (0, 1))


class OrderTable(nn.Module):
    """Sines and cosines of the number of a fixation."""

    pos_embedding: Tensor

    def __init__(self, width: int, rows: int = 5000) -> None:
        super().__init__()
        angles = torch.arange(rows)[:, None] * torch.exp(torch.arange(0, width, 2) * (-math.log(10_000) / width))
        table = torch.stack([angles.sin(), angles.cos()], 2).flatten(1)
        self.register_buffer("pos_embedding", table[:, None])


class OAT(nn.Module):
    """Scanpaths over the objects of a shelf.

    Args:
        shelf: Sizes.

    Attributes:
        places: The table of positions, `[longer side of the shelf + 4, part]`; not in checkpoints.
    """

    places: Tensor
    grid: Tensor

    def __init__(self, shelf: Shelf | None = None) -> None:
        super().__init__()
        self.shelf = shelf = shelf or Shelf()
        width, sizes = shelf.width, (shelf.width, shelf.heads, shelf.inner)
        self.transformer_encoder = nn.ModuleDict(
            {"layers": nn.ModuleList(EncoderLayer(*sizes) for _ in range(shelf.layers))}
        )
        self.transformer_decoder = nn.ModuleDict(
            {"layers": nn.ModuleList(DecoderLayer(*sizes) for _ in range(shelf.layers))}
        )
        self.generator = nn.Linear(
            width, shelf.objects + 2
        )  # in the public checkpoints, and unused, as the next but one
        self.onedpositional_encoding = OrderTable(width)
        self.cnn_embedding = Look(shelf)
        self.LinearEmbedding = nn.Linear(3, width // 2)
        self.cross_attentions = nn.ModuleList(Matching(width) for _ in range(2))
        self.readout = nn.Linear(2, 1)
        self.register_buffer("places", place_table(max(shelf.rows, shelf.columns), shelf.part), persistent=False)
        self.register_buffer("grid", token_places(shelf), persistent=False)

    def encode(self, images: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Takes the objects' pictures `[B, N, H, W, 3]` and which is looked for, int64 `[B]`.

        Returns:
            The encoded objects and behind them the target, `[B, N + 1, width]`, and the tokens by which fixations are
            told to the decoder: objects, end, padding and beginning, `[B, N + 3, width]`.
        """
        count = self.shelf.objects
        wanted = target[:, None] == torch.arange(count, device=target.device)
        look = self.cnn_embedding(images)
        of_target = wanted.to(look.dtype)[:, None] @ look
        place = self._placed(self.grid[:count]).expand(images.shape[0], -1, -1)
        flagged = self._placed(self.grid[:count], flag=1).expand(images.shape[0], -1, -1)
        of_target = torch.cat([of_target, wanted.to(look.dtype)[:, None] @ flagged], 2)
        tokens = torch.cat([look, place], 2)
        memory = torch.cat([tokens, of_target], 1)
        for layer in self.transformer_encoder["layers"]:
            memory = layer(memory)
        white = self.cnn_embedding(torch.ones_like(images[:, :1])).expand(-1, 3, -1)
        special = torch.cat([white, self._placed(self.grid[count:]).expand(images.shape[0], -1, -1)], 2)
        seen = torch.cat([look, torch.where(wanted[..., None], flagged, place)], 2)
        return memory, torch.cat([seen, special], 1)

    def step(
        self, token: Tensor, memory: Tensor, fixations: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, ...]:
        """Takes the next fixations, int64 `[B, S]`, what `encode` gave, and caches `[B, layers heads, P, D]`.

        Returns:
            Scores of what is fixated next, `[B, S, N + 2]`: the objects, the end, and what is padding; and the caches.
        """
        known, count, heads = keys.shape[2], token.shape[1], self.shelf.heads
        chosen = (token[..., None] == torch.arange(fixations.shape[1], device=token.device)).to(fixations.dtype)
        order = self.onedpositional_encoding.pos_embedding[known : known + count, 0]
        x = chosen @ fixations + order
        row = torch.arange(count, device=token.device)[:, None] + known
        mask = torch.arange(known + count, device=token.device) <= row
        grown_k, grown_v = [], []
        for index, layer in enumerate(self.transformer_decoder["layers"]):
            part = slice(index * heads, (index + 1) * heads)
            x, k, v = layer.step(x, memory, keys[:, part], values[:, part], mask)
            grown_k.append(k)
            grown_v.append(v)
        scores = torch.stack([match(memory, x) for match in self.cross_attentions], 3)
        return self.readout(scores)[..., 0], torch.cat(grown_k, 1), torch.cat(grown_v, 1)

    def forward(self, images: Tensor, target: Tensor, path: Tensor) -> Tensor:
        """Returns the scores behind every fixation of given paths, int64 `[B, S]`, for training."""
        memory, fixations = self.encode(images, target)
        shelf = self.shelf
        empty = memory.new_zeros(images.shape[0], shelf.layers * shelf.heads, 0, shelf.width // shelf.heads)
        return self.step(path, memory, fixations, empty, empty)[0]

    def _placed(self, rows: Tensor, flag: int = 0) -> Tensor:
        """Returns the half token of places `[N, 2]`: row, column and flag of the target."""
        flags = self.places[flag].expand(len(rows), -1)
        return torch.cat([self.places[rows[:, 0]], self.places[rows[:, 1]], flags], 1)[:, : self.shelf.width // 2]


def token_places(shelf: Shelf) -> Tensor:
    """Returns row and column of every token: objects, then end, padding and beginning, as published."""
    objects = torch.cartesian_prod(torch.arange(shelf.rows), torch.arange(shelf.columns))
    behind = torch.tensor([[shelf.rows, 0], [shelf.rows, 1], [shelf.rows // 2, shelf.columns // 2]])
    return torch.cat([objects, behind])


def place_table(count: int, width: int, deviation: float = 2.0) -> Tensor:
    """Returns rows `[count + 4, width]` whose cosines are exp(-(i - j)^2 / (2 deviation^2)), the last four zero."""
    index = torch.arange(count, dtype=torch.float64)
    wanted = torch.exp(-((index[:, None] - index) ** 2) / (2 * deviation**2))
    rows = torch.linalg.cholesky(wanted + 1e-9 * torch.eye(count, dtype=torch.float64))
    return F.pad(rows, (0, width - count, 0, 4)).float()

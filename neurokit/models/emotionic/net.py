"""EmotionIC: emotions of a dialogue's utterances by identity-masked attention, a dialogue GRU and a skip-chain CRF.

Written from the published structure (Liu et al., 2023), with the names of the public checkpoints, among them what
nothing reads. Positions are counted from the middle of each dialogue, not of the longest in its batch, so that what an
utterance is given does not depend on the padding; for a dialogue alone the two are one.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.models.emotionic.dialogue import PADDING, Edges, edges

_ROWS = 1201  # of the table of positions; row 601 is position 0
_ORIGIN = 601
# Buffers of the public code's decoding, which is the host's here.
_DECODING = ("one_pad", "eye_pad", "begin_transitions", "begin_seg_path", "continual_seg_value", "output_path")


class PositionTable(nn.Module):
    """Sines and cosines of positions -601 to 599."""

    weights: Tensor
    _float_tensor: Tensor

    def __init__(self, width: int) -> None:
        super().__init__()
        rates = torch.exp(torch.arange(width // 2) * -(math.log(10_000) / (width // 2 - 1)))
        angles = torch.arange(-_ORIGIN, _ROWS - _ORIGIN)[:, None] * rates
        self.register_buffer("weights", torch.cat([angles.sin(), angles.cos()], 1))
        self.register_buffer("_float_tensor", torch.zeros(1))  # in the public checkpoints, and unused

    def forward(self, lengths: Tensor, longest: int) -> Tensor:
        """Returns the rows of every dialogue, `[B, longest, width]`, centred on its length."""
        first = _ORIGIN - torch.div(lengths, 2, rounding_mode="floor")
        rows = first[:, None] + torch.arange(longest, device=lengths.device)
        return self.weights[rows.flatten()].unflatten(0, rows.shape)


class IdentityAttention(nn.Module):
    """Attention whose keys depend on whether two utterances have one speaker; without a scale, as published."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.shift = nn.Parameter(torch.ones(1))  # of a distance bias that the published settings leave out
        self.bias = nn.Parameter(torch.zeros(1))
        self.qkv_linear = nn.Linear(width, 5 * width, bias=False)  # the second of the five parts is unused
        self.fc = nn.Linear(width, width)
        self.pos_embed = PositionTable(width // heads)
        self.qk_pos = nn.Linear(width // heads, 3 * width, bias=False)

    def forward(self, x: Tensor, speaker: Tensor, positions: Tensor) -> Tensor:
        """Takes `[B, L, width]`, speakers `[B, L]` and lengths by which positions are centred `[B]`."""
        q, _, own, other, v = (self._heads(part) for part in self.qkv_linear(x).chunk(5, 2))
        placed = self.qk_pos(self.pos_embed(positions, x.shape[1]))
        q_place, own_place, other_place = (self._heads(part) for part in placed.chunk(3, 2))
        same = (speaker[:, :, None] == speaker[:, None])[:, None]
        by_own = q @ own.transpose(2, 3) + q_place @ own_place.transpose(2, 3)
        by_other = q @ other.transpose(2, 3) + q_place @ other_place.transpose(2, 3)
        scores = torch.where(same, by_own, by_other)
        scores = scores.masked_fill((speaker == PADDING)[:, None, None], -math.inf)
        return self.fc((scores.softmax(3) @ v).transpose(1, 2).flatten(2))

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class GlobalLayer(nn.Module):
    """Attention and feed-forward, each added and normalised after."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.norm2 = nn.LayerNorm(width)
        self.self_attn = IdentityAttention(width, heads)
        self.ffn = nn.Sequential(
            nn.Linear(width, inner), nn.ReLU(), nn.Dropout(0.3), nn.Linear(inner, width), nn.Dropout(0.3)
        )

    def forward(self, x: Tensor, speaker: Tensor, positions: Tensor) -> Tensor:
        """Takes and returns `[B, L, width]`."""
        x = self.norm1(x + self.self_attn(x, speaker, positions))
        return self.norm2(x + self.ffn(x))


class DialogueCell(nn.Module):
    """A gated recurrence on an utterance, its speaker's last one and the other speaker's."""

    def __init__(self, inputs: int, width: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * width, inputs))
        self.weight_hh = nn.Parameter(torch.empty(6 * width, width))
        self.bias_ih = nn.Parameter(torch.empty(4 * width))
        self.bias_hh = nn.Parameter(torch.empty(6 * width))
        for weight in (self.weight_ih, self.weight_hh):
            nn.init.orthogonal_(weight)
        for bias in (self.bias_ih, self.bias_hh):
            nn.init.uniform_(bias, -(width**-0.5), width**-0.5)
        # What reads the other speaker stands first, third and fifth; the rest reads the same speaker.
        rows = torch.arange(6 * width).unflatten(0, (6, width))
        self._other, self._own = rows[[0, 2, 4]].flatten(), rows[[1, 3, 5]].flatten()

    def forward(self, x: Tensor, reached: Edges) -> Tensor:
        """Takes `[B, L, inputs]` and the dialogue's edges, returns `[B, L, width]`."""
        of_x = F.linear(x, self.weight_ih, self.bias_ih)
        other = self.weight_hh[self._other], self.bias_hh[self._other]
        own = self.weight_hh[self._own], self.bias_hh[self._own]
        states = torch.zeros_like(of_x[:, :1, : self.weight_hh.shape[1]])
        for at in range(x.shape[1]):
            if at:
                chosen = reached.own[:, at, None, :at].to(x.dtype) @ states
                h_own = chosen[:, 0] * reached.inertia[:, at, None].to(x.dtype)
                h_other = states[:, -1] * reached.contagion[:, at, None].to(x.dtype)
            else:
                h_own = h_other = states[:, 0]
            new = self._cell(of_x[:, at], F.linear(h_own, *own), F.linear(h_other, *other), h_own)
            states = torch.cat([states, new[:, None]], 1) if at else new[:, None]
        return states

    @staticmethod
    def _cell(of_x: Tensor, of_own: Tensor, of_other: Tensor, h_own: Tensor) -> Tensor:
        x_other, x_own, x_keep, x_new = of_x.chunk(4, 1)
        gate_own, keep_own, new_own = of_own.chunk(3, 1)
        gate_other, keep_other, new_other = of_other.chunk(3, 1)
        keep = (x_keep + keep_other + keep_own).sigmoid()
        other, own = (x_other + gate_other).sigmoid(), (x_own + gate_own).sigmoid()
        new = (x_new + other * new_other + own * new_own).tanh()
        return (1 - keep) * new + keep * h_own


class Transitions(nn.Module):
    """The scores of the skip-chain conditional random field."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.start_transitions = nn.Parameter(torch.empty(classes).uniform_(-0.1, 0.1))
        self.end_transitions = nn.Parameter(torch.empty(classes).uniform_(-0.1, 0.1))
        self.self_transitions = nn.Parameter(torch.empty(classes, classes).uniform_(-0.1, 0.1))
        self.other_transitions = nn.Parameter(torch.empty(classes, classes).uniform_(-0.1, 0.1))


class EmotionIC(nn.Module):
    """Emotions of the utterances of a dialogue.

    Args:
        features: Numbers of an utterance.
        width: Of the recurrence and of what is classified.
        classes: Number of emotions.
        layers: Of the attention.
        cells: Of the recurrence.
        heads: Of the attention.
    """

    def __init__(
        self, features: int = 1024, width: int = 768, classes: int = 6, layers: int = 5, cells: int = 3, heads: int = 8
    ) -> None:
        super().__init__()
        blocks = nn.ModuleList(GlobalLayer(features, heads, width) for _ in range(layers))
        self.global_encoder = nn.ModuleDict({"layers": blocks})
        rows = nn.ModuleList(DialogueCell(width if index else features, width) for index in range(cells))
        self.conv_GRU_indi = nn.ModuleDict({"layers": rows})
        self.LN_glob, self.LN_local = nn.LayerNorm(features), nn.LayerNorm(width)
        self.LN_origin = nn.LayerNorm(features)
        self.fc_embed = nn.Linear(width + 2 * features, width)
        self.fc_out = nn.Sequential(nn.Dropout(0.3), nn.Linear(width, classes))
        self.crf = Transitions(classes)

    def of_public(self, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Returns a public checkpoint without the buffers of its decoding."""
        return {name: value for name, value in state.items() if name.rpartition(".")[2] not in _DECODING}

    def forward(self, text: Tensor, speaker: Tensor) -> tuple[Tensor, ...]:
        """Takes utterances `[B, L, features]` and who spoke them, int64 `[B, L]`, -1 behind the end.

        Returns:
            Logarithms of the emotions' probabilities `[B, L, classes]`; the speakers, as they were given; and for the
            host's exact decoding the random field's scores of starts and ends `[B, classes]`, of a speaker's next
            emotion and of another speaker's `[B, classes, classes]`.
        """
        batch = text.shape[0]
        field = self.crf
        given = [field.start_transitions, field.end_transitions, field.self_transitions, field.other_transitions]
        return self.emissions(text, speaker), speaker, *(part.detach().expand(batch, *part.shape) for part in given)

    def emissions(self, text: Tensor, speaker: Tensor, positions: Tensor | None = None) -> Tensor:
        """Returns `[B, L, classes]`; positions may be centred by other lengths `[B]` than the dialogues'."""
        valid = (speaker != PADDING)[..., None]
        positions = valid[..., 0].sum(1) if positions is None else positions
        text = torch.where(valid, text, 0)
        together = local = text
        for layer in self.global_encoder["layers"]:
            together = layer(together, speaker, positions)
        reached = edges(speaker)
        for cell in self.conv_GRU_indi["layers"]:
            local = cell(torch.where(valid, local, 0), reached)
        fused = torch.cat([self.LN_glob(together), self.LN_local(local), self.LN_origin(text)], 2)
        return self.fc_out(self.fc_embed(fused)).log_softmax(2)

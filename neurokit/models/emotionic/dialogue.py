"""Who speaks after whom: the edges along which EmotionIC's recurrence and random field pass emotions on."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

PADDING = -1  # speaker of an utterance that is none
INERTIA_SHIFT, CONTAGION_SCALE = 3.0, 2.0  # of the published influences


class Edges(NamedTuple):
    """What reaches every utterance of a dialogue, `[B, L]` each.

    Attributes:
        own: One-hot `[B, L, L]`, for each utterance the one of the same speaker that it continues; zeros for none.
        inertia: How much of that is kept; 0 for none.
        contagion: How much of the utterance before is taken over; 0 where the speaker does not change.
    """

    own: Tensor
    inertia: Tensor
    contagion: Tensor


def edges(speaker: Tensor) -> Edges:
    """Returns the edges of dialogues `[B, L]` of speakers, -1 behind the end.

    An utterance continues the speaker's last one where that is the utterance before, or where one other run of
    utterances lies between (A B A). The other speaker's utterance before reaches it at every change of speakers.
    Influences are 1 / (1 + exp(gap - 3)) with the utterances in between, and 1 / (1 + exp(-run / 2)) with the number of
    alternations of the two so far.
    """
    length = speaker.shape[1]
    index = torch.arange(length, device=speaker.device)
    valid = speaker != PADDING
    earlier = index[:, None] > index
    same = (speaker[:, :, None] == speaker[:, None]) & earlier
    last_own = torch.where(same, index, -1).amax(2)
    changed = (last_own != index - 1) & (index > 0)
    # The change before: there the speaker of the run before this one's predecessor had the word last.
    change_before = torch.where(changed[:, None] & earlier, index, 0).amax(2)
    before = (change_before - 1).clamp(min=0)
    returns = changed & (change_before > 0) & (torch.gather(speaker, 1, before) == speaker)
    kept = valid & (last_own >= 0) & (~changed | returns)
    count = returns.long().cumsum(1)
    opened = (changed & ~returns)[:, None] & (index[:, None] >= index)
    run = count - torch.where(opened, count[:, None], 0).amax(2)
    gap = index - 1 - last_own
    own = (last_own[:, :, None] == index) & kept[:, :, None]
    inertia = kept / (1 + torch.exp(gap - INERTIA_SHIFT))
    contagion = (changed & valid) / (1 + torch.exp(-run / CONTAGION_SCALE))
    return Edges(own, inertia, contagion)

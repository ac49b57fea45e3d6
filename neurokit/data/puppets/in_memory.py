"""Labelled pictures in memory as a torch Dataset: what the sets of puppets have in common."""

from __future__ import annotations

import torch
from torch.utils.data import Dataset

from neurokit.data.labelled import Labelled


class LabelledPictures(Dataset[tuple[torch.Tensor, int]]):
    """Pictures of bytes with the number of their class.

    Attributes:
        images: uint8 `[N, 1, size, size]`.
        labels: int64 `[N]`.
        name: What the set is, for reports.
    """

    images: torch.Tensor
    labels: torch.Tensor
    name: str

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        return self.images[index], int(self.labels[index])

    def labelled(self) -> Labelled:
        """Returns the set as arrays, as scoring an artifact takes it."""
        return Labelled(self.images.numpy(), self.labels.numpy(), self.name)

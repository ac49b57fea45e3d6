"""What a rewritten program does between its kernels: every operation, and what each kernel is given."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from torch.utils._python_dispatch import TorchDispatchMode

COPIES = ("_to_copy", "clone", "copy_", "contiguous")


@dataclass
class Traffic(TorchDispatchMode):
    """Notes calls of kernels and copies between them; what a kernel does inside is not seen.

    Attributes:
        kernels: Name, and type and order in memory of every tensor that a kernel is given.
        convolved: Shape of what each plain convolution is given.
        copies: Name, types and shape of every copy between kernels (of six axes: an upsampling's own).
    """

    kernels: list = field(default_factory=list)
    copies: list = field(default_factory=list)
    convolved: list = field(default_factory=list)

    def __post_init__(self):
        super().__init__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        space, name = func.name().split("::")
        found = func(*args, **(kwargs or {}))
        if space == "neurokit_kernels":
            given = [x for x in args if isinstance(x, torch.Tensor)]
            self.kernels.append((name, [(x.dtype, x.is_contiguous()) for x in given]))
        elif name.partition(".")[0] in COPIES and isinstance(args[0], torch.Tensor) and 2 < args[0].dim() < 6:
            self.copies.append((name, args[0].dtype, found.dtype, tuple(args[0].shape)))
        elif name.partition(".")[0] in ("convolution", "conv2d"):
            self.convolved.append(tuple(args[0].shape))
        return found

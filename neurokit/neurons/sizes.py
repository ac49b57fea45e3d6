"""What all readers of files share: what a file of a few bytes may not ask for, and what to do about a damaged one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from torch import Tensor

REWRITE = "write the file again with the tool that made it"
MOST_NUMBERS = 2**29  # of one intermediate result


def refuse_huge(made: Any) -> None:
    """Raises ValueError for a result that nothing but a bomb makes; looking at a tensor without numbers is free."""
    if isinstance(made, Tensor):
        refuse_shape(made.shape)


def refuse_shape(shape: Sequence[int]) -> None:
    """Raises ValueError for a shape that nothing but a bomb has."""
    if math.prod(shape) > MOST_NUMBERS:
        raise ValueError(f"it makes {math.prod(shape)} numbers at once")

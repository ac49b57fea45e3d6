"""The grid that an exact network's input lies on: limited to its range, then rounded half to even.

NIR has no node for that. A `.nir` file states the grid in its metadata; who runs it gives inputs that lie on it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

_PREFIX = "input_"


@dataclass(frozen=True)
class InputGrid:
    """Multiples of 2**exponent from low to high.

    Attributes:
        exponent: Of the grid's unit.
        low: Smallest value, or None.
        high: Largest value, or None.
    """

    exponent: int
    low: float | None = None
    high: float | None = None

    def __call__(self, x: Tensor) -> Tensor:
        """Returns the tensor on the grid, by the operations of the exact form."""
        if self.low is not None or self.high is not None:
            x = x.clamp(self.low, self.high)
        if self.exponent == 0:
            return x.round()
        return (x * 2.0**-self.exponent).round() * 2.0**self.exponent

    def array(self, x: np.ndarray) -> np.ndarray:
        """Returns the array on the grid."""
        import numpy as np
        import torch

        return self(torch.from_numpy(np.ascontiguousarray(x))).numpy()

    def to_metadata(self) -> dict[str, float]:
        """Returns what the metadata of a `.nir` file says."""
        return {f"{_PREFIX}{key}": float(value) for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> InputGrid | None:
        """Reads what `to_metadata` wrote; None where the metadata states no grid.

        Raises:
            ValueError: If it states one that is none.
        """
        given = {key: metadata.get(f"{_PREFIX}{key}") for key in ("exponent", "low", "high")}
        if given["exponent"] is None:
            return None
        exponent, *limits = (None if value is None else float(value) for value in given.values())
        if exponent is None or not exponent.is_integer() or not -126 <= exponent <= 127:
            raise ValueError(f"input_exponent is {given['exponent']!r}")
        return cls(int(exponent), *limits)

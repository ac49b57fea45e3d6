"""Test vectors of a capture are made once for all forms that it is lowered to."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING
from weakref import finalize

import torch

from neurokit.parity.record_vectors import make_vectors

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.parity.vectors import Vectors

_Key = tuple[int, bool]
_kept: dict[_Key, tuple[int, Vectors]] = {}


def vectors_of(captured: Captured, keeps: bool) -> Vectors:
    """Returns the test vectors of a capture on its own example, in whatever form it is lowered.

    They are kept while the capture lives, and made again where its weights have changed meanwhile.

    Args:
        captured: The capture, as it is lowered.
        keeps: Whether the artifact keeps declared states between calls, as a step form does.
    """
    key, weights = (id(captured), keeps), _sum_of(captured)
    found = _kept.get(key)
    if found is not None and found[0] == weights:
        return found[1]
    if found is None:
        finalize(captured, _kept.pop, key, None)
    made = make_vectors(sequence_of(captured), notes=captured.notes, keeps=keeps)
    _kept[key] = (weights, made)
    return made


def sequence_of(captured: Captured) -> Captured:
    """Returns the sequence form, which the reference is run in."""
    whole = captured.form == "sequence" or not captured.spiking
    return captured if whole else captured.retrace(form="sequence")


def _sum_of(captured: Captured) -> int:
    """Returns a sum over all weights: they may be written in place, which no counter of torch tells for certain."""
    total = 0
    for part in captured.graphs:
        for name, value in part.program.state_dict.items():
            data = value.detach().cpu().contiguous().flatten().view(torch.uint8)
            total = zlib.crc32(data.numpy().data, zlib.crc32(name.encode(), total))
    return total

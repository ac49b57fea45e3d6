"""Several calls of one neuron, one after the other in time, are one layer: its steps are those of all calls."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from neurokit.capture.reference import Record


def layers_of(calls: Sequence[str]) -> dict[str, list[int]]:
    """Returns the places of every layer's calls, in the order of the first of them."""
    places: dict[str, list[int]] = {}
    for at, name in enumerate(calls):
        places.setdefault(name, []).append(at)
    return places


def joined(calls: Sequence[str], records: Sequence[Record]) -> list[Record]:
    """Returns one record a layer: currents and spikes of its calls one after the other, `[T, B, ...]`."""
    import torch

    from neurokit.capture.reference import Record

    made = []
    for places in layers_of(calls).values():
        parts = [records[at] for at in places]
        if len(parts) == 1:
            made.append(parts[0])
            continue
        current, spikes = torch.cat([p.current for p in parts]), torch.cat([p.spikes for p in parts])
        made.append(Record(current, parts[0].v0, spikes, parts[-1].v_last))
    return made


def joined_magnitudes(calls: Sequence[str], magnitudes: Sequence[Any], records: Sequence[Record]) -> list[Any]:
    """Returns one magnitude a layer, from one a call and the calls' records."""
    import torch

    made = []
    for places in layers_of(calls).values():
        parts = [magnitudes[at] for at in places]
        if len(parts) == 1:
            made.append(parts[0])
            continue
        sizes = [magnitudes[at].size.expand(records[at].current.shape) for at in places]
        rigorous = all(part.rigorous for part in parts)
        made.append(type(parts[0])(torch.cat(sizes), max(part.roundings for part in parts), rigorous))
    return made


def split(calls: Sequence[str], values: Sequence[Tensor], lengths: Sequence[int]) -> list[Tensor]:
    """Returns what each call has of its layer's values `[T, ...]`.

    Args:
        calls: The layer of each call.
        values: One tensor a layer.
        lengths: Number of steps of each call.
    """
    made: dict[int, Tensor] = {}
    for places, value in zip(layers_of(calls).values(), values, strict=True):
        parts = value.split([lengths[at] for at in places])
        made.update(zip(places, parts, strict=True))
    return [made[at] for at in range(len(calls))]

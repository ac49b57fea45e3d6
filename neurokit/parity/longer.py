"""More steps than the test vectors have: a form with a free T must go on as it began."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError
from neurokit.over_time import of_each
from neurokit.parity.forcing import in_bounds
from neurokit.parity.free_run import own_spikes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from neurokit.parity.vectors import Vectors
    from neurokit.target import Probe


def reaches(info: Mapping[str, Any], feeds: Mapping[str, np.ndarray]) -> bool:
    """Whether a form with a free T takes twice as many steps; one that reads a table by them may have no more rows.

    Args:
        info: What the target says of the artifact, `target_info`.
        feeds: Inputs of the test vectors, a sequence.
    """
    most = info.get("most_steps")
    return most is None or 2 * max(map(len, feeds.values())) <= most


def judge_longer(probe: Probe, vectors: Vectors, keeps_more: bool = False) -> list[str]:
    """Runs the test vectors' input twice in a row, freely and with the reference's spikes twice in a row.

    Freely, every spike of all `2 T` steps must follow from the artifact's own currents. Forced, a network whose
    currents repeat with its spikes (nothing between two neurons reaches over time) must give the outputs of the
    reference: the same mean and last step, twice the sum, the sequence twice. What an output is that is none of these
    stands in the vectors, and is held against in any network.

    Args:
        probe: The artifact.
        vectors: Its test vectors.
        keeps_more: Whether a neuron that is no layer of the vectors keeps a state too: outputs then do not repeat.

    Returns:
        Faults, one line each.
    """
    if vectors.time_input == "image" or not vectors.layers or any(layer.restarts for layer in vectors.layers):
        return []
    feeds = {name: np.concatenate((value, value)) for name, value in vectors.feeds.items()}
    steps = len(next(iter(feeds.values())))
    bounds = {name: 2.0 * vectors.output_bounds.get(name, 0.0) for name in vectors.outputs}
    try:
        outputs, spikes = probe.free(feeds)
        short = [s.shape for s, layer in zip(spikes, vectors.layers, strict=True) if len(s) != 2 * len(layer.spikes)]
        if short:
            return [f"over {steps} steps it gives spikes of shape {list(short[0])}"]
        faults = list(own_spikes(probe, vectors.layers, bounds, feeds, outputs, spikes)[1])
        twice = [np.concatenate((layer.spikes, layer.spikes)) for layer in vectors.layers]
        outputs, currents = probe.currents(feeds, twice)
    except ArtifactError as error:
        return [f"over {steps} steps it does not run: {error.what}"]
    local = all(
        in_bounds(half, whole, layer.bound)
        for layer, current in zip(vectors.layers, currents, strict=True)
        for half, whole in [np.split(current, 2)]
    )
    kinds = of_each(vectors.time_output, len(vectors.outputs))
    for y, kind, (name, wanted) in zip(outputs, kinds, vectors.outputs.items(), strict=True):
        repeats = local and not keeps_more and kind != "auto" and name not in vectors.carried
        if name not in vectors.longer and not repeats:
            continue
        again = np.concatenate((wanted, wanted)) if kind == "sequence" else 2 * wanted if kind == "sum" else wanted
        if not in_bounds(y, vectors.longer.get(name, again), 2.0 * bounds[name]):
            faults.append(f"output {name!r} is not what the reference's spikes lead to")
    return [f"over {steps} steps, {fault}" for fault in faults]

"""Thresholds and biases from calibration data: what a spike in every step is to stand for, layer by layer."""

from __future__ import annotations

import torch
from torch import Tensor, fx

from neurokit.transforms.common.graph import Watch, as_channels, channel_axis, mean_of_channels

_SHARES = 40  # thresholds tried between none of the largest activation and all of it


def balanced(
    graph: fx.GraphModule, places: list[fx.Node], x: Tensor, levels: int, per_channel: dict[fx.Node, bool]
) -> dict[fx.Node, Tensor]:
    """Returns, for each ReLU, the scale `[C]` or `[1]` that keeps its activations best in L levels.

    The scale is the one of the smallest squared error, of 40 between 0 and the largest activation seen; a channel
    that is always silent gets its layer's. (The search is that of post-training quantisation; Bu et al. learn the
    scale, and it is where fine-tuning starts from here.)

    Args:
        graph: The network, with its normalisations folded.
        places: Its ReLUs.
        x: Calibration inputs `[B, *shape]`.
        levels: L.
        per_channel: Of each ReLU whether its channels have scales of their own.
    """
    found: dict[fx.Node, Tensor] = {}

    def see(node: fx.Node, value: Tensor) -> None:
        rows = value.transpose(0, 1).flatten(1) if per_channel[node] else value.reshape(1, -1)
        found[node] = _least_error(rows, levels)

    with torch.no_grad():
        Watch(graph, places, see).run(x)
    return found


def _least_error(rows: Tensor, levels: int) -> Tensor:
    """Returns the scale of each row `[C, N]` of smallest squared error."""
    top = rows.amax(1)
    fallback = top.max() if float(top.max()) > 0 else torch.ones(())
    best, least = top.clone(), torch.full_like(top, torch.inf)
    for share in torch.arange(1, _SHARES + 1) / _SHARES:
        scale = (top * share).clamp_min(1e-12)[:, None]
        level = torch.floor(rows / scale * levels + 0.5).clamp(0, levels) / levels * scale
        error = (level - rows).square().sum(1)
        best = torch.where(error < least, scale[:, 0], best)
        least = torch.minimum(error, least)
    return torch.where(top > 0, best, fallback)


def shifts(spiking: fx.GraphModule, places: dict[fx.Node, Tensor], sequence: Tensor) -> dict[fx.Node, Tensor]:
    """Returns, for each layer of neurons, the current a channel that gives its mean rate the mean activation's value.

    Layer after layer, each with what those before it already got (Li et al., A Free Lunch From ANN, ICML 2021,
    the bias shift of their light pipeline).

    Args:
        spiking: The spiking network.
        places: Its layers of neurons, each with the mean activation `[C]` that it stands for.
        sequence: Calibration inputs `[T, B, *shape]`.
    """
    found: dict[fx.Node, Tensor] = {}

    class Correct(fx.Interpreter):
        def run_node(self, n: fx.Node) -> Tensor:
            result: Tensor = super().run_node(n)
            if n not in places:
                return result
            axis = channel_axis(n)
            found[n] = places[n] - mean_of_channels(result, axis)
            args, _ = self.fetch_args_kwargs_from_env(n)
            layer = self.submodules[str(n.target)]
            layer.spikes.reset()
            shift = found[n] if axis == -1 else as_channels(found[n], args[0])
            again: Tensor = layer(args[0] + shift, *args[1:])
            return again

    with torch.no_grad():
        Correct(spiking).run(sequence.flatten(0, 1), sequence)
    return found

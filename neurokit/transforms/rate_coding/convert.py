"""A network of ReLUs as a spiking one: each ReLU becomes an integrate-and-fire neuron, whose rate stands for its value.

After Rueckauer et al., Conversion of Continuous-Valued Deep Networks to Efficient Event-Driven Networks for Image
Classification, Frontiers in Neuroscience 11:682, 2017: currents are divided by a high percentile of the activations,
the reset subtracts the threshold, the input is given as it is in every step. With T steps a value is a count of 0 to
T spikes. Where maxima are pooled the rates come out too high, since a maximum of spikes is not the spikes of the
maximum (they gate such layers; that is not done here): the reported error has that in it. SpikingJelly's own
converter takes modules that it can trace by name; this one takes whatever neurokit captures, .onnx and .pt2 files too.
"""

from __future__ import annotations

import numpy as np
import torch
from spikingjelly.activation_based import functional, neuron
from torch import Tensor, fx, nn

from neurokit.capture.reference import example_input
from neurokit.errors import InputError
from neurokit.spec import ModelSpec
from neurokit.transforms.common.graph import Watch, relu_graph
from neurokit.transforms.common.result import Converted, closeness, image_in_every_step

PERCENTILE = 99.9
SAMPLES = 4


class RateCoded(Converted):
    """A network converted by rates, and how near it comes to its source on the calibration samples."""

    @property
    def what(self) -> str:
        """What the network has become, in words."""
        return f"rate code of {self.neurons} ReLU layers"


class RateNeuron(nn.Module):
    """Spikes whose mean over time is the ReLU of the mean current, up to `scale`.

    Args:
        scale: What one spike in every step stands for.
    """

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale
        self.spikes = neuron.IFNode(v_threshold=1.0, v_reset=None)

    def forward(self, x: Tensor) -> Tensor:
        """Maps the current of one step to 0 or `scale`, elementwise."""
        return self.spikes(x / self.scale) * self.scale


def rate_coded(
    spec: ModelSpec, time_steps: int, calibration: Tensor | None = None, *, percentile: float = PERCENTILE
) -> RateCoded:
    """Converts a network of ReLUs to a spiking one.

    Args:
        spec: A network without neurons.
        time_steps: T, the resolution of the rates.
        calibration: Inputs `[B, *shape]` that scales are chosen on; default is the spec's example.
        percentile: Percentile of each layer's activations that one spike a step stands for.

    Raises:
        InputError: If T, the percentile or the calibration data do not fit.
        UnsupportedError: If the network spikes already or has no ReLU.
    """
    if time_steps < 1 or not 0.0 < percentile <= 100.0:
        raise InputError(
            f"{time_steps} time steps, percentile {percentile:g}", expected="T >= 1 and a percentile in (0, 100]"
        )
    graph, places = relu_graph(spec)
    x = example_input(spec, None, SAMPLES, 0) if calibration is None else calibration
    if tuple(x.shape[1:]) != tuple(spec.inputs[0].shape) or not len(x):
        raise InputError(
            f"calibration of shape {list(x.shape)}", expected=f"[B, {', '.join(map(str, spec.inputs[0].shape))}]"
        )
    scales = _scales(graph, places, x, percentile)
    with torch.no_grad():
        reference = graph(x)
    converted = _replace(graph, places, scales)
    error, agreement = _fidelity(converted, x, reference, time_steps)
    return RateCoded(_spec(spec, converted, time_steps), len(places), len(x), error, agreement)


def _scales(graph: fx.GraphModule, places: list[fx.Node], x: Tensor, percentile: float) -> dict[fx.Node, float]:
    found: dict[fx.Node, float] = {}

    def see(node: fx.Node, value: Tensor) -> None:
        found[node] = float(np.percentile(value.numpy(), percentile)) or float(value.max()) or 1.0

    with torch.no_grad():
        Watch(graph, places, see).run(x)
    return found


def _replace(graph: fx.GraphModule, places: list[fx.Node], scales: dict[fx.Node, float]) -> fx.GraphModule:
    for index, node in enumerate(places):
        name = f"relu{index}"
        graph.add_submodule(name, RateNeuron(scales[node]))
        with graph.graph.inserting_after(node):
            new = graph.graph.call_module(name, (node.args[0],))
        node.replace_all_uses_with(new)
        graph.graph.erase_node(node)
    graph.graph.lint()
    graph.recompile()
    return graph


def _fidelity(net: nn.Module, x: Tensor, reference: Tensor, steps: int) -> tuple[float, float | None]:
    functional.reset_net(net)
    with torch.no_grad():
        total = sum((net(x) for _ in range(steps - 1)), net(x)) / steps
    functional.reset_net(net)
    return closeness(total, reference)


def _spec(spec: ModelSpec, net: fx.GraphModule, steps: int) -> ModelSpec:
    import copy

    return ModelSpec(
        name=f"{spec.name}_rate",
        build=lambda: copy.deepcopy(net),
        inputs=spec.inputs,
        time_steps=steps,
        time_input="step",
        time_output="mean",
        classes=spec.classes,
        example=image_in_every_step(spec),
        description=f"rate-coded {spec.name}",
        source=spec.source,
        options=dict(spec.options),
        task=spec.task,
        preprocess=spec.preprocess,
    )

"""SpikingJelly's converter on a captured network: it calibrates, and puts neurons in the place of ReLUs."""

from __future__ import annotations

import torch
from spikingjelly.activation_based.ann2snn import Converter
from spikingjelly.activation_based.ann2snn.recipes import RateCodingRecipe
from spikingjelly.activation_based.base import MemoryModule
from torch import Tensor, fx, nn

from neurokit.spec import ModelSpec
from neurokit.transforms.common.graph import fold_batch_norms, relu_graph
from neurokit.transforms.common.result import Converted, OverTime, calibration_inputs, result

_BATCH = 64


class _OnGraph(RateCodingRecipe):  # type: ignore[misc]  # SpikingJelly has no types
    """SpikingJelly's recipe without its last stage, which rewrites modules for sequences and knows few functions.

    That stage refuses MobileNetV2, whose forward pools by a function; a captured graph needs it not, because only its
    neurons see time.
    """

    def calibrate(self, converter: Converter, fx_model: fx.GraphModule) -> fx.GraphModule:
        """Shows the calibration inputs, without a progress bar in the middle of a command's own."""
        for x in self.dataloader:
            fx_model(x)
        return fx_model

    def replace(self, converter: Converter, fx_model: fx.GraphModule) -> fx.GraphModule:
        """Puts neurons in the place of the ReLUs that were watched."""
        return self._replace_by_neurons(fx_model)


class _InTime(nn.Module):
    """A neuron that is given `[T * B, ...]` and the sequence that T and B are read from."""

    def __init__(self, node: MemoryModule) -> None:
        super().__init__()
        node.step_mode = "m"
        self.spikes = node

    def forward(self, x: Tensor, sequence: Tensor) -> Tensor:
        return self.spikes(x.unflatten(0, sequence.shape[:2])).flatten(0, 1)


def converted(
    spec: ModelSpec, time_steps: int, calibration: Tensor | None = None, *, mode: str, channels: bool = False
) -> Converted:
    """Converts a network of ReLUs by SpikingJelly's `RateCodingRecipe`.

    Args:
        spec: A network without neurons.
        time_steps: T.
        calibration: Inputs `[B, *shape]`; default is the spec's example.
        mode: What a spike in every step stands for: "max", or a percentile such as "99.9%".
        channels: Whether thresholds are a channel's own; membranes then begin at half of them.

    Raises:
        InputError: If the calibration data do not fit.
        UnsupportedError: If the network spikes already or has no ReLU.
    """
    graph, places = relu_graph(spec)
    x = calibration_inputs(spec, calibration)
    with torch.no_grad():
        reference = graph(x)
    folded = fold_batch_norms(graph)
    _as_modules(graph, places)
    recipe = _OnGraph(list(x.split(_BATCH)), mode=mode, fuse_flag=False, channel_wise=channels, half_threshold=channels)
    made = Converter(recipe).convert(graph)
    assert isinstance(made, fx.GraphModule)
    _in_time(made)
    note = (
        f"{folded} batch normalisations folded; thresholds by SpikingJelly's recipe, mode {mode}, on {len(x)} samples"
    )
    return result(spec, OverTime(made), time_steps, x, reference, len(places), [note])


def _as_modules(graph: fx.GraphModule, places: list[fx.Node]) -> None:
    """Puts a module in the place of each ReLU, which is what SpikingJelly looks for."""
    for index, node in enumerate(places):
        graph.add_submodule(f"relu{index}", nn.ReLU())
        with graph.graph.inserting_after(node):
            new = graph.graph.call_module(f"relu{index}", (node.args[0],))
        node.replace_all_uses_with(new)
        graph.graph.erase_node(node)
    graph.recompile()


def _in_time(graph: fx.GraphModule) -> None:
    """Gives every neuron the sequence as its second argument, and the graph too."""
    first = next(node for node in graph.graph.nodes if node.op == "placeholder")
    with graph.graph.inserting_after(first):
        sequence = graph.graph.placeholder("sequence")
    for node in graph.graph.nodes:
        part = graph.get_submodule(str(node.target)) if node.op == "call_module" else None
        if isinstance(part, MemoryModule):
            parent, _, leaf = str(node.target).rpartition(".")
            setattr(graph.get_submodule(parent), leaf, _InTime(part))
            node.args = (*node.args, sequence)
    graph.graph.lint()
    graph.recompile()

"""A trained network of ReLUs as a spiking one of few steps: levels, balanced thresholds, training, neurons."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, fx

from neurokit.errors import InputError
from neurokit.program import nodes
from neurokit.program.walk import store
from neurokit.spec import ModelSpec
from neurokit.transforms.common.graph import (
    Watch,
    channel_axis,
    channels_of,
    drop_unused,
    fold_batch_norms,
    linear_before,
    mean_of_channels,
    relu_graph,
    set_weights,
    weights_of,
    with_batch_norms,
)
from neurokit.transforms.common.norms_forward import fold_norms_forward
from neurokit.transforms.common.result import Converted, OverTime, calibration_inputs, result
from neurokit.transforms.common.scaling import readers, scale_inputs, scale_outputs, takes_channels
from neurokit.transforms.qcfs.expected import with_expectations
from neurokit.transforms.qcfs.finetune import Training, train
from neurokit.transforms.qcfs.keep import put_back, read_kept, write_kept
from neurokit.transforms.qcfs.layers import QCFS, Spikes
from neurokit.transforms.qcfs.thresholds import balanced, shifts

_CALIBRATED_ON = 256  # training samples, where no calibration data are given


def converted(
    spec: ModelSpec,
    time_steps: int,
    calibration: Tensor | None = None,
    *,
    levels: int = 0,
    data: tuple[Tensor, Tensor | None] | None = None,
    training: Training | None = None,
    keep: Path | None = None,
) -> Converted:
    """Converts a network of ReLUs to IF neurons.

    Without training data the thresholds are those of the smallest squared error of each layer, and each layer's
    currents are shifted so that mean rates stand for mean activations. With them the network is trained twice: with
    activations of L levels, and then as the spiking network itself, with surrogate gradients.

    Args:
        spec: A network without neurons.
        time_steps: T.
        calibration: Inputs `[B, *shape]`; default are the training inputs, or the spec's example.
        levels: L of the activations; 0 for T.
        data: Training inputs `[N, *shape]` and labels `[N]`, or None for labels: then the source network teaches.
        training: How to train.
        keep: File of the converted weights: read where it is there, and written after the conversion where not.

    Raises:
        InputError: If T, L or the data do not fit.
        UnsupportedError: If the network spikes already or has no ReLU.
    """
    if time_steps < 1 or levels < 0:
        raise InputError(f"T={time_steps}, levels={levels}", expected="T >= 1, and levels >= 0 (0: as many as T)")
    levels = levels or time_steps
    kept = None if keep is None or not keep.exists() else read_kept(keep)
    if kept is not None:
        data = None
    graph, places = relu_graph(spec)
    if data is not None:
        calibration_inputs(spec, data[0])
    x = calibration_inputs(spec, data[0][:_CALIBRATED_ON] if calibration is None and data is not None else calibration)
    with torch.no_grad():
        reference = graph(x)
    folded = fold_batch_norms(graph)
    forward = fold_norms_forward(graph)
    wide = {node: takes_channels(node, torch.ones(channels_of(node))) for node in places}
    scales = balanced(graph, places, x, levels, wide)
    teacher = copy.deepcopy(graph)
    means = _means(graph, places, x)
    notes = [f"{folded} batch normalisations folded; thresholds of {len(places)} layers balanced on {len(x)} samples"]
    notes += [f"normalisations behind ReLUs folded into {forward} convolutions that read them"] if forward else []
    if data is not None:
        with_batch_norms(graph, x)
    shapes = [nodes.hints(node) for node in places]
    layers = _with_levels(graph, places, scales, levels)
    how = training or Training()
    if data is not None and how.epochs:
        notes.append(train(graph, graph, teacher, data, how, how.epochs, None))
    neurons = _with_neurons(graph, layers)
    functions = with_expectations(graph)
    notes += [f"{functions} operations that are not linear see the rates so far"] if functions else []
    net = OverTime(graph)
    if kept is not None:
        pass
    elif data is None:
        sequence = x.unsqueeze(0).expand(time_steps, *x.shape)
        _shift(graph, dict(zip(neurons, means, strict=True)), sequence)
        notes.append("currents of each layer shifted to keep its mean activations")
    elif how.spiking_epochs:
        notes.append(train(net, graph, teacher, data, how, how.spiking_epochs, time_steps))
    fold_batch_norms(graph)
    _settle(graph, neurons, shapes)
    if kept is not None:
        put_back(graph, kept)
        notes = [f"weights and thresholds of {keep}"]
    elif keep is not None:
        write_kept(graph, keep)
    return result(spec, net, time_steps, x, reference, len(places), notes)


def _means(graph: fx.GraphModule, places: list[fx.Node], x: Tensor) -> list[Tensor]:
    """Returns the mean activation of each channel `[C]` behind each ReLU."""
    found: dict[fx.Node, Tensor] = {}

    def see(node: fx.Node, value: Tensor) -> None:
        found[node] = mean_of_channels(value, channel_axis(node))

    with torch.no_grad():
        Watch(graph, places, see).run(x)
    return [found[node] for node in places]


def _with_levels(
    graph: fx.GraphModule, places: list[fx.Node], scales: dict[fx.Node, Tensor], levels: int
) -> list[fx.Node]:
    """Puts an activation of L levels in the place of each ReLU; returns the new nodes."""
    made = []
    for index, node in enumerate(places):
        graph.add_submodule(f"levels{index}", QCFS(scales[node], levels))
        with graph.graph.inserting_after(node):
            new = graph.graph.call_module(f"levels{index}", (node.args[0],))
        new.meta = {"val": node.meta["val"]}
        node.replace_all_uses_with(new)
        graph.graph.erase_node(node)
        made.append(new)
    graph.recompile()
    return made


def _with_neurons(graph: fx.GraphModule, layers: list[fx.Node]) -> list[fx.Node]:
    """Puts neurons in the place of each activation; the graph then takes the sequence as its second argument."""
    first = next(node for node in graph.graph.nodes if node.op == "placeholder")
    with graph.graph.inserting_after(first):
        sequence = graph.graph.placeholder("sequence")
    made = []
    for index, node in enumerate(layers):
        activation = graph.get_submodule(str(node.target))
        graph.add_submodule(f"neurons{index}", Spikes(activation.scale))  # type: ignore[arg-type]
        with graph.graph.inserting_after(node):
            new = graph.graph.call_module(f"neurons{index}", (node.args[0], sequence))
        new.meta = {"val": node.meta["val"]}
        node.replace_all_uses_with(new)
        graph.graph.erase_node(node)
        graph.delete_submodule(str(node.target))
        made.append(new)
    graph.recompile()
    return made


def _shift(graph: fx.GraphModule, neurons: dict[fx.Node, Tensor], sequence: Tensor) -> None:
    """Adds to the biases before each layer what keeps its mean activations, where a bias can hold it."""
    held = {node: mean for node, mean in neurons.items() if linear_before(node) is not None}
    functional.reset_net(graph)
    for node, shift in shifts(graph, held, sequence).items():
        before = linear_before(node)
        assert before is not None
        weight, bias = weights_of(graph, before)
        set_weights(graph, before, weight, shift if bias is None else bias + shift)
    functional.reset_net(graph)
    graph.recompile()


def _settle(graph: fx.GraphModule, neurons: list[fx.Node], shapes: list[tuple[int, ...]]) -> None:
    """Moves every scale into weights and thresholds, so that spikes are ones."""
    for node, shape in zip(neurons, shapes, strict=True):
        scale = graph.get_submodule(str(node.target)).scale.detach()  # type: ignore[operator]
        before, behind = linear_before(node), readers(node, scale, shape)
        if before is not None:
            scale_outputs(graph, before, 1 / scale)
        threshold = 1.0 if before is not None else float(scale)
        setattr(graph, str(node.target), Spikes(scale, threshold, learnt=False))
        if behind is not None:
            scale_inputs(graph, behind)
            continue
        _scale_spikes(graph, node, scale, shape)
    graph.graph.eliminate_dead_code()
    graph.graph.lint()
    graph.delete_all_unused_submodules()
    drop_unused(graph)
    graph.recompile()


def _scale_spikes(graph: fx.GraphModule, node: fx.Node, scale: Tensor, shape: tuple[int, ...]) -> None:
    """Multiplies spikes that no weights read, as those of a shortcut: a connection of each to itself has the weight."""
    with graph.graph.inserting_after(node):
        if len(shape) != 4:
            new = graph.graph.call_function(torch.ops.aten.mul.Tensor, (node, float(scale)))
        else:
            new = graph.graph.call_function(torch.ops.aten.conv2d.default)
            path = f"{node.name}_shortcut.weight"
            store(graph, path, scale.expand(shape[1]).reshape(-1, 1, 1, 1))
    node.replace_all_uses_with(new, delete_user_cb=lambda user: user is not new)
    if len(shape) == 4:
        with graph.graph.inserting_before(new):
            weight = graph.graph.get_attr(path)
        new.args = (node, weight, None, [1, 1], [0, 0], [1, 1], shape[1])

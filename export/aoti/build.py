"""Builds the packages of one artifact: every graph, the probing twin, and what the manifest says of them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.fx import GraphModule

from neurokit.dims import Linear
from neurokit.export.aoti.archive import notes_of
from neurokit.export.aoti.compile import compiled, example_of, exported, one_process, package
from neurokit.export.aoti.mutations import found_once
from neurokit.export.aoti.place import here
from neurokit.export.aoti.precision import in_16_bits
from neurokit.export.aoti.probe import NEURONS, PROBE_FILE, TWIN
from neurokit.export.aoti.programs import Network, Neurons, StepLoop, body_of, layer_nodes, neurons_of, twin_of
from neurokit.export.aoti.roundings import most_by_name, roundings
from neurokit.export.describe import describe, save_initial_states
from neurokit.program.fusions import comparing
from neurokit.program.grids import ROUNDED_ONCE
from neurokit.program.passes.as_products import AS_PRODUCTS
from neurokit.program.passes.carry import CARRY, CHANNELS_LAST
from neurokit.program.passes.fill_channels import FILL_CHANNELS
from neurokit.program.passes.fold_norms import FOLD_BEHIND, FOLD_NORMS
from neurokit.program.passes.fuse import Placed, fuse
from neurokit.program.passes.join import JOIN_PLAIN, join
from neurokit.program.passes.join_groups import join_groups
from neurokit.program.passes.join_parts import JOIN_PARTS
from neurokit.program.passes.levels import LEVELS
from neurokit.program.passes.limits import ONE_LIMIT, SAME_ONCE
from neurokit.program.passes.static_input import STATIC_INPUT
from neurokit.program.passes.subsample import SUBSAMPLE
from neurokit.program.passes.take import take
from neurokit.program.passes.whole import read_whole

if TYPE_CHECKING:
    from neurokit.capture import Captured
    from neurokit.export.aoti.settings import Settings

_TUNED = {"max_autotune": True, "epilogue_fusion": True, "coordinate_descent_tuning": True}
_PROBING = {"aot_inductor.compile_wrapper_opt_level": "O0"}  # it only hands tensors on


def build(captured: Captured, folder: Path, settings: Settings, exact: bool, *, probing: bool = True) -> dict[str, Any]:
    """Compiles a captured model into packages.

    Args:
        captured: The model, in the form that is wanted.
        folder: Where to put model.pt2 (or one file a graph) and probe.pt2.
        settings: The target's options.
        exact: Whether the model is in exact numerics.
        probing: Whether the twin is compiled, too, without which nothing can be verified.

    Returns:
        Entries of the manifest.

    Raises:
        UnsupportedError: If the compiler refuses the program.
    """
    from torch._inductor.async_compile import maybe_warm_pool

    entries = describe(captured)
    device, tuned = settings.device, _TUNED if settings.tune else {}
    calls: list[dict[str, Any]] = []
    placed: list[dict[str, Any]] = []
    if device != "cpu":
        # The processes that compile kernels take seconds to import torch. Left to itself PyTorch starts them with the
        # first kernels, and compiles one after the other meanwhile: the 18 kernels of resnet34 took 5.4 s.
        maybe_warm_pool()
    with found_once(), one_process():
        for at, (graph, part) in enumerate(zip(entries["graphs"], captured.graphs, strict=True)):
            graph["file"] = f"{part.graph}.pt2"
            body, rows = rewritten(part, settings, exact)
            placed += rows
            program = traced(read_whole(body), part, device)
            package(folder / graph["file"], {"model": compiled(program, notes_of(part, entries, at, settings), tuned)})
            save_initial_states(part, folder)
            # Of several graphs the outputs of calls in a row are compared, and no layers.
            if probing and not captured.parts:
                calls, info = _probe(body, part, folder, device)
                entries["target_info"] |= info
    entries["form"] = settings.form
    entries["target_info"] |= {"built_for": here(device), "calls": calls, "kernels": placed}
    entries["target_info"] |= {"precision": settings.precision}
    return entries


def rewritten(part: Captured, settings: Settings, exact: bool) -> tuple[GraphModule, list[dict[str, Any]]]:
    """Returns a captured program as it is compiled, and what became of every layer of neurons.

    Args:
        part: The program.
        settings: The target's options.
        exact: Whether the program is in exact numerics.
    """
    from neurokit.capture.stepping import layer_names

    body = body_of(part)
    if not exact:
        FOLD_NORMS(body)
        FOLD_BEHIND(body)
    if settings.precision != "float32":
        in_16_bits(body, part, getattr(torch, settings.precision))
        body.meta["roundings"] = roundings(body)
    fuses = settings.fuses
    names = [(node.name, layer) for node, layer in zip(layer_nodes(body), _names(part, layer_names), strict=True)]
    STATIC_INPUT(body)
    found, taken = [], []
    if fuses:
        if exact:
            ONE_LIMIT(body)
            ROUNDED_ONCE(body)
            LEVELS(body)
            SAME_ONCE(body)
        # A program is planned for a GPU that is not there, too.
        device = settings.device if torch.cuda.is_available() else "cpu"
        with comparing(device):
            taken = take(body, exact, device=device)
            found = fuse(body, _starts(body, part), exact, device=device)
            taken += take(body, exact, last=True, device=device)
            join(device)(body)
        if exact:
            CARRY(body)
        else:
            JOIN_PLAIN(body)
            JOIN_PARTS(body)
            with comparing(device):
                join_groups(device)(body)
            if settings.device != "cpu":
                SUBSAMPLE(body)
                FILL_CHANNELS(body)
        CHANNELS_LAST(body)
    if exact and settings.device != "cpu":
        AS_PRODUCTS(body)
    by_node = {one.node: one for one in found}
    rows = []
    for node, layer in names:
        one = by_node.get(node, Placed(node))
        reasons = dict(one.reasons) or {} if fuses else {}
        if not one.kernel and not reasons:
            reasons = {"all": "a rare neuron: its own step" if fuses else "kernels were not asked (kernels=none)"}
        rows.append(
            {"layer": layer, "kernel": one.kernel, "with": list(one.inside), "reasons": reasons, "neurons": True}
        )
    rows += [
        {"layer": one.layer, "kernel": one.kernel, "with": list(one.inside), "reasons": {}, "neurons": False}
        for one in taken
    ]
    return body, rows


def _names(part: Captured, layer_names: Any) -> tuple[str, ...]:
    return tuple(layer_names(part.program, part.calls))


def _starts(body: GraphModule, part: Captured) -> dict[str, float | None]:
    """Returns the number that each neuron's membrane starts from, where the package starts it itself."""
    if part.form == "step":
        return {}
    places = [node for node in body.graph.nodes if node.op == "placeholder"][len(part.inputs) :]
    known = {
        node: float(state.init)  # type: ignore[arg-type]
        for node, state in zip(places, part.states, strict=True)
        if state.uniform
    }
    return {node.name: known.get(node.args[1]) for node in layer_nodes(body) if not isinstance(node.args[1], list)}


def traced(body: GraphModule, part: Captured, device: str) -> Any:
    """Traces a network with its states inside (sequence form) or as they are."""
    network = Network(body, part)
    inputs, _, states = network.counts
    places = [node for node in body.graph.nodes if node.op == "placeholder"]
    if network.inside:
        places = places[:inputs] + places[inputs + states :]
    examples, free = zip(*(example_of(node.meta["val"]) for node in places), strict=True)
    return exported(network, examples, free, device)


def _probe(body: GraphModule, part: Captured, folder: Path, device: str) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Compiles the probing twin and the neurons alone; returns what is known of every call, and of their kinds."""
    if not layer_nodes(body):
        return [], {"kinds": [], "examples": []}
    alone, kinds = neurons_of(body)
    twin = compiled(traced(twin_of(body), part, device), {}, _PROBING)
    examples = [example for kind in alone.kinds for example in kind.example]
    free = [{0: _auto()} if example.dim() else {} for example in examples]
    own = compiled(exported(alone, examples, free, device), {}, _PROBING)
    package(folder / PROBE_FILE, {TWIN: twin, NEURONS: own})
    return calls_of(body, part, alone, kinds)


def calls_of(
    body: GraphModule, part: Captured, alone: Neurons, kinds: list[int]
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Returns what is known of every call of neurons, and of their kinds.

    Args:
        body: The program.
        part: What is known of it.
        alone: Its kinds of neurons.
        kinds: Which kind every call is of.
    """
    from neurokit.capture.stepping import layer_names

    nodes, names = layer_nodes(body), layer_names(part.program, part.calls)
    axes = _names_of_axes(body, part)
    calls = [
        {
            "layer": name,
            "kind": kind,
            "rare": _is_rare(body, node),
            "states": len(node.args[1]) if isinstance(node.args[1], list | tuple) else 1,
            "shape": [_text(size, axes) for size in _first(node).shape],
            "dtype": str(_first(node).dtype).removeprefix("torch."),
        }
        for node, name, kind in zip(nodes, names, kinds, strict=True)
    ]
    shown = [[[list(e.shape), str(e.dtype).removeprefix("torch.")] for e in kind.example] for kind in alone.kinds]
    known: dict[str, Any] = {"kinds": alone.counts, "examples": shown}
    if "roundings" in body.meta:
        of_currents, of_outputs = body.meta["roundings"]
        known["roundings"] = {
            "layers": most_by_name(names, of_currents),
            "outputs": most_by_name(part.output_names, of_outputs),
        }
    return calls, known


def _auto() -> Any:
    return torch.export.Dim.AUTO


def _is_rare(body: GraphModule, node: Any) -> bool:
    return node.op == "call_module" and isinstance(body.get_submodule(str(node.target)), StepLoop)


def _first(node: Any) -> Any:
    """Returns the fake tensor of a layer's spikes."""
    value = node.meta["val"]
    return value[0] if isinstance(value, list | tuple) else value


def _names_of_axes(body: GraphModule, part: Captured) -> dict[str, str]:
    """Returns the name of every symbol of the trace that is the size of a port's axis."""
    places = [node for node in body.graph.nodes if node.op == "placeholder"]
    named = {}
    for node, port in zip(places, (*part.inputs, *part.states), strict=False):
        for size, known in zip(node.meta["val"].shape, port.shape, strict=True):
            if isinstance(known, Linear) and not isinstance(size, int) and known.terms == ((known.names[0], 1),):
                named.setdefault(str(size), known.names[0])
    return named


def _text(size: Any, axes: dict[str, str]) -> int | str:
    if isinstance(size, int):
        return size
    text = str(size).replace(" ", "")
    for symbol, name in axes.items():
        text = text.replace(symbol, name)
    return text

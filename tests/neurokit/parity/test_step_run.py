"""Rare neurons are judged by their own step: planted faults fail in every form, and sound artifacts pass."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
import torch
from onnx import helper, numpy_helper
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.parity.record_vectors import make_vectors
from neurokit.spec import ModelSpec, TensorSpec
from tests.mutation import plant as mutation
from tests.mutation.graph import Graph

T = 6
FORMS = ("onnx", "onnx-scan", "onnx-step")


def build() -> nn.Module:
    """A rare neuron of two states, a common one behind it, and a rare one of one state at the end."""
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Linear(4, 12, step_mode="m"),
        neuron.IzhikevichNode(a=0.3, b=0.2, step_mode="m"),
        layer.Linear(12, 8, step_mode="m"),
        neuron.LIFNode(v_threshold=0.5, step_mode="m"),
        layer.Linear(8, 6, step_mode="m"),
        neuron.QIFNode(step_mode="m"),
    )
    with torch.no_grad():
        for index in (0, 2, 4):
            net[index].weight.uniform_(-0.5, 1.0)
    return net.eval()


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("steps")
    captured = nk.capture(ModelSpec("rare", build, (TensorSpec("x", (4,), high=2.0),), time_steps=T))
    return {form: nk.lower(captured, form, folder / form, verified=False) for form in FORMS}


def _function(graph: Graph, kind: str) -> onnx.FunctionProto:
    return next(f for f in graph.model.functions if f.domain == "neurokit.step" and f.name.startswith(kind))


def _body(graph: Graph, kind: str):
    """Returns what computes the step, with the names of its new states; states come first in the body of a Scan."""
    function = _function(graph, kind)
    scans = [a.g for n in function.node if n.op_type == "Scan" for a in n.attribute if a.name == "body"]
    return (scans[0], [v.name for v in scans[0].output[:-1]]) if scans else (function, list(function.output[1:]))


def _producer(body, name: str) -> onnx.NodeProto:
    return next(node for node in body.node if name in node.output)


def _threshold(graph: Graph, kind: str) -> None:
    """Every constant of the step that is no 0, 1 or -1 is a thousandth larger."""
    changed = 0
    for node in _body(graph, kind)[0].node:
        if node.op_type == "Constant":
            value = numpy_helper.to_array(node.attribute[0].t)
            if value.dtype == np.float32 and not np.isin(value, (0.0, 1.0, -1.0)).all():
                node.attribute[0].t.CopyFrom(numpy_helper.from_array(np.asarray(value * 1.001, np.float32)))
                changed += 1
    assert changed


def _one_constant(graph: Graph, kind: str, which: int) -> None:
    constants = [
        node
        for node in _body(graph, kind)[0].node
        if node.op_type == "Constant" and numpy_helper.to_array(node.attribute[0].t).dtype == np.float32
    ]
    tensor = constants[which % len(constants)].attribute[0].t
    tensor.CopyFrom(numpy_helper.from_array(np.asarray(numpy_helper.to_array(tensor) + 1e-3, np.float32)))


def _not_carried(graph: Graph, kind: str) -> None:
    """The state that is handed on is the one that came in."""
    body, states = _body(graph, kind)
    old = body.input[1] if isinstance(body, onnx.FunctionProto) else body.input[0].name
    node = _producer(body, states[0])
    node.output[list(node.output).index(states[0])] = "planted.lost"
    body.node.append(helper.make_node("Identity", [old], [states[0]]))


def _swapped(graph: Graph, kind: str) -> None:
    """Each of two states is handed on as the other."""
    body, (first, second) = _body(graph, kind)
    for name, other in ((first, "planted.second"), (second, "planted.first")):
        node = _producer(body, name)
        node.output[list(node.output).index(name)] = other
        for user in body.node:
            user.input[:] = [other if used == name else used for used in user.input]
    body.node.append(helper.make_node("Identity", ["planted.first"], [first]))
    body.node.append(helper.make_node("Identity", ["planted.second"], [second]))


def _no_reset(graph: Graph, kind: str) -> None:
    """What the step makes of its spike to set its membrane back is nothing: the spike that it reads there is 0."""
    body, _ = _body(graph, kind)
    compare = next(node for node in body.node if node.op_type in ("GreaterOrEqual", "Less", "Greater"))
    cast = next(node for node in body.node if compare.output[0] in node.input)
    spike = cast.output[0]
    readers = [node for node in body.node if spike in node.input and node.op_type not in ("Identity", "Unsqueeze")]
    assert readers
    at = list(body.node).index(cast)
    body.node.insert(at + 1, helper.make_node("Sub", [spike, spike], ["planted.silence"]))
    for node in readers:
        node.input[:] = ["planted.silence" if name == spike else name for name in node.input]


def _reversed(graph: Graph, kind: str) -> None:
    for node in _function(graph, kind).node:
        if node.op_type == "Scan":
            node.attribute.append(helper.make_attribute("scan_input_directions", [1]))
            node.attribute.append(helper.make_attribute("scan_output_directions", [1]))


def _start(graph: Graph, kind: str) -> None:
    """Another initial state than the reference's."""
    for state in graph.ports["states"]:
        if state["neuron"] == {"Izhikevich": "1", "QIF": "5"}[kind]:
            state["init"] = 0.3
    call = next(node for node in graph.graph.node if node.op_type.startswith(kind))
    for node in graph.graph.node:
        if call.input[1] in node.output:  # in a sequence form the graph makes its initial states
            node.input[0] = graph.constant(np.full_like(graph.value(node.input[0]), 0.3))


def _names_swapped(graph: Graph, kind: str) -> None:
    """The manifest hands one state on as the other."""
    first, second = (s for s in graph.ports["states"] if s["neuron"] == "1")
    first["output"], second["output"] = second["output"], first["output"]


def _planted(artifact, plant: Callable[[Graph], None], tmp_path, monkeypatch):
    monkeypatch.setitem(mutation.FAULTS, "here", plant)
    return mutation.planted(artifact, "here", tmp_path / "broken", T)


FAULTS: dict[str, tuple[Callable[[Graph, str], None], str]] = {
    "constants off by 1e-3": (_threshold, ""),
    "one constant off": (lambda graph, kind: _one_constant(graph, kind, 1), ""),
    "another constant off": (lambda graph, kind: _one_constant(graph, kind, 3), ""),
    "state not carried": (_not_carried, ""),
    "states swapped": (_swapped, "Izhikevich"),
    "reset left out": (_no_reset, ""),
    "another initial state": (_start, ""),
}


@pytest.mark.parametrize("form", FORMS)
def test_a_sound_artifact_is_exact_and_every_rare_layer_is_seen(artifacts, form):
    report = nk.verify(artifacts[form], record=False)
    assert report.passed, report.notes
    assert [layer.layer for layer in report.layers] == ["1", "3", "5"]
    assert not any("decomposed" in note or "hides" in note for note in (*report.notes, *report.unseen))
    assert all(entry.covering_error is not None for entry in report.layers)


PLACES = [*((form, "Izhikevich") for form in FORMS), ("onnx", "QIF")]
PLANTED = [(*place, fault) for fault, (_, only) in FAULTS.items() for place in PLACES if only in ("", None, place[1])]


@pytest.mark.parametrize(("form", "kind", "fault"), PLANTED)
def test_a_planted_fault_in_a_rare_neuron_fails(artifacts, tmp_path, monkeypatch, form, fault, kind):
    plant, _ = FAULTS[fault]
    broken = _planted(artifacts[form], lambda graph: plant(graph, kind), tmp_path, monkeypatch)
    report = nk.verify(broken, record=False)
    assert not report.passed, f"{fault} in {kind}, {form}"
    assert any(note.startswith(("1:", "5:")) for note in report.notes), report.notes


def _strict(graph: Graph, kind: str) -> None:
    """It fires above its threshold, and no longer at it."""
    compare = next(node for node in _body(graph, kind)[0].node if node.op_type == "GreaterOrEqual")
    compare.op_type = "Greater"


@pytest.mark.parametrize(("form", "kind"), PLACES)
def test_firing_above_the_threshold_and_not_at_it_fails(artifacts, tmp_path, monkeypatch, form, kind):
    broken = _planted(artifacts[form], lambda graph: _strict(graph, kind), tmp_path, monkeypatch)
    report = nk.verify(broken, record=False)
    assert not report.passed
    assert any("another output than the reference's" in note for note in report.notes)


RARE = [neuron.QIFNode, neuron.EIFNode, neuron.IzhikevichNode, neuron.KLIFNode, neuron.ILIFNode, neuron.TernaryLIFNode]


@pytest.mark.parametrize("kind", RARE, ids=lambda kind: kind.__name__)
def test_every_rare_neuron_is_asked_at_its_threshold(kind):
    def build():
        torch.manual_seed(0)
        return nn.Sequential(layer.Linear(4, 12, step_mode="m"), kind(step_mode="m")).eval()

    captured = nk.capture(ModelSpec("rare", build, (TensorSpec("x", (4,), high=2.0),), time_steps=2))
    (layer_,) = [entry for entry in make_vectors(captured).layers if entry.steps is not None]
    assert layer_.steps.at_threshold > 0


@pytest.mark.parametrize("form", ["onnx", "onnx-scan"])
def test_time_reversed_in_a_rare_neurons_scan_fails(artifacts, tmp_path, monkeypatch, form):
    broken = _planted(artifacts[form], lambda graph: _reversed(graph, "Izhikevich"), tmp_path, monkeypatch)
    assert not nk.verify(broken, record=False).passed


def test_states_swapped_in_the_manifest_fail(artifacts, tmp_path, monkeypatch):
    broken = _planted(artifacts["onnx-step"], lambda graph: _names_swapped(graph, "Izhikevich"), tmp_path, monkeypatch)
    assert not nk.verify(broken, record=False).passed

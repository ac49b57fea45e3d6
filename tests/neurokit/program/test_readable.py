"""A program to walk over is the program that torch would run."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.capture.reference import example_inputs, record_all
from neurokit.program.readable import readable


def network(steps):
    torch.manual_seed(3)
    net = nn.Sequential(
        layer.Conv2d(1, 4, 3, bias=False),
        layer.BatchNorm2d(4),
        neuron.LIFNode(v_threshold=0.2),
        layer.Flatten(),
        layer.Linear(64, 3),
        neuron.IFNode(v_threshold=0.1),
    )
    functional.set_step_mode(net, "m")
    return nk.ModelSpec("net", lambda: net.eval(), (nk.TensorSpec("x", (1, 6, 6)),), time_steps=steps)


def inputs(captured, batch=2):
    given = tuple(example_inputs(captured.spec, captured.known_steps, batch, 0).values())
    return (*given, *captured.initial_states(batch))


@pytest.mark.parametrize("form", ["sequence", "step"])
def test_walking_over_it_gives_what_the_program_gives(form):
    captured = nk.capture(network(4)).retrace(form=form)
    given = inputs(captured)
    given = given if form == "sequence" else (given[0][0], *given[1:])
    held = readable(captured.program)
    outputs, records = record_all(held, given)
    assert len(records) == 2
    for a, b in zip(outputs, captured.program.module()(*given), strict=True):
        assert torch.equal(a, b)
    weights = {node.target for node in held.graph.nodes if node.op == "get_attr"}
    assert weights == {node.target for node in captured.program.module().graph.nodes if node.op == "get_attr"}


def test_the_graph_of_a_scan_comes_with_it():
    net = layer.ElementWiseRecurrentContainer(neuron.IFNode(v_threshold=0.8), torch.add, step_mode="m")
    spec = nk.ModelSpec("loop", lambda: net.eval(), (nk.TensorSpec("x", (3,)),), time_steps=3)
    captured = nk.capture(spec, time_steps="dynamic")
    held, whole = readable(captured.program), captured.program.module()
    assert any("scan" in str(node.target) for node in held.graph.nodes)
    given = inputs(captured)
    for a, b in zip(record_all(held, given)[0], record_all(whole, given)[0], strict=True):
        assert torch.equal(a, b)


def test_a_program_that_writes_to_a_buffer_is_left_to_torch():
    class Counts(nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("n", torch.zeros(1))

        def forward(self, x):
            self.n.add_(1)
            return x + self.n

    program = torch.export.export(Counts(), (torch.ones(2),), strict=False).run_decompositions()
    assert readable(program)(torch.ones(2)).tolist() == [2.0, 2.0]


def test_membranes_that_nothing_reads_are_left_out_of_a_run_with_given_spikes():
    captured = nk.capture(network(4))
    given, held = inputs(captured), readable(captured.program)
    _, free = record_all(held, given)
    forced = [1 - record.spikes for record in free]
    whole, records = record_all(held, given, forced)
    bare, others = record_all(held, given, forced, wanted=1)
    assert len(bare) == 1
    assert torch.equal(whole[0], bare[0])
    for a, b in zip(records, others, strict=True):
        assert torch.equal(a.current, b.current)
        assert torch.equal(b.v_last, b.v0)  # the one after the last step was not computed
    assert any(not torch.equal(record.v_last, record.v0) for record in records)


def test_a_membrane_that_the_network_reads_is_computed():
    class Reader(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.lif = layer.Linear(3, 4), neuron.LIFNode(v_threshold=0.3)
            functional.set_step_mode(self, "m")

        def forward(self, x):
            return self.lif(self.first(x)).mean(0), self.lif.v

    torch.manual_seed(0)
    net = Reader().eval()
    captured = nk.capture(nk.ModelSpec("reader", lambda: net, (nk.TensorSpec("x", (3,)),), time_steps=3))
    given, held = inputs(captured), readable(captured.program)
    forced = [record.spikes for record in record_all(held, given)[1]]
    whole, _ = record_all(held, given, forced)
    bare, _ = record_all(held, given, forced, wanted=len(captured.output_names))
    for a, b in zip(bare, whole, strict=False):
        assert torch.equal(a, b)

"""The table of operations: bound, proof and simulator agree on it, and what each makes of an operation is true."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import layer, neuron
from torch import nn

from neurokit import pipeline
from neurokit.capture import capture
from neurokit.capture.reference import record
from neurokit.exact.bounds import Range
from neurokit.exact.dyadic import lowest_bit
from neurokit.exact.ranges import Ranges
from neurokit.exact.rules import RULES as PROOF
from neurokit.hw_sim.trace import trace
from neurokit.hw_sim.trace.operations import counted
from neurokit.models.baselines import BASELINES
from neurokit.parity.magnitudes import proven
from neurokit.parity.rounding import analyse
from neurokit.parity.vectors import FILE, Vectors
from neurokit.program.ops import Kind, kind_of, operation
from neurokit.spec import MODELS

_NO_VALUES = (Kind.SIZE, Kind.CREATE, Kind.NEURON)
# A preprocessing in the graph, which is no part of the network to the simulator: a resize, whose weights are no
# multiples of a power of two, and a threshold (tests/hw_sim/trace/test_prepared.py).
_PREPROCESSING = ("aten.upsample_bilinear2d", "aten.gt.")

# Segmenters of the edge zoo hold what the proof knows no rule for (softmax, layer normalisation).
_EDGE = ("att_swin", "dae_", "dsa_", "ear_", "macmd", "para_", "swin_unetr", "trans_")


@pytest.fixture(scope="module")
def examples():
    """One node of every operation that the zoo's captures hold, the one of the fewest elements."""
    found: dict[str, tuple[int, torch.fx.Node]] = {}
    zoo = [MODELS.get(name)() for name in MODELS.names() if name not in BASELINES and not name.startswith(_EDGE)]
    small = {spec.in_small().name: spec.in_small() for spec in zoo if spec.inputs and spec.inputs[0].layout == "CHW"}
    for spec in small.values():
        captured = capture(spec, time_steps=2 if spec.time_steps else None, batch=1)
        for node in captured.program.graph.nodes:
            if node.op != "call_function" or kind_of(node.target) in _NO_VALUES:
                continue
            if any(name in str(node.target) for name in _PREPROCESSING):
                continue
            value = node.meta.get("val")
            size = value.numel() if isinstance(value, torch.Tensor) else 0
            if str(node.target) not in found or size < found[str(node.target)][0]:
                found[str(node.target)] = (size, node)
    return [node for _, node in found.values()]


def program_of(node: torch.fx.Node):
    """Returns a program of one node alone, and numbers for its inputs; all numbers are on a grid of 1/8."""
    graph, held, inputs = torch.fx.Graph(), nn.Module(), []

    def argument(source: torch.fx.Node) -> torch.fx.Node:
        tensor = torch.randint(-40, 41, source.meta["val"].shape) / 8.0
        if source.op != "placeholder" or not source.name.startswith(("p_", "b_", "c_")):
            inputs.append(tensor)
            made = graph.placeholder(f"x{len(inputs)}")
            made.meta = source.meta
            return made
        held.register_buffer(source.name, tensor.abs() + 1 if "var" in source.name else tensor)
        return graph.get_attr(source.name)

    args = torch.fx.map_arg(node.args, argument)
    made = graph.call_function(node.target, args, dict(node.kwargs))
    made.meta = node.meta
    graph.output((made,))
    return torch.fx.GraphModule(held, graph), inputs


def test_bound_proof_and_simulator_know_the_same_operations_of_the_zoo(examples):
    for node in examples:
        assert operation(node.target) is not None, node.target
        # The proof sees programs whose normalisations are folded.
        in_proof = kind_of(node.target) in {*PROOF, Kind.CONVOLVE, Kind.LINEAR, Kind.NORMALISE}
        assert proven(node.target) == in_proof == counted(node.target), node.target
        assert proven(node.target), node.target


def test_what_they_say_of_the_operations_of_the_zoo_is_true(examples):
    checked = 0
    for node in examples:
        if "getitem" in str(node.target):
            continue
        module, inputs = program_of(node)
        with torch.no_grad():
            (single,) = module(*(x.clone() for x in inputs))  # in-place operations change what they are given
            (exact,) = copy.deepcopy(module).double()(*(x.double() for x in inputs))
        _, (bound,) = analyse(module, [], tuple(x.clone() for x in inputs))
        assert bound.rigorous, node.target
        assert bool(((single.double() - exact).abs() <= bound.error()).all()), node.target
        assert bool((exact.abs() <= bound.size.double() * (1 + 1e-6)).all()), node.target
        if kind_of(node.target) is Kind.NORMALISE:
            continue
        run = Ranges(module, [], [], None, 1)
        grids = Range(inputs[0].clamp_min(0), (-inputs[0]).clamp_min(0), lowest_bit(inputs[0]))
        with torch.no_grad():
            (made,) = run.run(grids, *inputs[1:])
        assert isinstance(made, Range), node.target
        assert bool((exact <= made.pos.double()).all() and (exact >= -made.neg.double()).all()), node.target
        units = exact / torch.exp2(made.grid.clamp_max(0))
        assert bool((units == units.round()).all()), node.target
        checked += 1
    assert checked >= 12


MOVES = {
    "roll": lambda s: s.roll((1, 2), (-1, -2)),
    "flip": lambda s: s.flip((-1, 2)),
    "movedim": lambda s: s.movedim(2, 4),
    "transpose": lambda s: s.transpose(-1, -2),
    "slice": lambda s: s[:, :, 1:3, ::2],
    "pixel_shuffle": lambda s: F.pixel_shuffle(s.flatten(0, 1), 2).unflatten(0, s.shape[:2]),
    "pixel_unshuffle": lambda s: F.pixel_unshuffle(s.flatten(0, 1), 2).unflatten(0, s.shape[:2]),
    "channel_shuffle": lambda s: F.channel_shuffle(s.flatten(0, 1), 2).unflatten(0, s.shape[:2]),
    "pad": lambda s: F.pad(s, (1, 0, 2, 1)),
    "reflect": lambda s: F.pad(s.flatten(0, 1), (1, 2, 0, 1), mode="reflect").unflatten(0, s.shape[:2]),
    "replicate": lambda s: F.pad(s.flatten(0, 1), (1, 2, 0, 1), mode="replicate").unflatten(0, s.shape[:2]),
    "circular": lambda s: F.pad(s.flatten(0, 1), (1, 2, 0, 1), mode="circular").unflatten(0, s.shape[:2]),
    "nearest": lambda s: F.interpolate(s.flatten(0, 1), scale_factor=2.0).unflatten(0, s.shape[:2]),
    "nearest of an odd size": lambda s: F.interpolate(s.flatten(0, 1), size=(5, 7)).unflatten(0, s.shape[:2]),
    "nearest-exact": lambda s: F.interpolate(s.flatten(0, 1), size=(5, 7), mode="nearest-exact").unflatten(
        0, s.shape[:2]
    ),
    "chunk": lambda s: torch.cat(s.chunk(2, dim=2)[::-1], dim=2),
    "split": lambda s: torch.cat(s.split([1, 3], dim=2)[::-1], dim=2),
    "stack": lambda s: torch.stack(s.unbind(-1), dim=2),
    "repeat": lambda s: s.repeat(1, 1, 1, 2, 1),
    "repeat_interleave": lambda s: s.repeat_interleave(2, dim=-1),
    "index_select": lambda s: s.index_select(2, torch.tensor([3, 0, 0])),
    "rot90": lambda s: s.rot90(1, (-2, -1)),
}
_T, _SHAPE = 3, (4, 4, 6)


class Moved(nn.Module):
    """Spikes that are moved before a linear layer reads them."""

    def __init__(self, move) -> None:
        super().__init__()
        self.sn1, self.sn2 = neuron.IFNode(step_mode="m"), neuron.IFNode(step_mode="m", v_threshold=8.0)
        self.move = move
        size = move(torch.zeros(_T, 1, *_SHAPE)).flatten(2).shape[-1]
        self.fc = layer.Linear(size, 5, bias=False, step_mode="m")
        self.fc.weight.data = torch.randint(-8, 12, (5, size)).float()

    def forward(self, x):
        return self.sn2(self.fc(self.move(self.sn1(x)).flatten(2)))


class Alone(nn.Module):
    def __init__(self, move) -> None:
        super().__init__()
        self.move = move

    def forward(self, x):
        return (self.move(x),)


@pytest.mark.parametrize("name", MOVES)
def test_every_move_is_a_move_for_all_of_them(name):
    move = MOVES[name]
    net = Moved(move).eval()
    x = torch.randint(0, 3, (_T, 1, *_SHAPE)).float()
    captured = capture(net, x, batch=1)
    module = captured.program.module()
    states = captured.initial_states(1)
    _, records = record(module, (x, *states))
    currents, _ = analyse(module, [r.spikes for r in records], (x, *states))
    assert currents[1].rigorous
    moved = move(records[0].spikes)
    # One linear layer's own roundings, and none of the move.
    assert currents[1].roundings == moved[0].numel() + 2
    # The simulator: which neuron each input of the linear layer reads, computed from the trace alone.
    load = trace(captured, x)
    assert load.network.uncounted == ()
    read = np.zeros((_T, moved[0].numel()))
    for into in (p for p in load.network.projections if p.target == "sn2"):  # one for each tensor that is joined
        fired = load.rasters[into.source].unpack()
        index = np.arange(fired.shape[1]) if into.source_index is None else into.source_index
        read += np.where(index >= 0, fired[:, index], 0)
    assert np.array_equal(read, moved.reshape(_T, -1).numpy())
    # The proof: ranges are moved, and nothing else happens to them.
    numbers = torch.randint(-40, 41, (_T, 1, *_SHAPE)) / 8.0
    program = torch.export.export(Alone(move), (numbers,), strict=False).module()
    with torch.no_grad():
        (made,) = Ranges(program, [], [], None, 1).run(
            Range(numbers.clamp_min(0), (-numbers).clamp_min(0), lowest_bit(numbers))
        )
    assert torch.equal(made.pos - made.neg, move(numbers))
    units = move(numbers) / torch.exp2(made.grid.clamp_max(0))
    assert torch.equal(units, units.round())


class Everything(nn.Module):
    """What issue lists ask for between two neurons: roll, flip, movedim, pixel_shuffle, pad and interpolation."""

    def __init__(self, mode: str) -> None:
        super().__init__()
        self.mode = mode
        self.stem = layer.Conv2d(2, 8, 3, padding=1, step_mode="m")
        self.sn1, self.sn2 = (neuron.LIFNode(tau=2.0, step_mode="m") for _ in range(2))
        self.conv = layer.Conv2d(2, 6, 3, step_mode="m")
        self.fc = layer.Linear(6, 5, step_mode="m")

    def forward(self, x):
        s = self.stem(self.sn1(self.stem(x)[:, :, :2] * 8.0 + 1.0)).movedim(2, -1).flip(2).roll(1, 3).movedim(-1, 2)
        y = F.pixel_shuffle(s.flatten(0, 1), 2)
        corners = None if self.mode == "nearest" else False
        y = F.interpolate(F.pad(y, (1, 0, 0, 2), value=0.25), scale_factor=1.7, mode=self.mode, align_corners=corners)
        s = self.sn2(self.conv(y.unflatten(0, s.shape[:2])) * 3.0)
        return self.fc(s.mean((-2, -1)))


@pytest.mark.parametrize("mode", ["nearest", "bilinear", "bicubic"])
def test_a_bound_over_moves_padding_and_interpolation_is_proven_and_holds(mode):
    torch.manual_seed(1)
    net = Everything(mode).eval()
    x = torch.rand(3, 2, 2, 7, 9)
    captured = capture(net, x)
    module = captured.program.module()
    states = captured.initial_states(2)
    _, records = record(module, (x, *states))
    forced = [r.spikes for r in records]
    assert 0.02 < float(forced[0].mean()) < 0.98
    currents, outputs = analyse(module, forced, (x, *states))
    outputs = outputs[: len(captured.output_names)]  # membranes follow
    assert all(m.rigorous for m in (*currents, *outputs))
    (y, *_), _ = record(module, (x, *states), forced)
    double = module.double()
    given = [spikes.double() for spikes in forced]
    (exact_y, *_), exact = record(double, (x.double(), *(s.double() for s in states)), given)
    for current, found, true in zip(currents, records, exact, strict=True):
        error = (found.current.double() - true.current).abs()
        assert bool((error <= current.error()).all())
        assert float(current.error().max()) < 5e-3
    assert bool(((y.double() - exact_y).abs() <= outputs[0].error()).all())


def test_verification_of_such_a_network_states_a_proven_bound(tmp_path):
    torch.manual_seed(1)
    captured = capture(Everything("bilinear").eval(), torch.rand(3, 2, 2, 7, 9))
    artifact = pipeline.lower(captured, "onnx", tmp_path / "artifact")
    vectors = Vectors.load(artifact.file(FILE))
    assert all(each.rigorous for each in vectors.layers)
    report = pipeline.verify(artifact, record=False)
    assert report.passed
    assert not any("estimate" in note for note in report.notes)

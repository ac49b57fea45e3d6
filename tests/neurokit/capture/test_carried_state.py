"""State that a forward carries from step to step by hand: one Scan with T free, against the module in float64."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import snntorch as snn
import torch
from spikingjelly.activation_based import surrogate
from torch import nn

import neurokit as nk
from neurokit.capture.eager import rest
from neurokit.capture.legacy import modernised
from neurokit.spec import ModelSpec, TensorSpec

from .networks import loops
from .test_loops_in_forward import run

T, B = 4, 3


class Body(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.b, self.u = nn.Linear(6, 8), nn.Linear(8, 3), nn.Linear(8, 8)
        with torch.no_grad():
            self.a.weight.mul_(4)


class HandWritten(Body):
    """A leaky neuron without any library."""

    def forward(self, x):
        v, spikes = torch.zeros(x.shape[1], 8, dtype=x.dtype), []
        for t in range(x.shape[0]):
            v = v * 0.5 + self.a(x[t])
            spike = (v >= 0.5).to(x.dtype)
            v = v * (1 - spike)
            spikes.append(self.b(spike))
        return torch.stack(spikes)


class FromNumber(Body):
    """The membrane starts as a number, spikes are a surrogate's, and outputs are summed by hand."""

    def forward(self, x):
        v = out = 0.0
        for x_t in x:
            v = 0.9 * v + self.a(x_t)
            spike = surrogate.ATan()(v - 1.0)
            v = v - spike
            out = out + self.b(spike)
        return out / x.shape[0]


class Refractory(Body):
    """Two steps of rest after a spike, counted by hand: what is left of them is made for the next step alone."""

    def forward(self, x):
        v, rest, spikes = torch.zeros(x.shape[1], 8, dtype=x.dtype), torch.zeros(x.shape[1], 8, dtype=x.dtype), []
        for t in range(x.shape[0]):
            v = torch.where(rest > 0, v, 0.5 * v + self.a(x[t]))
            spike = (v > 1.0).to(x.dtype)
            v = v * (1 - spike)
            rest = torch.clamp(rest - 1, min=0) + 2 * spike
            spikes.append(self.b(spike))
        return torch.stack(spikes)


class FromNone(Body):
    def forward(self, x):
        level, out = None, []
        for x_t in x:
            h = self.a(x_t)
            level = h if level is None else 0.8 * level + h
            out.append(self.b(torch.relu(level)))
        return torch.stack(out, 1)


class Changes(Body):
    """Currents of what changed since the step before."""

    def forward(self, x):
        v, before, out = torch.zeros(x.shape[1], 8, dtype=x.dtype), torch.zeros_like(x[0]), []
        for x_t in x:
            v = 0.9 * v + self.a(x_t - before)
            spike = (v > 1.0).to(x.dtype)
            v, before = v - spike, x_t
            out.append(self.b(spike))
        return torch.stack(out)


class DelayLine(Body):
    """Currents of the last three inputs, which a list holds."""

    def forward(self, x):
        v, line, out = torch.zeros(x.shape[1], 8, dtype=x.dtype), [torch.zeros_like(x[0])] * 3, []
        for x_t in x:
            line = [x_t, *line[:-1]]
            v = 0.9 * v + self.a(line[0] + 0.3 * line[1] - 0.6 * line[2])
            spike = (v > 1.0).to(x.dtype)
            v = v - spike
            out.append(self.b(spike))
        return torch.stack(out)


class Bursts(Body):
    """A threshold that doubles while a neuron fires and is put out, too: each step makes that of the next."""

    def forward(self, x):
        v, out, thresholds = torch.zeros(x.shape[1], 8, dtype=x.dtype), [], []
        threshold = torch.full_like(v, 0.25)
        for x_t in x:
            thresholds.append(threshold)
            v = v + 0.3 * self.a(x_t)
            spike = (v >= threshold).to(x.dtype)
            v = v - spike * threshold
            out.append(self.b(spike * threshold))
            threshold = torch.where(spike > 0, threshold * 2, torch.full_like(v, 0.25))
        return torch.stack(out), torch.stack(thresholds)


class Hidden(Body):
    """A recurrence of a hidden vector."""

    def forward(self, x):
        h = torch.zeros(x.shape[1], 8, dtype=x.dtype)
        for x_t in x:
            h = torch.tanh(self.a(x_t) + self.u(h))
        return self.b(h)


class Cell(Body):
    """A GRU's cell, whose steps are written into a tensor."""

    def __init__(self):
        super().__init__()
        self.gru = nn.GRUCell(8, 8)

    def forward(self, x):
        h, out = x.new_zeros(x.shape[1], 8), torch.zeros(x.shape[0], x.shape[1], 3, dtype=x.dtype)
        for t in range(x.shape[0]):
            h = self.gru(self.a(x[t]), h)
            out[t] = self.b(h)
        return out


class ListOfStates(Body):
    """Two layers whose membranes are in a list; spikes and membranes are put out."""

    def forward(self, x):
        v = [torch.zeros(x.shape[1], 8, dtype=x.dtype), torch.zeros(x.shape[1], 3, dtype=x.dtype)]
        spikes, membranes = [], []
        for x_t in x:
            v[0] = 0.9 * v[0] + self.a(x_t)
            inner = (v[0] > 1).to(x.dtype)
            v[0] = v[0] - inner
            v[1] = 0.8 * v[1] + self.b(inner)
            spikes.append((v[1] > 0.2).to(x.dtype))
            v[1] = v[1] - 0.2 * spikes[-1]
            membranes.append(v[1])
        return torch.stack(spikes), torch.stack(membranes)


class Snntorch(Body):
    """The style of snnTorch's tutorials; the reset is applied at the next step."""

    def __init__(self, make):
        super().__init__()
        self.first, self.second = make(), make()

    def forward(self, x):
        one, two = self.first.reset_mem(), self.second.reset_mem()
        one, two = (state if isinstance(state, tuple) else (state,) for state in (one, two))
        spikes, membranes = [], []
        for t in range(x.size(0)):
            spike, *one = self.first(self.a(x[t]), *one)
            spike, *two = self.second(self.b(spike), *two)
            spikes.append(spike)
            membranes.append(two[-1])
        return torch.stack(spikes), torch.stack(membranes)


NETWORKS = {
    "hand_written": HandWritten,
    "from_number": FromNumber,
    "from_none": FromNone,
    "refractory": Refractory,
    "changes": Changes,
    "delay_line": DelayLine,
    "bursts": Bursts,
    "hidden": Hidden,
    "gru_cell": Cell,
    "list_of_states": ListOfStates,
    "leaky": lambda: Snntorch(lambda: snn.Leaky(0.9)),
    "leaky_learnt": lambda: Snntorch(lambda: snn.Leaky(0.8, threshold=0.7, learn_beta=True, learn_threshold=True)),
    "synaptic": lambda: Snntorch(lambda: snn.Synaptic(0.8, 0.9)),
    "lapicque": lambda: Snntorch(lambda: snn.Lapicque(0.9)),
    "readout": lambda: loops.Readout("lif"),
    "recurrent": lambda: loops.Recurrent("lif"),
    "recurrent_custom": lambda: loops.Recurrent("custom"),
    "twice": lambda: loops.Twice("lif"),
}
FAST = ("refractory", "gru_cell", "leaky", "recurrent")


@pytest.mark.parametrize("name", [pytest.param(n, marks=[] if n in FAST else [pytest.mark.slow]) for n in NETWORKS])
def test_one_scan_holds_for_any_number_of_steps(name, tmp_path):
    make = NETWORKS[name]
    spec = ModelSpec("net", lambda: make().eval(), (TensorSpec("x", (6,)),), T)
    nk.lower(nk.capture(spec), "onnx-scan", tmp_path / "a", verified=name in FAST)
    path = tmp_path / "a" / "model.onnx"
    manifest = json.loads((path.parent / "manifest.json").read_text())
    assert name not in FAST or manifest["parity"]["verdict"] != "failed", manifest["parity"]["notes"]
    (graph,) = manifest["graphs"]
    assert sum(node.op_type == "Scan" for node in onnx.load(str(path)).graph.node) >= 1
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    single = isinstance(make(), Snntorch)  # its spikes are of single precision whatever its input is
    net = rest(modernised(make().eval()).to(torch.float32 if single else torch.float64))
    for steps in (T, 1, 7):
        x = (np.random.default_rng(steps).integers(0, 9, (steps, B, 6)) / 4).astype(np.float32)
        rest(net)
        with torch.no_grad():
            wanted = net(torch.from_numpy(x).to(next(net.parameters()).dtype))
        found = session.run([output["name"] for output in graph["outputs"]], {graph["inputs"][0]["name"]: x})
        for mine, theirs in zip(found, wanted if isinstance(wanted, tuple) else (wanted,), strict=True):
            assert mine.shape == tuple(theirs.shape)
            assert np.abs(mine - theirs.numpy()).max() <= 2e-5 * max(1.0, float(theirs.abs().max()))
        assert steps == 1 or theirs.any()
        if single:  # the library itself, bit for bit
            assert np.array_equal(found[0], wanted[0].numpy())


STEPS = (
    "from_number",
    "refractory",
    "changes",
    "delay_line",
    "bursts",
    "hidden",
    "list_of_states",
    "readout",
    "recurrent",
)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in ("refractory", "readout", "changes") else [pytest.mark.slow]) for n in STEPS],
)
def test_what_is_carried_by_hand_is_a_state_of_the_step_form(name, tmp_path):
    make = NETWORKS[name]
    spec = ModelSpec("net", lambda: make().eval(), (TensorSpec("x", (6,)),), T)
    nk.lower(nk.capture(spec), "onnx-step", tmp_path / "a", verified=name in ("readout", "bursts"))
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert name not in ("readout", "bursts") or manifest["parity"]["verdict"] != "failed", manifest["parity"]["notes"]
    (graph,) = manifest["graphs"]
    assert [state["name"] for state in graph["states"] if state["name"].startswith("carried")]
    x = (np.random.default_rng(3).integers(0, 9, (7, B, 6)) / 4).astype(np.float32)
    with torch.no_grad():
        wanted = rest(modernised(make().eval()).double())(torch.from_numpy(x).double())
    found = run(tmp_path / "a", x)
    wanted = (wanted[0] if isinstance(wanted, tuple) else wanted).numpy()
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() <= 2e-5 * max(1.0, np.abs(wanted).max())

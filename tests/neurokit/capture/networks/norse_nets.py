"""Networks of norse: sequences that hand states on, cells in loops, layers over time, recurrent layers."""

import norse.torch as norse
import torch
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded

P = norse.LIFParameters(tau_mem_inv=torch.as_tensor(500.0), v_th=torch.as_tensor(0.4))


@network((10,), 8, by="state")
def norse_cells():
    seeded()
    return boosted(norse.SequentialState(nn.Linear(10, 12), norse.LIFCell(p=P), nn.Linear(12, 4), norse.LIFCell(p=P)))


@network((10,), 8, by="state")
def norse_box_and_readout():
    seeded()
    box = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(300.0), v_th=torch.as_tensor(0.3))
    return boosted(norse.SequentialState(nn.Linear(10, 12), norse.LIFBoxCell(p=box), nn.Linear(12, 4), norse.LICell()))


@network((10,), 8, by="state")
def norse_iaf():
    seeded()
    return boosted(norse.SequentialState(nn.Linear(10, 12), norse.IAFCell(), nn.Linear(12, 4), norse.LICell()))


@network((10,), 8, by="state")
def norse_adex():
    seeded()
    return boosted(norse.SequentialState(nn.Linear(10, 12), norse.LIFAdExCell(), nn.Linear(12, 3), norse.LICell()), 6.0)


@network((10,), 8, by="state")
def norse_refractory():
    seeded()
    return boosted(
        norse.SequentialState(nn.Linear(10, 12), norse.LIFRefracCell(), nn.Linear(12, 3), norse.LICell()), 6.0
    )


@network((10,), 8, by="state")
def norse_recurrent_cell():
    seeded()
    return boosted(norse.SequentialState(norse.LIFRecurrentCell(10, 12, p=P), nn.Linear(12, 3), norse.LICell()))


@network((10,), 8, by="state")
def norse_linear_readout():
    seeded()
    return boosted(norse.SequentialState(nn.Linear(10, 12), norse.LIFCell(p=P), norse.LILinearCell(12, 3)))


class First(nn.Module):
    """Only the output of a norse network that returns its state as well."""

    def __init__(self, *parts):
        super().__init__()
        self.net = norse.SequentialState(*parts)

    def forward(self, x):
        y, _ = self.net(x)
        return y


@network((10,), 8)
def norse_layers_over_time():
    seeded()
    return boosted(First(norse.Lift(nn.Linear(10, 12)), norse.LIF(p=P), norse.Lift(nn.Linear(12, 4)), norse.LI()))


@network((2, 8, 8), 6)
def norse_lifted_convolution():
    seeded()
    parts = [norse.Lift(nn.Conv2d(2, 4, 3)), norse.LIF(p=P), norse.Lift(nn.MaxPool2d(2)), nn.Flatten(2)]
    return boosted(First(*parts, norse.Lift(nn.Linear(36, 4)), norse.LI()))


@network((10,), 8)
def norse_recurrent_layer():
    seeded()
    return boosted(First(norse.LIFRecurrent(10, 12, p=P), norse.Lift(nn.Linear(12, 4)), norse.LI()))


@network((10,), 8)
def norse_adaptive_layer():
    seeded()
    return boosted(First(norse.LSNNRecurrent(10, 12), norse.Lift(nn.Linear(12, 4)), norse.LI()), 6.0)


@network((10,), 8)
def norse_lifted_cell():
    seeded()
    return boosted(First(norse.Lift(nn.Linear(10, 12)), norse.Lift(norse.LIFCell(p=P)), norse.Lift(nn.Linear(12, 4))))


class Loop(nn.Module):
    """Cells in a loop with the states as variables, as in norse's tutorials: a readout whose maximum is the answer."""

    def __init__(self):
        super().__init__()
        self.fc, self.cell, self.out = nn.Linear(10, 12), norse.LIFCell(p=P), norse.LILinearCell(12, 4)

    def forward(self, x):
        s1 = so = None
        voltages = []
        for ts in range(x.shape[0]):
            z, s1 = self.cell(self.fc(x[ts]), s1)
            v, so = self.out(torch.relu(z), so)
            voltages.append(v)
        return torch.stack(voltages)


@network((10,), 8)
def norse_loop():
    seeded()
    return boosted(Loop())


class MaxOverTime(Loop):
    """The maximum of the readout over time, and its log-probabilities."""

    def forward(self, x):
        return super().forward(x).max(0).values.log_softmax(-1)


@network((10,), 8)
def norse_max_over_time():
    seeded()
    return boosted(MaxOverTime())


class LoopOfSequence(nn.Module):
    """A sequence with states called in a loop."""

    def __init__(self):
        super().__init__()
        self.net = norse.SequentialState(nn.Linear(10, 12), norse.LIFCell(p=P), nn.Linear(12, 4), norse.LICell())

    def forward(self, x):
        state, found = None, []
        for x_t in x:
            y, state = self.net(x_t, state)
            found.append(y)
        return torch.stack(found)


@network((10,), 8)
def norse_loop_of_sequence():
    seeded()
    return boosted(LoopOfSequence())


class BoxLoop(nn.Module):
    """LIF without a synaptic current, and an integrator that resets, in a loop; the spikes are counted."""

    def __init__(self):
        super().__init__()
        box = norse.LIFBoxParameters(tau_mem_inv=torch.as_tensor(250.0), v_th=torch.as_tensor(0.25))
        self.a, self.lif, self.b, self.iaf = (
            nn.Linear(10, 12),
            norse.LIFBoxCell(p=box),
            nn.Linear(12, 4),
            norse.IAFCell(),
        )

    def forward(self, x):
        s1 = s2 = None
        total = 0
        for x_t in x:
            z, s1 = self.lif(self.a(x_t), s1)
            z, s2 = self.iaf(self.b(z), s2)
            total = total + z
        return total


@network((10,), 8)
def norse_box_loop():
    seeded()
    return boosted(BoxLoop())


class OwnWithState(nn.Module):
    """A module of one's own in norse's manner: the state comes in and goes out."""

    def __init__(self):
        super().__init__()
        self.fc, self.cell, self.out = nn.Linear(10, 12), norse.LIFCell(p=P), norse.LILinearCell(12, 3)

    def forward(self, x, state=None):
        s1, s2 = (None, None) if state is None else state
        z, s1 = self.cell(self.fc(x), s1)
        y, s2 = self.out(z, s2)
        return y, (s1, s2)


@network((10,), 8, by="state")
def norse_own_with_state():
    seeded()
    return boosted(OwnWithState())

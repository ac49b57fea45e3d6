"""Networks of snnTorch as its tutorials and users write them: hidden states, explicit membranes, loops over time."""

import snntorch as snn
import torch
from snntorch import surrogate, utils
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


def hidden(kind, **settings):
    return getattr(snn, kind)(init_hidden=True, **settings)


HIDDEN = {
    "leaky_subtract": ("Leaky", {"beta": 0.9}),
    "leaky_subtract_at_once": ("Leaky", {"beta": 0.9, "reset_delay": False}),
    "leaky_zero": ("Leaky", {"beta": 0.8, "reset_mechanism": "zero"}),
    "leaky_none": ("Leaky", {"beta": 0.5, "reset_mechanism": "none", "threshold": 2.0}),
    "leaky_per_neuron": ("Leaky", {"beta": torch.linspace(0.1, 0.95, 12), "threshold": torch.linspace(0.5, 1.5, 12)}),
    "leaky_learnt": ("Leaky", {"beta": 0.7, "learn_beta": True, "threshold": 0.8, "learn_threshold": True}),
    "leaky_graded": ("Leaky", {"beta": 0.9, "graded_spikes_factor": 2.5}),
    "leaky_inhibition": ("Leaky", {"beta": 0.9, "inhibition": True}),
    "leaky_bypass": ("Leaky", {"beta": 0.9, "surrogate_disable": True}),
    "leaky_straight_through": ("Leaky", {"beta": 0.9, "spike_grad": surrogate.straight_through_estimator()}),
    "synaptic": ("Synaptic", {"alpha": 0.7, "beta": 0.6}),
    "synaptic_zero": ("Synaptic", {"alpha": 0.7, "beta": 0.6, "reset_mechanism": "zero"}),
    "alpha": ("Alpha", {"alpha": 0.85, "beta": 0.7, "threshold": 0.3}),
    "lapicque": ("Lapicque", {"beta": 0.8, "R": 1.0, "time_step": 1.0, "threshold": 0.5}),
    "rleaky": ("RLeaky", {"beta": 0.8, "linear_features": 12}),
    "rleaky_one_to_one": ("RLeaky", {"beta": 0.8, "all_to_all": False, "V": 0.5}),
    "rsynaptic": ("RSynaptic", {"alpha": 0.6, "beta": 0.8, "linear_features": 12}),
}


def _register_hidden():
    for name, (kind, settings) in HIDDEN.items():

        def make(kind=kind, settings=settings):
            seeded(1 if "inhibition" in settings else 0)  # of seed 0 the same neuron wins for every sample
            return boosted(nn.Sequential(nn.Linear(10, 12), hidden(kind, **settings), nn.Linear(12, 4)))

        network((10,), 6, name=f"snntorch_{name}", by="step", single="linear_features" in settings)(make)


_register_hidden()


@network((10,), 6, by="step")
def snntorch_output():
    seeded()
    last = hidden("Leaky", beta=0.9, output=True)
    return boosted(nn.Sequential(nn.Linear(10, 12), hidden("Leaky", beta=0.8), nn.Linear(12, 4), last))


@network((10,), 6, by="step")
def snntorch_synaptic_output():
    seeded()
    last = hidden("Synaptic", alpha=0.5, beta=0.9, output=True)
    return boosted(nn.Sequential(nn.Linear(10, 12), hidden("Leaky", beta=0.8), nn.Linear(12, 4), last))


@network((2, 8, 8), 5, by="step")
def snntorch_conv_hidden():
    """The convolutional network of snnTorch's event-camera tutorial, small."""
    seeded()
    return boosted(
        nn.Sequential(
            nn.Conv2d(2, 4, 3),
            hidden("Leaky", beta=0.5),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(36, 5),
            hidden("Leaky", beta=0.5, output=True),
        )
    )


class Explicit(nn.Module):
    """Membranes through forward, spikes and membranes recorded: the other half of the tutorials."""

    def __init__(self, **settings):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(10, 12), nn.Linear(12, 4)
        self.lif1, self.lif2 = snn.Leaky(beta=0.9, **settings), snn.Leaky(beta=0.8, **settings)

    def forward(self, x):
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        spikes, membranes = [], []
        for step in range(x.size(0)):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes, dim=0), torch.stack(membranes, dim=0)


@network((10,), 6)
def snntorch_explicit():
    seeded()
    return boosted(Explicit())


@network((10,), 6)
def snntorch_explicit_zero():
    seeded()
    return boosted(Explicit(reset_mechanism="zero"))


class Static(Explicit):
    """One image shown for `num_steps` steps; the time axis is made inside."""

    num_steps = 5

    def forward(self, x):
        mem1, mem2 = self.lif1.reset_mem(), self.lif2.reset_mem()
        spikes, membranes = [], []
        for _ in range(self.num_steps):
            spk1, mem1 = self.lif1(self.fc1(x.flatten(1)), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spikes.append(spk2)
            membranes.append(mem2)
        return torch.stack(spikes), torch.stack(membranes)


@network((10,), None)
def snntorch_static_image():
    seeded()
    return boosted(Static())


class Counts(Explicit):
    """Spikes counted over time; the membrane handed over is one that the user made."""

    def forward(self, x):
        mem1, mem2 = torch.zeros(x.shape[1], 12, dtype=x.dtype), torch.zeros(x.shape[1], 4, dtype=x.dtype)
        total = 0
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            total = total + spk2
        return total


@network((10,), 6)
def snntorch_counts():
    seeded()
    return boosted(Counts())


class Regression(nn.Module):
    """A readout that never fires: its membrane is the answer."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(6, 16), snn.Leaky(beta=0.9)
        self.fc2, self.out = nn.Linear(16, 1), snn.Leaky(beta=0.8, reset_mechanism="none")

    def forward(self, x):
        mem1, mem2, found = self.lif1.init_leaky(), self.out.init_leaky(), []
        for step in range(x.shape[0]):
            spk1, mem1 = self.lif1(self.fc1(x[step]), mem1)
            _, mem2 = self.out(self.fc2(spk1), mem2)
            found.append(mem2)
        return torch.stack(found)


@network((6,), 7)
def snntorch_membrane_regression():
    seeded()
    return boosted(Regression())


class Deep(nn.Module):
    """Lists of layers and of states."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(10, 12), nn.Linear(12, 8), nn.Linear(8, 4)])
        self.cells = nn.ModuleList([snn.Synaptic(alpha=0.6, beta=0.8), snn.Leaky(beta=0.7), snn.Leaky(beta=0.9)])

    def forward(self, x):
        states = [cell.reset_mem() for cell in self.cells]
        states = [list(state) if isinstance(state, tuple) else [state] for state in states]
        found = []
        for x_t in x:
            h = x_t
            for place, (layer, cell) in enumerate(zip(self.layers, self.cells, strict=True)):
                h, *states[place] = cell(layer(h), *states[place])
            found.append(h)
        return torch.stack(found)


@network((10,), 5)
def snntorch_lists_of_states():
    seeded()
    return boosted(Deep())


class ResetInside(nn.Module):
    """Hidden states, reset by the library's own function at the start of forward."""

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(10, 12), hidden("Leaky", beta=0.9), nn.Linear(12, 4))
        self.out = hidden("Leaky", beta=0.8, output=True)

    def forward(self, x):
        utils.reset(self)
        found = [self.out(self.net(x_t)) for x_t in x]
        return torch.stack([spk for spk, _ in found]), torch.stack([mem for _, mem in found])


@network((10,), 6)
def snntorch_reset_inside():
    seeded()
    return boosted(ResetInside())


class Recurrent(nn.Module):
    """RLeaky with its spikes and membrane through forward."""

    def __init__(self):
        super().__init__()
        self.fc, self.rec, self.out = nn.Linear(10, 12), snn.RLeaky(beta=0.8, linear_features=12), nn.Linear(12, 3)

    def forward(self, x):
        spk, mem = self.rec.init_rleaky()
        found = []
        for x_t in x:
            spk, mem = self.rec(self.fc(x_t), spk, mem)
            found.append(self.out(spk))
        return torch.stack(found)


@network((10,), 6)
def snntorch_rleaky_explicit():
    seeded()
    return boosted(Recurrent(), 2.0)


class Lstm(nn.Module):
    """SLSTM with its states through forward; single precision, in which the library makes its states."""

    def __init__(self, size):
        super().__init__()
        self.cell, self.out = snn.SLSTM(10, size, threshold=0.2), nn.Linear(size, 3)

    def forward(self, x):
        syn, mem = self.cell.init_slstm()
        found = []
        for x_t in x:
            spk, syn, mem = self.cell(x_t, syn, mem)
            found.append(self.out(spk))
        return torch.stack(found)


@network((10,), 5, single=True)
def snntorch_slstm():
    seeded()
    return boosted(Lstm(10), 2.0)


@network((10,), 5, single=True)
def snntorch_slstm_other_size():
    """The library starts such a cell over at every step, since its states have not the shape of its input."""
    seeded()
    return boosted(Lstm(8), 2.0)


class ConvLstm(nn.Module):
    """SConv2dLSTM with a pooled state."""

    def __init__(self):
        super().__init__()
        self.cell = snn.SConv2dLSTM(1, 4, kernel_size=3, max_pool=2, threshold=0.1)
        self.out = nn.Linear(64, 3)

    def forward(self, x):
        syn, mem = self.cell.init_sconv2dlstm()
        found = []
        for x_t in x:
            spk, syn, mem = self.cell(x_t, syn, mem)
            found.append(self.out(spk.flatten(1)))
        return torch.stack(found)


@network((1, 8, 8), 4, single=True)
def snntorch_sconv2dlstm():
    seeded()
    return boosted(ConvLstm(), 2.0)


@network((10,), 6, by="step", single=True)
def snntorch_slstm_hidden():
    seeded()
    return boosted(nn.Sequential(snn.SLSTM(10, 10, threshold=0.2, init_hidden=True), nn.Linear(10, 3)), 2.0)


class Population(nn.Module):
    """A population code: several output neurons a class, their spikes summed."""

    def __init__(self):
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(10, 12), snn.Lapicque(beta=0.9)
        self.fc2, self.lif2 = nn.Linear(12, 12), snn.Alpha(alpha=0.8, beta=0.6, threshold=0.5)

    def forward(self, x):
        mem1, found = self.lif1.init_lapicque(), []
        state = self.lif2.init_alpha()
        for x_t in x:
            spk, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk, *state = self.lif2(self.fc2(spk), *state)
            found.append(spk)
        return torch.stack(found).sum(0).unflatten(1, (3, 4)).sum(2)


@network((10,), 6)
def snntorch_population():
    seeded()
    return boosted(Population(), 12.0)  # with less, every sample has the same counts


class SpikesAlone(Explicit):
    """Explicit membranes that nobody reads: only spikes are recorded."""

    def forward(self, x):
        return super().forward(x)[0]


@network((10,), 6)
def snntorch_explicit_zero_spikes():
    seeded()
    return boosted(SpikesAlone(reset_mechanism="zero"))


@network((10,), 6)
def snntorch_explicit_zero_at_once():
    seeded()
    return boosted(SpikesAlone(reset_mechanism="zero", reset_delay=False))


@network((10,), 6)
def snntorch_explicit_subtract_spikes():
    seeded()
    return boosted(SpikesAlone())


class StartGiven(Explicit):
    """A membrane that does not start from zero."""

    def forward(self, x):
        mem1, mem2 = torch.full((x.shape[1], 12), 1.5, dtype=x.dtype), self.lif2.init_leaky()
        found = []
        for x_t in x:
            spk1, mem1 = self.lif1(self.fc1(x_t), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            found.append(spk2 + mem2)
        return torch.stack(found)


@network((10,), 6)
def snntorch_start_given():
    seeded()
    return boosted(StartGiven(reset_mechanism="zero"))

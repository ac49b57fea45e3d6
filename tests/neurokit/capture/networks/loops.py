"""One body of two neurons under every way of looping over time, with every kind of neuron."""

from collections.abc import Callable

import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn


class Custom(neuron.BaseNode):
    """A neuron of the protocol before SpikingJelly 2.0."""

    def neuronal_charge(self, x):
        self.v = self.v + (x - self.v) / 2


class Adaptive(neuron.BaseNode):
    """A threshold that rises with every spike."""

    def __init__(self, **settings):
        super().__init__(**settings)
        self.register_memory("rise", 0.0)

    def neuronal_charge(self, x):
        self.v = 0.5 * self.v + x

    def neuronal_fire(self):
        return self.surrogate_function(self.v - self.v_threshold - self.rise)

    def neuronal_reset(self, spike):
        super().neuronal_reset(spike)
        self.rise = 0.75 * self.rise + 0.25 * spike


class Derived(neuron.LIFNode):
    """A subclass that changes nothing that is run."""


def learnt(**settings):
    node = neuron.LIFNode(**settings)
    threshold = node.v_threshold
    del node.v_threshold
    node.v_threshold = nn.Parameter(torch.tensor(threshold))
    return node


NEURONS: dict[str, Callable[..., nn.Module]] = {
    "if": lambda: neuron.IFNode(v_threshold=0.5),
    "if_soft": lambda: neuron.IFNode(v_threshold=0.5, v_reset=None),
    "lif": lambda: neuron.LIFNode(v_threshold=0.5),
    "lif_undecayed": lambda: neuron.LIFNode(tau=4.0, v_threshold=0.75, decay_input=False, v_reset=None),
    "plif": lambda: neuron.ParametricLIFNode(init_tau=2.0, v_threshold=0.5),
    "derived": lambda: Derived(v_threshold=0.5),
    "recorded": lambda: neuron.LIFNode(v_threshold=0.5, store_v_seq=True),
    "learnt": lambda: learnt(v_threshold=0.5),
    "custom": lambda: Custom(v_threshold=0.5),
    "adaptive": lambda: Adaptive(v_threshold=0.5),
}


class Body(nn.Module):
    """Linear map, neuron, linear map, neuron: one step on `[B, 6]`."""

    def __init__(self, kind):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out = nn.Linear(6, 8), nn.Linear(8, 3)
        self.first, self.second = NEURONS[kind](), NEURONS[kind]()
        with torch.no_grad():
            self.fc.weight.mul_(5), self.out.weight.mul_(4)

    def step(self, x):
        return self.second(self.out(self.first(self.fc(x))))


class Stacked(Body):
    def forward(self, x):
        return torch.stack([self.step(x_t) for x_t in x])


class Mean(Body):
    def forward(self, x):
        total = 0.0
        for t in range(x.shape[0]):
            total = total + self.step(x[t])
        return total / x.shape[0]


class Sum(Body):
    def forward(self, x):
        functional.reset_net(self)
        return sum(self.step(x_t) for x_t in x)


class Last(Body):
    def forward(self, x):
        for x_t in x:
            y = self.step(x_t)
        return y


class Joined(Body):
    def forward(self, x):
        return torch.cat([self.step(x_t).unsqueeze(0) for x_t in x])


class InPlace(Body):
    def forward(self, x):
        total = torch.zeros(x.shape[1], 3, dtype=x.dtype)
        for x_t in x:
            total += self.step(x_t)
        return total


class Written(Body):
    def forward(self, x):
        out = torch.zeros(x.shape[0], x.shape[1], 3, dtype=x.dtype)
        for t in range(x.shape[0]):
            out[t] = self.step(x[t])
        return out


class Early(Body):
    """The first map outside of the loop."""

    def forward(self, x):
        h = self.fc(x)
        return torch.stack([self.second(self.out(self.first(h_t))) for h_t in h]).mean(0)


class Readout(Body):
    """A leaky readout as a plain tensor."""

    def forward(self, x):
        level = torch.zeros(x.shape[1], 3, dtype=x.dtype)
        for x_t in x:
            level = 0.5 * level + self.out(self.first(self.fc(x_t)))
        return level


class Membrane(Body):
    def forward(self, x):
        for x_t in x:
            self.step(x_t)
        return self.second.v


class Recurrent(Body):
    """The outputs of a step go into the next."""

    def forward(self, x):
        y, out = torch.zeros(x.shape[1], 3, dtype=x.dtype), []
        for x_t in x:
            y = self.step(x_t + torch.nn.functional.pad(y, (0, 3)))
            out.append(y)
        return torch.stack(out)


class Twice(Body):
    """One neuron in two places."""

    def forward(self, x):
        return torch.stack([self.second(self.out(self.first(self.fc(self.first(self.fc(x_t))[:, :6])))) for x_t in x])


class Largest(Body):
    def forward(self, x):
        return torch.stack([self.step(x_t) for x_t in x]).max(0).values


STYLES = (Stacked, Mean, Sum, Last, Joined, InPlace, Written, Early, Readout, Membrane, Recurrent, Twice, Largest)


class StepRecurrent(Body):
    """One step a call; what it keeps between calls is an attribute."""

    def __init__(self, kind):
        super().__init__(kind)
        self.level = 0.0

    def reset(self):
        self.level = 0.0

    def forward(self, x):
        self.level = 0.5 * self.level + self.out(self.first(self.fc(x)))
        return self.level


class StepCounter(Body):
    def __init__(self, kind):
        super().__init__(kind)
        self.count = 0

    def reset(self):
        self.count = 0

    def forward(self, x):
        self.count += 1
        return self.out(self.first(self.fc(x))) * 0.5**self.count


class StepBuffer(Body):
    def __init__(self, kind):
        super().__init__(kind)
        self.register_buffer("trace", torch.zeros(3))

    def reset(self):
        self.trace = torch.zeros_like(self.trace)

    def forward(self, x):
        y = self.out(self.first(self.fc(x)))
        self.trace = 0.5 * self.trace + 0.25
        return y * self.trace


class StepReads(Body):
    def forward(self, x):
        h = self.first(self.fc(x))
        return self.out(h) + self.first.v.sum(-1, keepdim=True)


class StepTwice(Body):
    def forward(self, x):
        return self.out(self.first(self.fc(self.first(self.fc(x))[:, :6])))


STEPWISE = (StepRecurrent, StepCounter, StepBuffer, StepReads, StepTwice)

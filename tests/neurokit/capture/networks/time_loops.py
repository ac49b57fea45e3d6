"""Loops over time as people write them, around one body of two neurons."""

from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, neuron
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network


class Body(nn.Module):
    """Linear map, neuron, linear map, neuron: one step on `[B, 10]`."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a, self.n = nn.Linear(10, 12), neuron.LIFNode(v_threshold=0.5)
        self.b, self.m = nn.Linear(12, 4), neuron.LIFNode(v_threshold=0.5)

    def step(self, x):
        return self.m(self.b(self.n(self.a(x))))


def loop(forward):
    """Registers a body with this forward under its name."""
    kind = type(forward.__name__, (Body,), {"forward": forward, "__module__": __name__})
    network((10,), 5, name=forward.__name__)(lambda: boosted(kind(), 8.0))
    return forward


@loop
def loop_enumerate(self, x):
    out = 0.0
    for i, x_t in enumerate(x):  # noqa: B007 it is read behind the loop
        out = out + self.step(x_t)
    return out / (i + 1)


@loop
def loop_enumerate_weighted(self, x):
    out = []
    for i, x_t in enumerate(x):
        out.append(self.step(x_t) * 0.5**i)
    return torch.stack(out)


@loop
def loop_zip(self, x):
    return torch.stack([self.step(a) + b.mean(-1, keepdim=True) for a, b in zip(x, x, strict=False)])


@loop
def loop_zip_shift(self, x):
    out = [self.step(x[0])]
    for a, b in zip(x[1:], x[:-1], strict=False):
        out.append(self.step(a - 0.5 * b))
    return torch.stack(out)


@loop
def loop_reversed(self, x):
    out = []
    for t in reversed(range(x.shape[0])):
        out.append(self.step(x[t]))  # noqa: PERF401
    return torch.stack(out)


@loop
def loop_reversed_tensor(self, x):
    return torch.stack([self.step(q) for q in reversed(x)]).mean(0)


@loop
def loop_while(self, x):
    t, out = (0, 0.0)
    while t < x.shape[0]:
        out = out + self.step(x[t])
        t += 1
    return out / t


@loop
def loop_comprehension_sum(self, x):
    return sum(self.step(q) for q in x) / x.shape[0]


@loop
def loop_prealloc(self, x):
    out = torch.zeros(x.shape[0], x.shape[1], 4, dtype=x.dtype)
    for t in range(x.shape[0]):
        out[t] = self.step(x[t])
    return out


@loop
def loop_prealloc_add(self, x):
    out = torch.zeros(x.shape[1], 4, dtype=x.dtype)
    for t in range(x.size(0)):
        out += self.step(x[t])
    return out / x.size(0)


@loop
def loop_unbind(self, x):
    return torch.stack([self.step(q) for q in x.unbind(0)], dim=0)


@loop
def loop_split(self, x):
    return torch.cat([self.step(q.squeeze(0)).unsqueeze(0) for q in x.split(1)])


@loop
def loop_chunk(self, x):
    return torch.cat([self.step(q[0])[None] for q in x.chunk(x.shape[0])])


@loop
def loop_running_mean(self, x):
    m = 0.0
    for t in range(len(x)):
        m = m + (self.step(x[t]) - m) / (t + 1)
    return m


@loop
def loop_burn_in(self, x):
    out = 0.0
    for t in range(x.shape[0]):
        y = self.step(x[t])
        if t >= 2:
            out = out + y
    return out


@loop
def loop_last_of_list(self, x):
    ys = [self.step(q) for q in x]
    return ys[-1]


@loop
def loop_max(self, x):
    return torch.stack([self.step(q) for q in x]).max(0)[0]


@loop
def loop_softmax_mean(self, x):
    return torch.stack([self.b(self.n(self.a(q))).softmax(-1) for q in x]).mean(0)


@loop
def loop_mean_softmax(self, x):
    return torch.stack([self.b(self.n(self.a(q))) for q in x]).mean(0).softmax(-1)


@loop
def loop_first_spike(self, x):
    y = torch.stack([self.step(q) for q in x])
    steps = y.shape[0]
    t = torch.arange(steps, dtype=y.dtype).view(steps, 1, 1)
    return torch.where(y > 0, t, torch.full_like(t, float(steps))).amin(0)


@loop
def loop_membranes(self, x):
    v = []
    for q in x:
        self.step(q)
        v.append(self.m.v)
    return torch.stack(v)


@loop
def loop_reset_first(self, x):
    functional.reset_net(self)
    out = []
    for t in range(x.shape[0]):
        out += [self.step(x[t])]
    return torch.stack(out, 0).sum(0)


@loop
def loop_two_passes(self, x):
    h = [self.n(self.a(q)) for q in x]
    return torch.stack([self.m(self.b(q)) for q in h])


@loop
def loop_layer_then_loop(self, x):
    h = self.a(x)
    return torch.stack([self.m(self.b(self.n(q))) for q in h]).mean(0)


@loop
def loop_dict(self, x):
    ys = torch.stack([self.step(q) for q in x])
    return {"class": ys.mean(0), "lambda": ys}


class Named(NamedTuple):
    logits: torch.Tensor
    rate: torch.Tensor


@loop
def loop_namedtuple(self, x):
    ys = torch.stack([self.step(q) for q in x])
    return Named(ys.sum(0), ys.mean(0))


@dataclass
class Answer:
    logits: torch.Tensor
    spikes: torch.Tensor = None
    loss: torch.Tensor = None


@loop
def loop_dataclass(self, x):
    ys = torch.stack([self.step(q) for q in x])
    return Answer(ys.mean(0), ys)


@loop
def loop_bool(self, x):
    return torch.stack([self.step(q) for q in x]).sum(0) > 1


@loop
def loop_argmax(self, x):
    return torch.stack([self.b(self.n(self.a(q))) for q in x]).sum(0).argmax(1)


@loop
def loop_inner_function(self, x):

    def one(q):
        h = self.n(self.a(q))
        return self.m(self.b(h))

    return torch.stack(list(map(one, x)))


@loop
def loop_index_list(self, x):
    steps = x.shape[0]
    out = [None] * steps
    for t in range(steps):
        out[t] = self.step(x[t, ...])
    return torch.stack(out)


@loop
def loop_batch_first(self, x):
    x = x.permute(1, 0, 2)
    return torch.stack([self.step(x[:, t]) for t in range(x.size(1))], 1).permute(1, 0, 2)


@loop
def loop_residual(self, x):
    prev = 0.0
    out = []
    for q in x:
        prev = self.step(q) + 0.5 * prev
        out.append(prev)
    return torch.stack(out)


@loop
def loop_feedback(self, x):
    y = x.new_zeros(x.shape[1], 4)
    out = []
    for q in x:
        y = self.step(q + F.pad(y, (0, 6)))
        out.append(y)
    return torch.stack(out)

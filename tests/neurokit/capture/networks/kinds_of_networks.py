"""Networks of published kinds: gestures, spoken digits, detection, control, brain waves, depth."""

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network


def in_time(net):
    """Lets every part take all steps at once."""
    functional.set_step_mode(net, "m")
    return net


class Img(nn.Module):
    def __init__(self, steps=4):
        super().__init__()
        torch.manual_seed(0)
        self.T = steps
        self.num_steps = steps
        self.c = nn.Conv2d(1, 6, 3, padding=1, bias=False)
        self.bn = nn.BatchNorm2d(6)
        self.n = neuron.IFNode(v_threshold=0.5)
        self.p = nn.MaxPool2d(2)
        self.f = nn.Linear(6 * 16, 5)
        self.m = neuron.IFNode(v_threshold=0.5)


@network((1, 8, 8), None)
def im_clock_driven():

    class Net(Img):
        def forward(self, x):
            x = self.bn(self.c(x))
            out = self.m(self.f(self.p(self.n(x)).flatten(1)))
            for _t in range(1, self.T):
                out += self.m(self.f(self.p(self.n(x)).flatten(1)))
            return out / self.T

    return boosted(Net())


@network((1, 8, 8), None)
def im_num_steps():

    class Net(Img):
        def __init__(self):
            super().__init__()
            del self.T

        def forward(self, x):
            functional.reset_net(self)
            rec = []
            for _step in range(self.num_steps):
                rec.append(self.m(self.f(self.p(self.n(self.bn(self.c(x)))).flatten(1))))  # noqa: PERF401 as users write it
            return torch.stack(rec, dim=0)

    return boosted(Net())


@network((1, 8, 8), None)
def im_repeat_m():

    class Net(Img):
        def __init__(self):
            super().__init__()
            functional.set_step_mode(self.n, "m")
            functional.set_step_mode(self.m, "m")

        def forward(self, x):
            x = self.bn(self.c(x)).unsqueeze(0).expand(self.T, -1, -1, -1, -1)
            h = self.n(x)
            h = functional.seq_to_ann_forward(h, [self.p, nn.Flatten(1)] if False else self.p).flatten(2)
            return self.m(self.f(h)).mean(0)

    return boosted(Net())


@network((2, 12, 12), 5)
def dvs_sew():

    class Sew(nn.Module):
        def __init__(self, c, f):
            super().__init__()
            self.a = nn.Sequential(
                layer.Conv2d(c, c, 3, padding=1, bias=False),
                layer.BatchNorm2d(c),
                neuron.ParametricLIFNode(v_threshold=0.5),
            )
            self.b = nn.Sequential(
                layer.Conv2d(c, c, 3, padding=1, bias=False),
                layer.BatchNorm2d(c),
                neuron.ParametricLIFNode(v_threshold=0.5),
            )
            self.f = f

        def forward(self, x):
            y = self.b(self.a(x))
            return x + y if self.f == "ADD" else x * (1.0 - y) if self.f == "IAND" else x * y

    torch.manual_seed(0)
    return boosted(
        in_time(
            nn.Sequential(
                layer.Conv2d(2, 6, 3, padding=1),
                neuron.ParametricLIFNode(v_threshold=0.5),
                Sew(6, "ADD"),
                layer.MaxPool2d(2),
                Sew(6, "IAND"),
                layer.AdaptiveAvgPool2d(1),
                layer.Flatten(),
                layer.Linear(6, 4),
            )
        )
    )


@network((2, 8, 8), 5)
def tdbn_net():
    torch.manual_seed(0)
    return boosted(
        in_time(
            nn.Sequential(
                layer.Conv2d(2, 6, 3, padding=1, bias=False),
                layer.ThresholdDependentBatchNorm2d(1.0, 0.5, 6),
                neuron.LIFNode(v_threshold=0.5, decay_input=False),
                layer.AvgPool2d(2),
                layer.Flatten(),
                layer.Linear(96, 4),
                neuron.IFNode(),
            )
        )
    )


@network((16, 12), 5)
def spikformer_block():

    class Attention(nn.Module):
        def __init__(self, d=12, h=2):
            super().__init__()
            torch.manual_seed(0)
            self.h = h
            for k in "qkv":
                setattr(self, k, nn.Linear(d, d))
                setattr(self, k + "_bn", nn.BatchNorm1d(d))
                setattr(self, k + "_lif", neuron.LIFNode(step_mode="m", v_threshold=0.5))
            self.attn_lif = neuron.LIFNode(step_mode="m", v_threshold=0.5)
            self.proj = nn.Linear(d, d)
            self.proj_bn = nn.BatchNorm1d(d)
            self.proj_lif = neuron.LIFNode(step_mode="m", v_threshold=0.5)
            self.head = nn.Linear(d, 5)

        def one(self, x, k):
            steps, batch, tokens, width = x.shape
            y = getattr(self, k)(x.flatten(0, 1))
            y = (
                getattr(self, k + "_bn")(y.transpose(-1, -2))
                .transpose(-1, -2)
                .reshape(steps, batch, tokens, width)
                .contiguous()
            )
            return getattr(self, k + "_lif")(y)

        def forward(self, x):
            steps, batch, tokens, width = x.shape
            q, k, v = (
                self.one(x, c)
                .reshape(steps, batch, tokens, self.h, width // self.h)
                .permute(0, 1, 3, 2, 4)
                .contiguous()
                for c in "qkv"
            )
            a = q @ k.transpose(-2, -1) @ v * 0.125
            a = self.attn_lif(a.transpose(2, 3).reshape(steps, batch, tokens, width).contiguous())
            x = x + self.one(a, "proj")
            return self.head(x.mean(2)).mean(0)

    return boosted(Attention(), 4.0)


@network((20,), 6)
def shd_recurrent():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.i = layer.Linear(20, 16)
            self.r = layer.LinearRecurrentContainer(neuron.LIFNode(v_threshold=0.5, decay_input=False), 16, 16)
            self.o = layer.Linear(16, 5)
            self.li = neuron.LIFNode(tau=4.0, v_threshold=float("inf"))
            in_time(self)

        def forward(self, x):
            self.li(self.o(self.r(self.i(x))))
            return self.li.v

    return boosted(Net())


@network((20,), 6)
def shd_readout_softmax():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.i = nn.Linear(20, 16)
            self.n = neuron.LIFNode(v_threshold=0.5)
            self.o = nn.Linear(16, 5)
            self.alpha = nn.Parameter(torch.tensor(0.7))

        def forward(self, x):
            u = 0.0
            out = 0.0
            for q in x:
                u = self.alpha * u + (1 - self.alpha) * self.o(self.n(self.i(q)))
                out = out + F.softmax(u, dim=1)
            return out

    return boosted(Net())


@network((10,), 5)
def rec_elementwise():
    torch.manual_seed(0)
    return boosted(
        in_time(
            nn.Sequential(
                layer.Linear(10, 12),
                layer.ElementWiseRecurrentContainer(neuron.LIFNode(v_threshold=0.5), lambda a, b: a + b * 0.5),
                layer.Linear(12, 3),
            )
        )
    )


@network((2, 16, 16), 5)
def yolo_head():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a = layer.Conv2d(2, 6, 3, 2, 1)
            self.b = layer.Conv2d(6, 8, 3, 2, 1)
            self.na = neuron.LIFNode(v_threshold=0.5)
            self.nb = neuron.LIFNode(v_threshold=0.5)
            self.h = nn.ModuleList([layer.Conv2d(6, 14, 1), layer.Conv2d(8, 14, 1)])
            self.register_buffer("anchors", torch.tensor([[[1.0, 2.0], [3.0, 2.0]], [[4.0, 4.0], [6.0, 3.0]]]))
            in_time(self)

        def forward(self, x):
            a = self.na(self.a(x))
            b = self.nb(self.b(a))
            out = []
            for i, (h, f, st) in enumerate(zip(self.h, (a, b), (2, 4), strict=False)):
                y = h(f).mean(0)
                batch, _, height, across = y.shape
                y = y.view(batch, 2, 7, height, across).permute(0, 1, 3, 4, 2).sigmoid()
                gy, gx = torch.meshgrid(torch.arange(height), torch.arange(across), indexing="ij")
                g = torch.stack((gx, gy), -1).view(1, 1, height, across, 2).to(y.dtype)
                xy = (y[..., :2] * 2 - 0.5 + g) * st
                wh = (y[..., 2:4] * 2) ** 2 * self.anchors[i].view(1, 2, 1, 1, 2)
                out.append(torch.cat((xy, wh, y[..., 4:]), -1).view(batch, -1, 7))
            return torch.cat(out, 1)

    return boosted(Net())


@network((4,), 5)
def popsan():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.mean = nn.Parameter(torch.linspace(-1, 1, 6).repeat(1, 4, 1))
            self.std = nn.Parameter(torch.full((1, 4, 6), 0.5))
            self.l1 = nn.Linear(24, 16)
            self.l2 = nn.Linear(16, 10)
            self.n1 = neuron.LIFNode(v_threshold=0.5)
            self.n2 = neuron.LIFNode(v_threshold=0.5)
            self.dec = nn.Conv1d(2, 2, 5, groups=2)

        def forward(self, x):
            out = 0.0
            for q in x:
                p = torch.exp(-0.5 * (q.unsqueeze(-1) - self.mean) ** 2 / self.std**2).view(q.shape[0], -1)
                out = out + self.n2(self.l2(self.n1(self.l1(p))))
            return torch.tanh(self.dec((out / x.shape[0]).view(-1, 2, 5)).view(-1, 2))

    return boosted(Net())


@network((1, 6, 32), None)
def eeg_time_axis():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.c = nn.Conv2d(1, 4, (1, 7), padding=(0, 3))
            self.d = nn.Conv2d(4, 8, (6, 1), groups=4)
            self.bn = nn.BatchNorm2d(8)
            self.n = neuron.LIFNode(step_mode="m", v_threshold=0.3)
            self.f = nn.Linear(8, 3)

        def forward(self, x):
            h = F.elu(self.bn(self.d(self.c(x)))).squeeze(2)
            return self.f(self.n(h.permute(2, 0, 1))).mean(0)

    return boosted(Net())


@network((2, 16, 16), 4)
def stereospike():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.e1 = layer.Conv2d(2, 4, 5, padding=2)
            self.e2 = layer.Conv2d(4, 8, 5, 2, 2)
            self.e3 = layer.Conv2d(8, 8, 5, 2, 2)
            self.u2 = nn.Sequential(
                layer.Upsample(scale_factor=2, mode="nearest") if hasattr(layer, "Upsample") else nn.Identity(),
                layer.Conv2d(8, 8, 3, padding=1),
            )
            self.u1 = nn.Sequential(
                layer.Upsample(scale_factor=2) if hasattr(layer, "Upsample") else nn.Identity(),
                layer.Conv2d(8, 4, 3, padding=1),
            )
            self.sn = nn.ModuleList([neuron.IFNode(v_threshold=0.5) for _ in range(5)])
            self.p2 = layer.Conv2d(8, 1, 3, padding=1)
            self.p1 = layer.Conv2d(4, 1, 3, padding=1)
            self.acc2 = neuron.IFNode(v_threshold=float("inf"), v_reset=0.0)
            self.acc1 = neuron.IFNode(v_threshold=float("inf"), v_reset=0.0)
            in_time(self)

        def forward(self, x):
            a = self.sn[0](self.e1(x))
            b = self.sn[1](self.e2(a))
            c = self.sn[2](self.e3(b))
            d = self.sn[3](self.u2(c)) + b
            e = self.sn[4](self.u1(d)) + a
            self.acc2(self.p2(d))
            self.acc1(self.p1(e))
            return [self.acc1.v, self.acc2.v]

    return boosted(Net())

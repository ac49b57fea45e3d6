"""Networks of images and events in further published styles: detectors, conversions, optical flow, segments, points."""

import torch
import torch.nn.functional as F
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network, seeded


class ActFun(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input):
        ctx.save_for_backward(input)
        return input.gt(0.5).to(input.dtype)

    @staticmethod
    def backward(ctx, g):
        (i,) = ctx.saved_tensors
        return g * (abs(i - 0.5) < 0.5).float()


act_fun = ActFun.apply


time_window, decay, thresh = 4, 0.25, 0.5


class MemUpdate(nn.Module):
    def forward(self, x):
        mem = torch.zeros_like(x[0])
        spike = torch.zeros_like(x[0])
        output = torch.zeros_like(x)
        mem_old = 0
        for i in range(time_window):
            mem = mem_old * decay * (1 - spike.detach()) + x[i] if i >= 1 else x[i]
            spike = act_fun(mem)
            mem_old = mem.clone()
            output[i] = spike
        return output


class SnnConv2d(nn.Conv2d):
    def forward(self, input):
        c1 = torch.zeros(
            time_window,
            input.size()[1],
            self.out_channels,
            (input.size(3) + 2 * self.padding[0] - self.kernel_size[0]) // self.stride[0] + 1,
            (input.size(4) + 2 * self.padding[0] - self.kernel_size[0]) // self.stride[0] + 1,
            dtype=input.dtype,
        )
        for i in range(time_window):
            c1[i] = F.conv2d(input[i], self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return c1


class NormOfSteps(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.bn = nn.BatchNorm3d(c)

    def forward(self, x):
        return (
            self.bn(x.transpose(0, 2).contiguous().transpose(0, 1).contiguous())
            .transpose(0, 1)
            .contiguous()
            .transpose(0, 2)
        )


class EmsHead(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = SnnConv2d(2, 6, 3, padding=1, bias=False)
        self.b1 = NormOfSteps(6)
        self.m1 = MemUpdate()
        self.c2 = SnnConv2d(6, 6, 3, padding=1, stride=2)
        self.b2 = NormOfSteps(6)
        self.m2 = MemUpdate()
        self.sc = SnnConv2d(6, 6, 1, stride=2)
        self.head = nn.Conv2d(6, 5, 1)

    def forward(self, x):
        h = self.m1(self.b1(self.c1(x)))
        h = self.b2(self.c2(h)) + self.sc(h)
        h = self.m2(h)
        return self.head(h.mean(0)).sigmoid()


@network((2, 8, 8), 4)
def ems_yolo_head():
    seeded()
    return boosted(EmsHead())


class Quant4(torch.autograd.Function):
    @staticmethod
    def forward(ctx, i, min_value, max_value):
        ctx.save_for_backward(i)
        return torch.round(torch.clamp(i, min=min_value, max=max_value))

    @staticmethod
    def backward(ctx, g):
        return g, None, None


class IntMem(nn.Module):
    def __init__(self):
        super().__init__()
        self.q = Quant4.apply

    def forward(self, x):
        spike = torch.zeros_like(x[0])
        out = torch.zeros_like(x)
        mem_old = 0
        for i in range(x.shape[0]):
            mem = (mem_old - spike) * 0.25 + x[i] if i else x[i]
            spike = self.q(mem, 0, 4)
            mem_old = mem.clone()
            out[i] = spike
        return out / 4


class SpikeYolo(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = nn.Conv2d(2, 8, 3, padding=1)
        self.m = IntMem()
        self.d = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.p = nn.Conv2d(8, 4, 1)
        self.m2 = IntMem()
        self.box = nn.Conv2d(4, 4, 1)
        self.cls = nn.Conv2d(4, 3, 1)

    def forward(self, x):
        steps, batch = x.shape[:2]
        h = self.m(self.c(x.flatten(0, 1)).reshape(steps, batch, 8, *x.shape[-2:]))
        h = self.m2(self.p(self.d(h.flatten(0, 1))).reshape(steps, batch, 4, *x.shape[-2:])).mean(0)
        return {"boxes": self.box(h).flatten(2).transpose(1, 2), "scores": self.cls(h).flatten(2).softmax(1)}


@network((2, 6, 6), 3)
def spike_yolo_integers():
    seeded()
    return boosted(SpikeYolo())


class ZIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx, input, gama):
        out = (input > 0).to(input.dtype)
        ctx.save_for_backward(input, out, torch.tensor([gama]))
        return out

    @staticmethod
    def backward(ctx, g):
        return g, None


class LIFSpike(nn.Module):
    def __init__(self, thresh=1.0, tau=0.5, gama=1.0):
        super().__init__()
        self.act = ZIF.apply
        self.thresh, self.tau, self.gama = thresh, tau, gama

    def forward(self, x):
        mem = 0
        pot = []
        steps = x.shape[1]
        for t in range(steps):
            mem = mem * self.tau + x[:, t, ...]
            spike = self.act(mem - self.thresh, self.gama)
            mem = (1 - spike) * mem
            pot.append(spike)
        return torch.stack(pot, dim=1)


class SeqToANN(nn.Module):
    def __init__(self, *a):
        super().__init__()
        self.module = nn.Sequential(*a)

    def forward(self, x):
        y_shape = [x.shape[0], x.shape[1]]
        y = self.module(x.flatten(0, 1).contiguous())
        y_shape.extend(y.shape[1:])
        return y.view(y_shape)


class Layer(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.fwd = SeqToANN(nn.Conv2d(i, o, 3, 1, 1), nn.BatchNorm2d(o))
        self.act = LIFSpike()

    def forward(self, x):
        return self.act(self.fwd(x))


def add_dimension(x, steps):
    x = x.unsqueeze(1).contiguous()
    return x.repeat(1, steps, 1, 1, 1)


class TetVgg(nn.Module):
    def __init__(self):
        super().__init__()
        self.T = 4
        self.f = nn.Sequential(Layer(1, 6), Layer(6, 6), SeqToANN(nn.AvgPool2d(2)), Layer(6, 8))
        self.classifier = SeqToANN(nn.Linear(8 * 16, 5))

    def forward(self, x):
        x = add_dimension(x, self.T)
        x = self.f(x)
        x = torch.flatten(x, 2)
        return self.classifier(x)


@network((1, 8, 8), None)
def tet_vgg_image():
    seeded()
    return boosted(TetVgg(), 6.0)


class Diet(nn.Module):
    def __init__(self):
        super().__init__()
        self.timesteps = 5
        self.feat = nn.ModuleList(
            [nn.Conv2d(1, 4, 3, padding=1, bias=False), nn.Conv2d(4, 6, 3, padding=1, stride=2, bias=False)]
        )
        self.cls = nn.Linear(96, 4, bias=False)
        self.threshold = nn.ParameterDict({f"t{i}": nn.Parameter(torch.tensor(0.6 + 0.1 * i)) for i in range(2)})
        self.leak = nn.ParameterDict({f"l{i}": nn.Parameter(torch.tensor(0.9)) for i in range(2)})

    def forward(self, x):
        mem, acc = {}, 0.0
        for t in range(self.timesteps):
            out = x
            for i, part in enumerate(self.feat):
                if t == 0:
                    mem[i] = torch.zeros_like(part(out))
                thr = (mem[i] / self.threshold[f"t{i}"]) - 1.0
                rst = self.threshold[f"t{i}"] * (thr > 0).to(x.dtype)
                mem[i] = self.leak[f"l{i}"] * mem[i] + part(out) - rst
                thr = (mem[i] / self.threshold[f"t{i}"]) - 1.0
                out = (thr > 0).to(x.dtype)
            acc = acc + self.cls(out.reshape(x.size(0), -1))
        return acc


@network((1, 8, 8), None)
def diet_snn():
    seeded()
    return boosted(Diet())


class EegLast(nn.Module):
    def __init__(self):
        super().__init__()
        self.t = nn.Conv2d(1, 4, (1, 5), padding=(0, 2), bias=False)
        self.sp = nn.Conv2d(4, 8, (6, 1), groups=4, bias=False)
        self.bn = nn.BatchNorm2d(8)
        self.fc = nn.Linear(8, 3)

    def forward(self, x):
        h = self.bn(self.sp(self.t(x))).squeeze(2)
        v = torch.zeros(h.size(0), h.size(1), dtype=h.dtype)
        cnt = torch.zeros_like(v)
        for t in range(h.size(-1)):
            v = torch.lerp(v, h[..., t], 0.5)
            sp = torch.ge(v, 0.2).type_as(v)
            v = v.masked_fill(sp.bool(), 0.0)
            cnt += sp
        return F.log_softmax(self.fc(cnt / h.size(-1)), dim=-1)


@network((1, 6, 16), None)
def eeg_time_last():
    seeded()
    return boosted(EegLast())


class Flow(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(2, 4, 3, 2, 1, bias=False)
        self.c2 = nn.Conv2d(4, 8, 3, 2, 1, bias=False)
        self.r = nn.Conv2d(8, 8, 3, 1, 1)
        self.d = nn.ConvTranspose2d(8, 4, 4, 2, 1)
        self.f = nn.Conv2d(8, 2, 3, 1, 1)
        self.th = 0.3

    def forward(self, x):
        steps = x.shape[0]
        m1 = m2 = None
        a1 = a2 = None
        for t in range(steps):
            c = self.c1(x[t])
            m1 = c if m1 is None else m1 + c
            s1 = (m1 > self.th).to(c.dtype)
            m1 = torch.where(s1 > 0, torch.zeros_like(m1), m1)
            c = self.c2(s1)
            m2 = c if m2 is None else m2 + c
            s2 = (m2 > self.th).to(c.dtype)
            m2 = torch.where(s2 > 0, torch.zeros_like(m2), m2)
            a1 = s1 if a1 is None else a1 + s1
            a2 = s2 if a2 is None else a2 + s2
        h = F.relu(self.r(a2) + a2)
        h = torch.cat([F.leaky_relu(self.d(h), 0.1), a1], 1)
        return F.interpolate(self.f(h), scale_factor=2, mode="bilinear", align_corners=False)


@network((2, 8, 8), 4)
def spike_flownet():
    seeded()
    return boosted(Flow())

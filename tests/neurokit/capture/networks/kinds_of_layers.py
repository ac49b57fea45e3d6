"""Layers beside common neurons: volumes, padding, norms, attention, memories, rarer neurons."""

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tests.neurokit.capture.networks.registry import boosted, network
from tests.neurokit.capture.networks.time_loops import Body


def in_time(net):
    """Lets every part take all steps at once."""
    functional.set_step_mode(net, "m")
    return net


@network((1, 4, 8, 8), 4)
def conv3d_transpose3d():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a = nn.Conv3d(1, 4, 3, 2, 1)
            self.n = neuron.LIFNode(step_mode="m", v_threshold=0.5)
            self.b = nn.ConvTranspose3d(4, 2, 4, 2, 1)
            self.m = neuron.LIFNode(step_mode="m", v_threshold=0.5)

        def forward(self, x):
            steps, batch = x.shape[:2]
            h = self.n(self.a(x.flatten(0, 1)).unflatten(0, (steps, batch)))
            return self.m(self.b(h.flatten(0, 1)).unflatten(0, (steps, batch)))

    return boosted(Net(), 10.0)


@network((1, 10), 4)
def conv1d_transpose():
    torch.manual_seed(0)
    return boosted(
        in_time(
            nn.Sequential(
                layer.Conv1d(1, 6, 3, 2, 1),
                neuron.LIFNode(v_threshold=0.5),
                layer.SeqToANNContainer(nn.ConvTranspose1d(6, 2, 3, 2, 1, 1)),
                neuron.LIFNode(v_threshold=0.5),
            )
        )
    )


@network((2, 9, 9), 4)
def padding_modes():
    torch.manual_seed(0)
    return boosted(
        in_time(
            nn.Sequential(
                layer.Conv2d(2, 4, 3, padding=1, padding_mode="replicate"),
                neuron.LIFNode(v_threshold=0.5),
                layer.Conv2d(4, 4, 3, padding=1, padding_mode="reflect"),
                neuron.LIFNode(v_threshold=0.5),
                layer.Conv2d(4, 4, 3, padding=1, padding_mode="circular"),
                neuron.LIFNode(v_threshold=0.5),
                layer.SeqToANNContainer(nn.ReflectionPad2d(1), nn.ZeroPad2d(1), nn.Conv2d(4, 2, 3)),
            )
        )
    )


@network((4, 8, 8), 4)
def pixel_groupnorm():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a = layer.Conv2d(4, 16, 3, padding=1)
            self.g = layer.GroupNorm(4, 16)
            self.n = neuron.LIFNode(v_threshold=0.5)
            self.o = layer.Conv2d(4, 4, 1)
            in_time(self)

        def forward(self, x):
            h = self.n(self.g(self.a(x)))
            steps, batch = h.shape[:2]
            h = F.pixel_shuffle(h.flatten(0, 1), 2).unflatten(0, (steps, batch))
            h = self.o(h)
            return F.pixel_unshuffle(h.flatten(0, 1), 2).unflatten(0, (steps, batch))

    return boosted(Net())


@network((10,), 5)
def norms():
    torch.manual_seed(0)
    return boosted(
        in_time(
            nn.Sequential(
                layer.Linear(10, 12),
                nn.LayerNorm(12),
                neuron.LIFNode(v_threshold=0.5),
                nn.RMSNorm(12),
                layer.Linear(12, 3),
            )
        )
    )


@network((10,), 5)
def synapse_filter():
    torch.manual_seed(0)
    return boosted(
        in_time(
            nn.Sequential(
                layer.Linear(10, 12), neuron.LIFNode(v_threshold=0.5), layer.SynapseFilter(tau=5.0), layer.Linear(12, 3)
            )
        )
    )


@network((10,), 5)
def step_containers():
    torch.manual_seed(0)
    return boosted(
        nn.Sequential(
            layer.MultiStepContainer(nn.Linear(10, 12), neuron.IFNode(v_threshold=0.5)),
            layer.SeqToANNContainer(nn.Linear(12, 4)),
            neuron.LIFNode(step_mode="m", v_threshold=0.5),
        )
    )


@network((10,), 5)
def lstm_spikes():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.g = nn.LSTM(10, 12)
            self.n = neuron.LIFNode(step_mode="m", v_threshold=0.1)
            self.o = nn.Linear(12, 3)

        def forward(self, x):
            return self.o(self.n(self.g(x)[0]))

    return boosted(Net())


@network((10,), 5)
def mha_spikes():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.l = nn.Linear(10, 12)
            self.n = neuron.LIFNode(step_mode="m", v_threshold=0.5)
            self.a = nn.MultiheadAttention(12, 2)
            self.o = nn.Linear(12, 3)

        def forward(self, x):
            h = self.n(self.l(x))
            h, _ = self.a(h, h, h)
            return self.o(h).mean(0)

    return boosted(Net())


@network((2, 8, 8), 4)
def interpolations():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a = layer.Conv2d(2, 4, 3, padding=1)
            self.n = neuron.LIFNode(v_threshold=0.5)
            self.b = layer.Conv2d(4, 2, 3, padding=1)
            in_time(self)

        def forward(self, x):
            h = self.n(self.a(x))
            steps, batch = h.shape[:2]
            h = F.interpolate(h.flatten(0, 1), scale_factor=2, mode="bilinear", align_corners=True)
            h = F.interpolate(h, size=(8, 8), mode="bicubic")
            h = F.adaptive_max_pool2d(h, 4)
            return self.b(h.unflatten(0, (steps, batch)))

    return boosted(Net())


@network((2, 8, 8), 4)
def unfold_net():

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.l = nn.Linear(18, 6)
            self.n = neuron.LIFNode(step_mode="m", v_threshold=0.5)
            self.o = nn.Linear(6, 3)

        def forward(self, x):
            steps, batch = x.shape[:2]
            h = F.unfold(x.flatten(0, 1), 3, padding=1).transpose(1, 2)
            h = self.n(self.l(h).unflatten(0, (steps, batch)))
            return self.o(h.mean(2))

    return boosted(Net())


@network((10,), 5)
def ttfs_threshold():

    class Net(Body):
        def forward(self, x):
            out = []
            for t in range(x.shape[0]):
                h = self.a(x[t])
                if t == 0:
                    h = h * 2
                out.append(self.m(self.b(self.n(h))))
            return torch.stack(out)

    return boosted(Net())


@network((10,), 5, by="step")
def step_dict_out():

    class Net(Body):
        def forward(self, x):
            y = self.step(x)
            return {"logits": y, "mem": self.m.v}

    return boosted(Net(), 10.0)


RARE = {
    "QIFNode": {},
    "EIFNode": {"theta_rh": 0.5},
    "KLIFNode": {},
    "LIAFNode": {"act": torch.relu, "threshold_related": False},
    "CUBALIFNode": {},
    "ILIFNode": {},
    "PSN": {"T": 5},
    "MaskedPSN": {"k": 2, "T": 5},
    "SlidingPSN": {"k": 2},
    "ComplementaryLIFNode": {},
}


def rare(kind):
    torch.manual_seed(0)
    node = getattr(neuron, kind)(**RARE[kind])
    return boosted(in_time(nn.Sequential(layer.Linear(10, 12), node, layer.Linear(12, 3))))


for _kind in RARE:
    network((10,), 5, name=f"rare_{_kind.lower()}")(lambda kind=_kind: rare(kind))

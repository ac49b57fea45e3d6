"""Networks of the kinds that were reported to fail, which no other file of the set has: docs/cases.md lists them."""

from functools import wraps

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from tests.neurokit.capture.networks import registry
from tests.neurokit.capture.networks.registry import boosted


def network(shape, time_steps):
    """Registers a factory, whose weights are the same whenever it builds."""

    def register(build):
        @wraps(build)
        def again():
            registry.seeded()
            return build()

        return registry.network(shape, time_steps)(again)

    return register


def in_time(*parts):
    """Parts one after the other, all steps at once."""
    net = nn.Sequential(*parts)
    functional.set_step_mode(net, "m")
    return net


class Body(nn.Module):
    """A layer, a neuron and a readout, for forwards that differ in what is between them."""

    def __init__(self, width=10, hidden=12, outputs=3, **settings):
        super().__init__()
        torch.manual_seed(0)
        self.enter, self.leave = nn.Linear(width, hidden), nn.Linear(hidden, outputs)
        self.lif = neuron.LIFNode(step_mode="m", v_threshold=0.4, **settings)


def with_forward(forward, gain=3.0, extra=None, **settings):
    """Returns a body with another forward."""
    kind = type("Net", (Body,), {"forward": forward})
    net = kind(**settings)
    for name, part in (extra or {}).items():
        setattr(net, name, part)
    return boosted(net, gain)


@network((4, 64), 4)
def signal_depthwise():
    torch.manual_seed(0)
    first, last = layer.Conv1d(4, 8, 7, stride=2, padding=3), layer.Conv1d(8, 8, 5, padding=2, groups=8)
    norm, tail = layer.BatchNorm1d(8), (layer.Flatten(), layer.Linear(8 * 32, 5))
    return boosted(in_time(first, norm, neuron.LIFNode(), last, neuron.LIFNode(tau=3.0), *tail))


@network((6, 12), 4)
def attention_softmax():
    def forward(self, x):
        h = self.lif(self.enter(x))
        q, k, v = self.qkv(self.norm(h)).chunk(3, -1)
        h = h + self.second((0.25 * q @ k.transpose(-2, -1)).softmax(-1) @ v)
        return self.leave(h.mean(2)).mean(0)

    extra = {"qkv": nn.Linear(16, 48), "norm": nn.LayerNorm(16), "second": neuron.LIFNode(step_mode="m")}
    return with_forward(forward, 2.0, extra, width=12, hidden=16)


@network((6, 12), 4)
def attention_fused():
    def forward(self, x):
        q, k, v = self.qkv(self.lif(self.enter(x))).chunk(3, -1)
        return self.leave(self.second(F.scaled_dot_product_attention(q, k, v)).mean(2))

    extra = {"qkv": nn.Linear(16, 48), "second": neuron.LIFNode(step_mode="m", v_threshold=0.2)}
    return with_forward(forward, 2.0, extra, width=12, hidden=16)


@network((10,), 6)
def gru_before_neurons():
    def forward(self, x):
        return self.leave(self.lif(self.enter(self.gru(x)[0]))).mean(0)

    return with_forward(forward, extra={"gru": nn.GRU(10, 10)})


@network((2, 10, 10), 4)
def squeeze_and_excite():
    def forward(self, x):
        h = self.lif(self.conv(x))
        gate = torch.sigmoid(self.wide(F.relu(self.thin(h.mean((-2, -1))))))
        return self.leave(self.second(self.again(h * gate[..., None, None])).mean((-2, -1)))

    extra = {
        "conv": layer.Conv2d(2, 12, 3, padding=1, step_mode="m"),
        "again": layer.Conv2d(12, 12, 3, padding=1, step_mode="m"),
        "thin": nn.Linear(12, 4),
        "wide": nn.Linear(4, 12),
        "second": neuron.LIFNode(step_mode="m"),
    }
    return with_forward(forward, extra=extra)


@network((2, 8, 8), 4)
def shared_weights():
    def forward(self, x):
        h = self.lif(self.conv(x))
        for each in self.more:
            h = each(self.again(h))
        return h.flatten(2).mean(2)

    extra = {
        "conv": layer.Conv2d(2, 6, 3, padding=1, step_mode="m"),
        "again": layer.Conv2d(6, 6, 3, padding=1, step_mode="m"),
        "more": nn.ModuleList(neuron.LIFNode(step_mode="m", v_threshold=0.2) for _ in range(2)),
    }
    return with_forward(forward, 8.0, extra)


@network((10,), 4)
def learnt_leaks():
    torch.manual_seed(0)
    net = in_time(
        layer.Linear(10, 16),
        neuron.ParametricLIFNode(init_tau=2.7, decay_input=False, v_reset=None),
        layer.Linear(16, 16),
        neuron.ParametricLIFNode(init_tau=1.3, v_threshold=0.4, v_reset=-0.1),
        layer.Linear(16, 4),
    )
    with torch.no_grad():
        net[1].w.add_(0.37)
    return boosted(net)


@network((10,), 4)
def threshold_is_a_parameter():
    net = with_forward(lambda self, x: self.leave(self.lif(self.enter(x))))
    del net.lif.v_threshold
    net.lif.v_threshold = nn.Parameter(torch.tensor(0.6))
    return net


@network((10,), 4)
def membranes_on_the_threshold():
    torch.manual_seed(0)
    net = in_time(layer.Linear(10, 12), neuron.IFNode(), layer.Linear(12, 12), neuron.IFNode(), layer.Linear(12, 3))
    with torch.no_grad():
        for part in net:
            if isinstance(part, nn.Linear):
                part.weight.copy_((part.weight * 8).round() / 2)
                part.bias.copy_((part.bias * 8).round() / 4)
    return net.eval()


@network((10,), 4)
def left_in_training():
    """Dropout, and a norm with its own statistics; evaluation is what is captured."""
    torch.manual_seed(0)
    net = in_time(
        layer.Linear(10, 16), layer.SeqToANNContainer(nn.BatchNorm1d(16)), neuron.LIFNode(), layer.Dropout(0.5)
    )
    return boosted(nn.Sequential(net, nn.Linear(16, 4))).eval()


@network((10,), 2)
def two_steps_two_classes():
    return with_forward(lambda self, x: self.leave(self.lif(self.enter(x))).mean(0), outputs=2)


@network((10,), 4)
def another_answer_in_training():
    def forward(self, x):
        y = self.leave(self.lif(self.enter(x)))
        return y if self.training else y.mean(0)

    return with_forward(forward)


@network((32,), 4)
def spectrum_first():
    return with_forward(lambda self, x: self.leave(self.lif(self.enter(torch.fft.rfft(x).abs()))), width=17)


@network((10,), 4)
def largest_four():
    return with_forward(
        lambda self, x: self.leave(self.lif(self.enter(x).topk(4, -1)[0])).mean(0) + 0.0,
        extra={"leave": nn.Linear(4, 3)},
    )


@network((1, 13, 13), 4)
def pools_that_do_not_divide():
    def forward(self, x):
        h = self.lif(self.conv(x)).flatten(0, 1)
        h = F.avg_pool2d(h, 3, 2, 1, ceil_mode=True, count_include_pad=False)
        h = F.max_pool2d(h, 2, 1, dilation=2, ceil_mode=True) + F.adaptive_avg_pool2d(h, 5)
        return h.unflatten(0, x.shape[:2]).mean((-1, -2))

    extra = {"conv": layer.Conv2d(1, 6, 3, padding=1, padding_mode="circular", step_mode="m")}
    return with_forward(forward, extra=extra)


@network((10,), 4)
def named_arguments():
    def forward(self, x=None, scale=2.0, return_dict=True):
        y = self.leave(self.lif(scale * self.enter(x)))
        return {"logits": y} if return_dict else y

    return with_forward(forward)


@network((10,), 4)
def embedding_of_steps():
    return with_forward(
        lambda self, x: self.leave(self.lif(self.enter(x) + self.steps)),
        extra={"steps": nn.Parameter(torch.linspace(-1, 1, 48).reshape(4, 1, 12))},
    )


@network((10,), 4)
def differences_of_frames():
    return with_forward(lambda self, x: self.leave(self.lif(self.enter(torch.cat([x[:1], x[1:] - x[:-1]])))).mean(0))


@network((10,), 4)
def convolution_over_time():
    return with_forward(
        lambda self, x: self.leave(self.lif(self.conv(x.permute(1, 2, 0)).permute(2, 0, 1))),
        extra={"conv": nn.Conv1d(10, 12, 3, padding=1)},
    )


@network((10,), 4)
def attention_over_time():
    def forward(self, x):
        h = self.lif(self.enter(x))
        return self.leave(h * torch.sigmoid(h.mean(0, keepdim=True)))

    return with_forward(forward)


@network((10,), 4)
def membrane_beside_spikes():
    def forward(self, x):
        h = self.lif(self.enter(x))
        return self.leave(h) + self.lif.v.sum(-1, keepdim=True)

    return with_forward(forward)


@network((10,), 6)
def list_of_steps():
    return with_forward(lambda self, x: [self.leave(step) for step in self.lif(self.enter(x))])


class Residual(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.before, self.conv = nn.BatchNorm2d(3), nn.Conv2d(3, 8, 3, padding=1)
        self.between, self.down = nn.BatchNorm2d(8), nn.Conv2d(8, 8, 3, padding=1, stride=2)
        self.head = nn.Linear(8, 4)
        with torch.no_grad():
            self.before.bias.fill_(0.7), self.between.running_mean.normal_(), self.between.running_var.fill_(0.6)

    def forward(self, x):
        deep = self.down(F.relu(self.between(self.conv(self.before(x)))))
        return {"logits": self.head(deep.mean((2, 3))), "maps": [deep, None]}


@network((3, 16, 16), None)
def norm_before_padding_and_maps():
    return Residual().eval()


class OddOperations(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv = nn.Conv2d(3, 16, 3, padding=1, padding_mode="reflect")
        self.prelu, self.norm, self.local = nn.PReLU(16), nn.InstanceNorm2d(16, affine=True), nn.LocalResponseNorm(3)
        self.groups, self.head = nn.Conv2d(4, 8, 3, groups=2), nn.Linear(8, 6)

    def forward(self, x):
        h = self.local(self.norm(self.prelu(self.conv(x))))
        h = self.groups(F.pixel_unshuffle(F.pixel_shuffle(h, 2), 2)[:, ::4])
        h = F.lp_pool2d(F.softplus(F.mish(h)) + F.hardswish(h), 2.0, 2)
        return self.head(torch.cumsum(h.mean((2, 3)), -1).roll(1, -1))


@network((3, 16, 16), None)
def odd_operations():
    return OddOperations().eval()


class Transducer(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.encoder = nn.LSTM(12, 8, 2, batch_first=True, bidirectional=True)
        self.prediction, self.joint = nn.Parameter(torch.randn(5, 16)), nn.Linear(16, 8)

    def forward(self, x):
        h, _ = self.encoder(x)
        return self.joint(torch.tanh(h[:, :, None] + self.prediction)).log_softmax(-1)


@network((20, 12), None)
def transducer():
    return Transducer().eval()


class Dilated(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.down, self.wide = nn.Conv2d(3, 8, 3, 2, 1), nn.Conv2d(8, 8, 3, padding=2, dilation=2)
        self.classes = nn.Conv2d(8, 4, 1)

    def forward(self, x):
        h = F.relu(self.wide(F.relu(self.down(x))))
        h = self.classes(h + F.adaptive_avg_pool2d(h, 1))
        return F.interpolate(h, size=x.shape[-2:], mode="bilinear", align_corners=False)


@network((3, 31, 33), None)
def dilated_segmenter():
    return Dilated().eval()


@network((12,), None)
def signs():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b, self.c = nn.Linear(12, 32), nn.Linear(32, 32), nn.Linear(32, 3)

        def forward(self, x):
            return self.c((self.b(torch.sign(self.a(x))) > 0).to(x.dtype))

    return Net().eval()


@network((12,), None)
def fake_quantised():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(12, 16), nn.Linear(16, 3)

        def forward(self, x):
            return self.b(F.relu(torch.fake_quantize_per_tensor_affine(self.a(x), 0.05, 0, -128, 127)))

    return Net().eval()


class Words(nn.Module):
    """A vision transformer's block as model hubs write it: named inputs, a dictionary out, None among it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.patches = nn.Conv2d(3, 16, 8, 8)
        self.block = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True, norm_first=True, activation="gelu")
        self.head, self.config = nn.Linear(16, 7), {"hidden_size": 16}

    def forward(self, pixel_values=None, labels=None, output_hidden_states=False, return_dict=True):
        h = self.block(self.patches(pixel_values).flatten(2).transpose(1, 2))
        return {"loss": None, "logits": self.head(h.mean(1)), "hidden": (h,) if output_hidden_states else None}


@network((3, 32, 32), None)
def named_inputs_dictionary_out():
    return Words().eval()

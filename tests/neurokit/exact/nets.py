"""Small networks of every layer and neuron for the exact form, and ways to run them."""

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

from neurokit.capture.reference import record

STEPS = 4


def run(captured, x, dtype=torch.float32):
    """Outputs and spikes of a captured program, in any precision."""
    module = captured.program.module().to(dtype)
    for node in module.graph.nodes:
        if node.op == "call_module":
            module.graph.erase_node(node)
    module.recompile()
    outputs, records = record(module, (x.to(dtype), *(s.to(dtype) for s in captured.initial_states(x.shape[1]))))
    return outputs[0].float(), [r.spikes.to(torch.uint8) for r in records]


def fired(run_):
    return sum(int(s.sum()) for s in run_[1]) / max(1, sum(s.numel() for s in run_[1]))


def same(a, b):
    return torch.equal(a[0], b[0]) and all(torch.equal(p, q.reshape(p.shape)) for p, q in zip(a[1], b[1], strict=True))


def shuffled(captured, x, seed):
    """The same network with the input channels of its convolutions in another order: sums in another order."""
    generator = torch.Generator().manual_seed(seed)
    program = captured.program.module()
    for node in program.graph.nodes:
        if node.op == "call_module":
            program.graph.erase_node(node)
    program.recompile()

    class Shuffle(torch.fx.Interpreter):
        def __init__(self):
            super().__init__(program)
            self.spikes = []

        def call_function(self, target, args, kwargs):
            if target is torch.ops.aten.conv2d.default and (len(args) < 7 or args[6] == 1):
                order = torch.randperm(args[0].shape[1], generator=generator)
                flip = torch.flip(args[0][:, order], (-1,)), torch.flip(args[1][:, order], (-1,))
                if len(args) < 4 or args[3] in ([1], [1, 1]):
                    return torch.flip(target(*flip, *args[2:], **kwargs), (-1,))
                return target(args[0][:, order], args[1][:, order], *args[2:], **kwargs)
            result = super().call_function(target, args, kwargs)
            if str(target).startswith("neurokit."):
                self.spikes.append(result[0].to(torch.uint8))
            return result

    with torch.no_grad():
        interpreter = Shuffle()
        outputs = interpreter.run(x, *captured.initial_states(x.shape[1]))
    return outputs[0], interpreter.spikes


# --- random networks of every layer and neuron

NEURONS = {
    "if": lambda: neuron.IFNode(),
    "if soft": lambda: neuron.IFNode(v_reset=None),
    "lif": lambda: neuron.LIFNode(tau=2.0),
    "lif soft": lambda: neuron.LIFNode(tau=2.0, v_reset=None),
    "lif undecayed": lambda: neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=0.7),
    "lif rest": lambda: neuron.LIFNode(tau=2.0, v_reset=-0.3),
    "lif odd tau": lambda: neuron.LIFNode(tau=3.0),
    "plif": lambda: neuron.ParametricLIFNode(init_tau=2.5),
}
BLOCKS = (
    "conv",
    "strided",
    "depthwise",
    "separable",
    "residual",
    "spikes added",
    "max pool",
    "average pool 2",
    "average pool 3",
    "norm alone",
    "scaled",
    "product",
)


class Block(nn.Module):
    def __init__(self, kind, fire, channels):
        super().__init__()
        self.kind, c = kind, channels
        conv = lambda **k: layer.Conv2d(c, c, 3, padding=1, **k)  # noqa: E731
        self.conv = conv(stride=2) if kind == "strided" else conv(groups=c) if kind == "depthwise" else conv(bias=False)
        self.bn = layer.BatchNorm2d(c)
        if kind == "separable":
            self.conv = nn.Sequential(conv(groups=c, bias=False), layer.Conv2d(c, c, 1, bias=False))
        if kind == "max pool":
            self.bn = nn.Sequential(self.bn, layer.MaxPool2d(2))
        if kind.startswith("average"):
            self.conv = nn.Sequential(layer.AvgPool2d(int(kind[-1])), self.conv)
        if kind == "norm alone":
            self.conv = nn.Identity()
        self.second = conv() if kind in ("residual", "product") else None
        self.fire, self.again = fire(), fire()

    def forward(self, x):
        y = self.bn(self.conv(x))
        if self.kind == "scaled":
            y = y * 0.3
        if self.kind == "residual":
            return self.again(y + self.second(self.fire(y)))
        if self.kind == "product":
            return self.fire(y) * self.again(self.second(x))
        return self.fire(y) + x if self.kind == "spikes added" else self.fire(y)


class Net(nn.Module):
    def __init__(self, kinds, fire, channels=6):
        super().__init__()
        self.stem = nn.Sequential(layer.Conv2d(2, channels, 3, padding=1), layer.BatchNorm2d(channels), fire())
        self.blocks = nn.Sequential(*(Block(kind, fire, channels) for kind in kinds))
        self.fc = layer.Linear(channels, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((-2, -1))).mean(0)


def make_net(kinds, fire, seed=0):
    torch.manual_seed(seed)
    net = Net(kinds, fire).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.8, 3.0)
            nn.init.uniform_(part.bias, -0.2, 0.8)
            nn.init.uniform_(part.running_var, 0.1, 0.5)
    return net

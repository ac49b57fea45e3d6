"""A model of another distribution."""

from neurokit.spec import ModelSpec, TaskSpec, TensorSpec, register_model


def _build():
    import torch
    from spikingjelly.activation_based import layer, neuron
    from torch import nn

    class ParityNet(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.body = nn.Sequential(
                layer.Linear(6, 12, step_mode="m"),
                neuron.LIFNode(step_mode="m", v_threshold=0.3),
                layer.Linear(12, 1, step_mode="m"),
            )

        def forward(self, x):
            return self.body(x).mean(0)

    return ParityNet().eval()


@register_model
def parity_net() -> ModelSpec:
    """A hidden layer of spikes, and one number whose sign is the answer."""
    return ModelSpec(
        "parity_net",
        _build,
        (TensorSpec("x", (6,), layout="F"),),
        time_steps=4,
        task=TaskSpec("sign"),
        description="a hidden layer of spikes",
    )

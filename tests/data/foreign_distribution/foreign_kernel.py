"""A kernel of another distribution, here without a fused form: what is asked of it is the contract."""

import torch

from neurokit.kernels._compat import register_op
from neurokit.kernels.contract import Cost, Example, GradientCase, Kernel, nbytes, normal, register_kernel


def _fake(x, high):
    return torch.empty_like(x)


def _forward(x: torch.Tensor, high: float) -> torch.Tensor:
    return x.clamp(0.0, high).clone()


op = register_op("clipped", _fake)(_forward)


def _setup(ctx, inputs, output):
    x, ctx.high = inputs
    ctx.save_for_backward(x)


def _backward(ctx, grad):
    (x,) = ctx.saved_tensors
    return grad * ((x > 0) & (x < ctx.high)), None


torch.library.register_autograd("neurokit_kernels::clipped", _backward, setup_context=_setup)


def clipped(x, high=1.0):
    """Limits values to 0 and `high`."""
    return torch.ops.neurokit_kernels.clipped(x, high)


def examples(device, dtype):
    """Yields calls."""
    for shape in ((5,), (3, 33), (2, 0, 4)):
        yield Example(f"{shape}", (normal(*shape, device=device, dtype=dtype),), {"high": 0.5})


def gradients(device):
    """Yields a gradient case."""
    yield GradientCase(
        "clip",
        (normal(4, 33, device=device),),
        lambda x: (clipped(x, 0.5),),
        lambda x: (torch.minimum(torch.relu(x), torch.tensor(0.5, dtype=x.dtype)),),
    )


register_kernel(
    Kernel(
        name="clipped",
        summary="values limited to 0 and a largest one",
        function=clipped,
        op="clipped",
        examples=examples,
        op_examples=lambda device: iter([(normal(4, 33, device=device), 0.5)]),
        cost=lambda example: Cost(2 * nbytes(example.args[0])),
        gradients=gradients,
        workloads=lambda device: examples(device, torch.float16),
    )
)

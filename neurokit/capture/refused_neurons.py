"""Which neurons cannot be captured, or not with what they are given, and why."""

from __future__ import annotations

from spikingjelly.activation_based import encoding, neuron
from torch import Tensor, nn

from neurokit.capture.legacy import never_called
from neurokit.capture.neurons import NOISY
from neurokit.errors import Unsupported

_IMAGES = 5  # axes of [T, B, C, H, W]


def refuse(path: str, module: nn.Module) -> Unsupported | None:
    """Returns why a module cannot be captured, or None."""
    kind = type(module).__name__
    silent = never_called(module)
    if silent:
        fix = "derive it from neuron.SimpleBaseNode or BaseNode with all its equations, or take the methods out"
        return Unsupported(path, kind, silent, fix)
    if isinstance(module, NOISY):
        return Unsupported(path, kind, "it draws random noise at inference", "use its noise-free counterpart")
    if isinstance(module, encoding.StatefulEncoder):
        why = "it takes its first input for the spikes of all steps, whatever comes after"
        return Unsupported(path, kind, why, "give the model the spikes [T, B, ...] themselves")
    if isinstance(module, neuron.MaskedPSN) and float(module.lambda_) < 1.0 and module.step_mode == "s":
        return Unsupported(path, kind, "its mask is not fully applied (lambda < 1)", "set lambda_ = 1.0 after training")
    if isinstance(module, neuron.FlexSN) and not callable(getattr(module, "core", None)):
        return Unsupported(path, kind, "it has no core function", "give it one")
    if getattr(module, "_neuron_precision", None) is not None:
        return Unsupported(
            path, kind, "its state is stored in mixed precision", "remove the precision policy before capturing"
        )
    return None


def refuse_input(path: str, module: nn.Module, x: Tensor) -> Unsupported | None:
    """Returns why a module cannot be given an input, or None.

    SpikingJelly's GatedLIFNode has gates `[1, C, 1, 1]`, which give anything but images further axes.
    """
    if not isinstance(module, neuron.GatedLIFNode) or x.dim() == _IMAGES:
        return None
    why = f"its gates are [1, C, 1, 1]: they would give its input {list(x.shape)} further axes"
    return Unsupported(path, type(module).__name__, why, "give it [T, B, C, H, W]: x.unflatten(-1, (C, 1, 1))")

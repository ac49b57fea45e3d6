"""Whether figures would be of the network that is meant: random weights and generated input say nothing of it."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from neurokit.pretrained import PARTLY
from neurokit.spec import MODELS, ModelSpec

if TYPE_CHECKING:
    from torch import nn

RANDOM_WEIGHTS = "the weights are random: no weights file was given, and activity and energy are of no trained network"
GENERATED_INPUT = "the input is generated, no real sample: activity and energy are of no real use"


def digest_of(module: nn.Module) -> str:
    """Returns a sum over everything that a module holds: parameters, buffers, and the text of its structure."""
    import torch

    total = hashlib.sha256(str(module).encode())
    for name, tensor in sorted(module.state_dict().items()):
        total.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        total.update(tensor.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def has_random_weights(spec: ModelSpec, module: nn.Module | None = None) -> bool:
    """Returns whether a model's weights come from a random generator, as far as that shows.

    A model of the zoo without a weights file is untrained. Of any other without one, two modules that its factory makes
    are compared: if they differ, the factory draws its weights. A factory that sets a seed of its own is not seen
    through.

    Args:
        spec: The model.
        module: One that was built of it already.
    """
    if "weights" in spec.options:
        return spec.options["weights"] == PARTLY
    if spec.name in MODELS.names() and MODELS.get(spec.name)().source == spec.source:
        return True
    first = digest_of(spec.build() if module is None else module)
    return first != digest_of(spec.build())

"""Whether figures would be of the network that is meant: random weights and generated input say nothing of it."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from neurokit.data.kinds import IMAGES, kind_of
from neurokit.preprocess import described
from neurokit.pretrained import PARTLY
from neurokit.spec import MODELS, ModelSpec

if TYPE_CHECKING:
    from torch import nn

    from neurokit.data.found import Found

RANDOM_WEIGHTS = "the weights are random: no weights file was given, and activity and energy are of no trained network"
GENERATED_INPUT = "the input is generated, no real sample: activity and energy are of no real use"


def undeclared_pixels(spec: ModelSpec, found: Found) -> str:
    """Returns what to say of pictures for a model that does not say how it takes them, or "".

    A model of the zoo declares its input; of another one neurokit knows the range of the input alone.

    Args:
        spec: The model.
        found: The samples that it is given.
    """
    if spec.preprocess or "preprocess_in_graph" in spec.options or spec.name in MODELS.names():
        return ""
    if spec.task is not None and {"mean", "std"} & set(spec.task.settings):
        return ""
    first = found.items[0].value
    if not (hasattr(first, "convert") or (isinstance(first, Path) and kind_of(first) in IMAGES)):
        return ""
    port = spec.inputs[0]
    return (
        f"pictures are resized and scaled to {port.low:g} to {port.high:g}, as no preprocessing is declared: accuracy, "
        "spikes and energy are other ones if the model was trained on cropped or normalised ones; --preprocess FILE"
    )


def preprocessing_said(spec: ModelSpec) -> str:
    """Returns one line of what is declared to be done to a sample before the model takes it, or ""."""
    inside = str(spec.options.get("preprocess_in_graph", ""))
    parts = [described(spec.preprocess)] if spec.preprocess else []
    parts += [f"in the graph: {inside}"] if inside else []
    return "preprocessing: " + "; ".join(parts) if parts else ""


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
    made = MODELS.registered(spec.name)  # whoever holds a model of the zoo has imported what registers it
    if made is not None and made().source == spec.source:
        return True
    first = digest_of(spec.build() if module is None else module)
    return first != digest_of(spec.build())

"""Weights that are there already: torchvision's for ImageNet under a head of one's own, and those in this package."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import WeightsError

if TYPE_CHECKING:
    from torch import nn

_COUNTER = "num_batches_tracked"  # older files have none, and nothing reads it


def load_torchvision(network: nn.Module, name: str) -> None:
    """Puts torchvision's best weights for ImageNet into a network of its own with another number of classes.

    What depends on the number of classes, the last layer, stays as it is. torchvision's own loader reads the weights:
    from its cache where they are there, else from its server.

    Args:
        network: The network, changed in place.
        name: Its name in torchvision.

    Raises:
        WeightsError: If they are not here and cannot be fetched, are damaged, or belong to another network.
    """
    import torch
    from torchvision.models import get_model, get_model_weights

    published = get_model_weights(name).DEFAULT
    try:
        with contextlib.redirect_stdout(sys.stderr):  # it says there that it downloads
            source: Any = get_model(name, weights=published)
    except Exception as error:  # of the network, of the disk, of a damaged file: torch has a dozen
        place = Path(torch.hub.get_dir()) / "checkpoints" / published.url.rpartition("/")[2]
        raise WeightsError(
            f"torchvision's weights of {name} cannot be had: {' '.join(str(error).split())[:200]}",
            expected=f"a network connection, or the file in {place}",
            fix="give --weights FILE, or train from nothing with --recipe scratch",
        ) from error
    given, own = source.state_dict(), network.state_dict()
    fitting = {key: value for key, value in given.items() if key in own and value.shape == own[key].shape}
    missing = [key for key in own if key not in fitting and not key.endswith(_COUNTER)]
    layers = {key.rpartition(".")[0] for key in missing}
    if len(layers) > 1:
        raise WeightsError(f"torchvision's weights of {name} do not fit: {', '.join(sorted(layers)[:3])}")
    network.load_state_dict(fitting, strict=False)
    if hasattr(source, "transform_input"):  # these were trained on another normalisation of the input
        network.transform_input = source.transform_input


def load_shipped(module: nn.Module, path: Path) -> None:
    """Puts the weights of a file of this package, kept as float16, into a module, changed in place.

    Raises:
        WeightsError: If they are not there or do not fit.
    """
    from safetensors.torch import load_file

    try:
        module.load_state_dict(load_file(path))
    except (OSError, RuntimeError) as error:
        raise WeightsError(f"{path} does not hold this model's weights", fix="install the package again") from error

"""Whether a training may go on from an earlier one's checkpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from neurokit.errors import InputError, NeurokitError
from neurokit.plain import check_regular
from neurokit.training.recipe import Recipe

_FIX = "train from the start (--force), or go on from another checkpoint"


def check_resumable(checkpoint: Path, recipe: Recipe, seed: int, preprocess: str = "") -> None:
    """Refuses to go on with other settings, or where nothing is left to do.

    More epochs may be asked for, unless the schedule is made for their number.

    Raises:
        InputError: As said, or if the file is no checkpoint of a training.
    """
    import torch

    from neurokit.training.lightning_module import NOTE

    try:
        with check_regular(checkpoint).open("rb") as file:
            content = torch.load(file, map_location="cpu", weights_only=True)
        noted, epoch = {"preprocess": "", **content[NOTE]}, int(content["epoch"])
        if not all(isinstance(value, str | int | float) for value in noted.values()):
            raise TypeError("settings are text and numbers")
    except Exception as error:  # torch has a dozen for a damaged file
        raise InputError(
            f"{checkpoint} is no checkpoint to go on from: {type(error).__name__}", expected="one that training wrote"
        ) from error
    now = {**asdict(recipe), "seed": seed, "preprocess": preprocess}
    free = {"name"} | ({"epochs"} if recipe.schedule == "step" else set())
    for name, value in now.items():
        if name not in free and noted.get(name) != value:
            raise InputError(
                f"{name} is {value!r}, and the training in {checkpoint.parent} has {noted.get(name)!r}",
                expected="the same settings",
                fix=f"give {name} {noted.get(name)}, or begin again",
            )
    if epoch + 1 >= recipe.epochs:
        raise InputError(f"{checkpoint.parent} holds all of {recipe.epochs} epochs", expected="more epochs to do")


def cannot_go_on(checkpoint: object, why: str) -> InputError:
    """Returns the error that tells why a training cannot go on from a checkpoint."""
    return InputError(f"{checkpoint} is no checkpoint to go on from: {why}", expected="what training wrote", fix=_FIX)


@contextmanager
def restoring(checkpoint: Path | None, at_it: Callable[[], bool]) -> Iterator[None]:
    """Tells what Lightning raises while it restores a checkpoint as the checkpoint's fault.

    Args:
        checkpoint: The checkpoint; None for a training from the start, whose errors are left alone.
        at_it: Returns whether it is being restored.

    Raises:
        InputError: If what the checkpoint holds cannot be restored.
    """
    import torch

    try:
        yield
    except (NeurokitError, OSError, MemoryError, torch.OutOfMemoryError):  # these are not of its content
        raise
    except Exception as error:  # Lightning and torch check little, and raise what they run into
        if checkpoint is None or not at_it():
            raise
        raise cannot_go_on(checkpoint, f"{type(error).__name__} while it was restored") from error

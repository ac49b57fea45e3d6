"""Whether a training may go on from an earlier one's checkpoint."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

from neurokit.errors import InputError
from neurokit.plain import check_regular
from neurokit.training.recipe import Recipe


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

"""How a network is trained: optimiser, schedule, epochs and augmentations, as named recipes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from neurokit.errors import InputError

Augmentation = Literal["published", "strong", "none"]


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        name: Name of the recipe it began with.
        epochs: Passes over the training images.
        batch: Images a step, on each device.
        optimiser: "sgd" or "adamw".
        lr: Learning rate at the start ("step") or at its highest ("onecycle").
        momentum: Of SGD.
        weight_decay: Of the optimiser.
        schedule: "step": the rate is multiplied by `gamma` every `step_epochs` epochs. "onecycle": it rises over the
            first 0.3 of all steps and falls to nothing (Smith and Topin, 2019).
        step_epochs: See `schedule`.
        gamma: See `schedule`.
        label_smoothing: Share of the target that is spread over all classes, 0 to 1.
        augmentation: "published" (HaSPeR's), "strong" or "none"; see `neurokit.training.augment`.
    """

    name: str = "published"
    epochs: int = 50
    batch: int = 8
    optimiser: Literal["sgd", "adamw"] = "sgd"
    lr: float = 1e-3
    momentum: float = 0.9
    weight_decay: float = 0.0
    schedule: Literal["step", "onecycle"] = "step"
    step_epochs: int = 5
    gamma: float = 0.1
    label_smoothing: float = 0.0
    augmentation: Augmentation = "published"

    def __post_init__(self) -> None:
        for name, low, high in _WHOLE:
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
                raise InputError(f"{name} is {value!r}", expected=f"a whole number from {low} to {high}")
        for name, lowest, highest in _NUMBERS:
            value = getattr(self, name)
            number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not number or not lowest <= value <= highest:
                raise InputError(f"{name} is {value!r}", expected=f"a number from {lowest:g} to {highest:g}")
        for name, known in _CHOICES.items():
            if getattr(self, name) not in known:
                raise InputError(f"{name} is {getattr(self, name)!r}", expected=" or ".join(known))


_WHOLE = (("epochs", 1, 100_000), ("batch", 1, 65_536), ("step_epochs", 1, 100_000))
_NUMBERS = (
    ("lr", 1e-12, 100.0),
    ("momentum", 0.0, 1.0),
    ("weight_decay", 0.0, 10.0),
    ("gamma", 0.0, 1.0),
    ("label_smoothing", 0.0, 1.0),
)
_CHOICES = {
    "optimiser": ("sgd", "adamw"),
    "schedule": ("step", "onecycle"),
    "augmentation": ("published", "strong", "none"),
}

RECIPES = {
    # HaSPeR's public notebook; meant for networks that begin with ImageNet's weights.
    "published": Recipe(),
    # For networks that begin with nothing, on small pictures.
    "scratch": Recipe(
        name="scratch",
        epochs=24,
        batch=64,
        optimiser="adamw",
        lr=4e-3,
        weight_decay=0.02,
        schedule="onecycle",
        label_smoothing=0.05,
        augmentation="strong",
    ),
}


def recipe_of(name: str | Recipe, changes: Mapping[str, Any] | None = None) -> Recipe:
    """Returns a recipe by name, with some of its settings changed.

    Args:
        name: "published", "scratch", or a recipe.
        changes: Settings by name; those that are None are left.

    Raises:
        InputError: If there is no such recipe or setting, or a value is out of range.
    """
    if not isinstance(name, Recipe) and name not in RECIPES:
        raise InputError(f"there is no recipe {name!r}", expected=" or ".join(RECIPES))
    recipe = name if isinstance(name, Recipe) else RECIPES[name]
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    unknown = sorted(set(given) - {field.name for field in fields(Recipe)} | ({"name"} & set(given)))
    if unknown:
        raise InputError(
            f"a recipe has no setting {unknown[0]!r}",
            expected=", ".join(field.name for field in fields(Recipe) if field.name != "name"),
        )
    return replace(recipe, **given)

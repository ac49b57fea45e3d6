"""What public functions take in place of a thing itself: a name for a model, a spec for a capture, one for several."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec
from neurokit.stages import stage

if TYPE_CHECKING:
    pass


def as_model(model: Any) -> Any:
    """Returns the spec of a model given as a name or a path (`neurokit.load`); anything else as it is."""
    if isinstance(model, str | Path):
        from neurokit.loading import load

        return load(str(model))
    return model


def with_free_batch(make: Callable[..., Any], batch: Any) -> Any:
    """Returns what is made of a free batch, or, of a model that has none, of the batch size that was asked for.

    What follows a capture, such as calibration, runs batches of its own sizes where it can.

    Args:
        make: Captures; takes the batch size by keyword where there is one.
        batch: The size, or anything else where none was asked for.

    Raises:
        UnsupportedError: As `make` does.
    """
    try:
        return make()
    except UnsupportedError:
        if not isinstance(batch, int):
            raise
        return make(batch=batch)


def as_captured(model: Any, check: Callable[[ModelSpec], None], batch: Any = None, *, exact: bool = False) -> Any:
    """Returns a captured model or an exact form as it is, and captures a spec, or what `neurokit.load` takes.

    Args:
        model: What the caller of a public function gave.
        check: Refuses a spec that the work after the capture cannot take, before the capture's time is spent.
        batch: The batch size that a model is captured with where its batch cannot be free.
        exact: Whether its exact form is made of it, in which branches are merged: it is traced with merged ones then.

    Raises:
        InputError: If it is none of these.
    """
    model = as_model(model)
    if isinstance(model, ModelSpec):
        from neurokit.capture import capture

        check(model)
        merge = exact or model.exact_bits is not None
        with stage("capture"):
            return with_free_batch(lambda **size: capture(model, merge=merge, compare=True, **size), batch)
    if hasattr(model, "whole_spec") or hasattr(model, "source"):  # `Captured` and `Exact` come with torch
        return model
    raise InputError(
        f"a {type(model).__name__} was given as the model",
        expected="a captured model, its exact form, a ModelSpec, or a name that neurokit.load takes",
        fix="neurokit.capture(module, example_inputs)",
    )


def as_several(given: Any) -> list[Any]:
    """Returns the things that were given, where one alone may be given without a list around it."""
    single = isinstance(given, str | Path) or not isinstance(given, Iterable)
    return [given] if single else list(given)

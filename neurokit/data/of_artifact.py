"""What the reader of data needs to know of a model, from the manifest of its artifact alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from neurokit.dims import Dim
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.feeds import dim_of, given_ports, lead_axes, ports_of
from neurokit.spec import ModelSpec, PreprocessStep, TaskSpec, TensorSpec

_FREE_STEPS = 4  # into how many frames events are counted where an artifact takes any number of steps


def spec_of(manifest: Any) -> tuple[ModelSpec, int | None]:
    """Returns a specification with the inputs and the task of an artifact, and its T.

    Args:
        manifest: The artifact's manifest.

    Raises:
        UnsupportedError: From `build`, as an artifact does not hold its module.
    """
    ports = given_ports(ports_of(manifest))  # files hold no random draws
    task = manifest.task
    time_input = "image" if manifest.target_info.get("time_input") == "image" else "sequence"
    timed = manifest.time_steps is not None
    steps = None if not timed else manifest.time_steps if isinstance(manifest.time_steps, int) else _FREE_STEPS
    spec = ModelSpec(
        manifest.model.name,
        _none,
        tuple(port_spec(port) for port in ports),
        time_steps=steps,
        time_input=time_input,  # type: ignore[arg-type]
        task=TaskSpec(task.name, dict(task.settings)) if task is not None else None,
        preprocess=tuple(PreprocessStep(step.name, dict(step.settings)) for step in manifest.preprocess),
    )
    return spec, steps


def port_spec(info: Any, dims: Mapping[str, Any] | None = None) -> TensorSpec:
    """Returns an input of a manifest as a specification has it: without batch and time.

    Args:
        info: The input.
        dims: Bounds of free axes by name, where they are to be known.
    """
    lead = lead_axes(info)
    low, high = (getattr(info, name, None) for name in ("low", "high"))
    layout = getattr(info, "layout", "")
    return TensorSpec(
        info.name,
        tuple(_bounded(size, dims or {}) for size in info.shape[lead:]),
        info.dtype,
        layout[lead:],
        0.0 if low is None else low,
        1.0 if high is None else high,
    )


def _bounded(size: int | str, dims: Mapping[str, Any]) -> int | str | Dim:
    """Returns a size with the bounds of its axis, where it is one that is known."""
    return dim_of(size, dims[size]) if isinstance(size, str) and size in dims else size


def _none() -> Any:
    raise UnsupportedError("an artifact does not hold its module", [Unsupported("", "build", "no module", "load it")])

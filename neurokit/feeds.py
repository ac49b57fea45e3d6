"""Inputs and outputs of a runner by name: the one-array call, and checks that name what does not fit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from neurokit.dims import BATCH, Dim, evaluate, solve
from neurokit.errors import InputError
from neurokit.over_time import first_is_a_sequence

Feeds = Mapping[str, np.ndarray]
Outputs = dict[str, np.ndarray]


def call_by_name(run: Callable[[Feeds], Outputs], given: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Any:
    """Runs with named inputs, or with one array where there is one input and one output.

    Args:
        run: Takes inputs by name and returns outputs by name.
        given: A mapping of names to arrays, or one array.
        inputs: Names of the inputs.
        outputs: Names of the outputs, or () where they are known only after the run.

    Returns:
        A mapping for a mapping, an array for an array.

    Raises:
        InputError: If one array was given, and there are several inputs or outputs.
    """
    if isinstance(given, Mapping):
        return run(given)
    feed = "{" + ", ".join(f"{name!r}: ..." for name in inputs) + "}"
    if len(inputs) > 1:
        raise InputError(
            f"one {type(given).__name__} was given, and there are {len(inputs)} inputs: {', '.join(inputs)}",
            expected="inputs by name",
            fix=f"runner({feed})",
        )
    found = {} if len(outputs) > 1 else run({inputs[0]: given})
    names = outputs if len(outputs) > 1 else tuple(found)
    if len(names) > 1:
        raise InputError(
            f"one array gives one array, and there are {len(names)} outputs: {', '.join(names)}",
            expected="inputs by name, which give outputs by name",
            fix=f"runner({feed})",
        )
    return found[names[0]]


def named_inputs(given: Any, names: Sequence[str]) -> dict[str, Any]:
    """Returns data of a model's inputs by name: a mapping as it is, or one array of the one input.

    Raises:
        InputError: If there are several inputs and one array, or a name is missing or unknown.
    """
    if not isinstance(given, Mapping):
        if len(names) > 1:
            raise InputError(
                f"data of one input were given, and there are {len(names)}: {', '.join(names)}",
                expected="data of every input by its name",
                fix="a mapping of names to arrays, or an .npz file that holds them",
            )
        return {names[0]: given}
    wrong = sorted(set(given) ^ set(names))
    if wrong:
        what = f"there is no input {wrong[0]!r}" if wrong[0] in given else f"data of input {wrong[0]!r} are missing"
        raise InputError(what, expected="the inputs " + ", ".join(names))
    return dict(given)


def distribution_of(port: Any) -> str:
    """Returns what a port is drawn from, "" for none; manifests of older versions know no such thing."""
    return str(getattr(port, "distribution", ""))


def ports_of(manifest: Any) -> list[Any]:
    """Returns every input of an artifact's graphs once, in order: what no other graph passes on, random draws included.

    Args:
        manifest: The artifact's manifest, as this package or a pack on a device reads it.
    """
    found = [port for graph in manifest.graphs for port in graph.inputs if not getattr(port, "source", "")]
    return list({port.name: port for port in found}.values())


def lead_axes(port: Any) -> int:
    """Returns how many axes stand before a port's own: the batch, and time where it has a time axis."""
    return 1 if port.time_axis is None else 2


def outputs_over_time(manifest: Any) -> bool:
    """Returns whether an artifact's first output is `[T, B, ...]`, of which tasks read the mean over time."""
    return manifest.time_steps is not None and first_is_a_sequence(manifest.target_info.get("time_output", ""))


def given_ports(ports: Sequence[Any]) -> list[Any]:
    """Returns the ports that a caller has to give: all but random draws."""
    return [port for port in ports if not distribution_of(port)]


def with_draws(feeds: Feeds, ports: Sequence[Any], stream: np.random.Generator) -> Feeds:
    """Adds the random draws that were not given, in the order of the ports.

    Args:
        feeds: Inputs by name.
        ports: The inputs as a manifest lists them (name, shape, dtype, distribution).
        stream: Where they are drawn from.
    """
    missing = [port for port in ports if distribution_of(port) and port.name not in feeds]
    if not missing:
        return feeds
    given = [port for port in ports if port.name in feeds and isinstance(feeds[port.name], np.ndarray)]
    sizes = solve([(port.name, tuple(port.shape), feeds[port.name].shape) for port in given], {})
    made = {port.name: draw(port, [evaluate(size, sizes) for size in port.shape], stream) for port in missing}
    return {**feeds, **made}


def whole_ports(ports: Sequence[Any], steps: int) -> list[Any]:
    """Returns the inputs of a step form as a whole run of a repeated image has them: `[B, ...]`, draws `[B, T, ...]`.

    Args:
        ports: The inputs of one step as a manifest lists them; a draw is `[B, 1, ...]`.
        steps: T.
    """
    return [
        SimpleNamespace(
            name=port.name,
            shape=(port.shape[0], steps, *port.shape[2:]),
            dtype=port.dtype,
            time_axis=None,
            distribution=distribution_of(port),
        )
        if distribution_of(port)
        else port
        for port in ports
    ]


def repeated(feeds: Feeds, ports: Sequence[Any], steps: int) -> Outputs:
    """Returns what every step of a repeated image is given, `[T, ...]`: the image again, and draws of its own.

    Args:
        feeds: The image `[B, ...]`, and draws `[B, T, ...]`, by name.
        ports: The inputs of one step as a manifest lists them.
        steps: T.
    """
    drawn = {port.name for port in ports if distribution_of(port)}
    return {
        name: np.swapaxes(x, 0, 1)[:, :, None] if name in drawn else np.broadcast_to(x, (steps, *x.shape))
        for name, x in feeds.items()
    }


def draw(port: Any, shape: Sequence[int], stream: np.random.Generator) -> np.ndarray:
    """Returns one random draw of a port: standard normal, or uniform in [0, 1)."""
    normal = distribution_of(port) == "normal"
    value = stream.standard_normal(shape) if normal else stream.random(shape, dtype=np.float32)
    return np.asarray(value, port.dtype)


def check_feeds(
    feeds: Feeds, ports: Sequence[Any], known: Mapping[str, int] | None = None, dims: Mapping[str, Any] | None = None
) -> dict[str, int]:
    """Refuses feeds that a runtime would refuse with a worse message.

    Args:
        feeds: Inputs by name.
        ports: The inputs as a manifest lists them (name, shape, dtype).
        known: Sizes of free axes that are known already, as of the streams of a state.
        dims: Bounds of free axes by name (min, max, multiple).

    Returns:
        The size of every free axis.

    Raises:
        InputError: If an input is missing, unknown, or of another shape or dtype.
    """
    names = [port.name for port in ports]
    wrong = sorted(set(feeds) ^ set(names))
    if wrong:
        what = f"there is no input {wrong[0]!r}" if wrong[0] in feeds else f"input {wrong[0]!r} is missing"
        raise InputError(what, expected="the inputs " + ", ".join(names))
    for port in ports:
        if not _fits(feeds[port.name], port):
            raise _misfit(feeds[port.name], port, "the input" if len(ports) == 1 else f"the input {port.name!r}")
    sizes = solve([(port.name, tuple(port.shape), feeds[port.name].shape) for port in ports], known or {})
    for name, bounds in (dims or {}).items():
        if name in sizes and (why := dim_of(name, bounds).refusal(sizes[name])):
            raise InputError(f"the size {why}", expected="a size that the model was exported for")
    return sizes


def check_padding(ids: np.ndarray, padding: int, begun: np.ndarray) -> np.ndarray:
    """Refuses padding behind a token: it would be an entry that every later token sees as a gap.

    Args:
        ids: New tokens `[B, S]`.
        padding: What stands for no token.
        begun: Which texts have had a token in an earlier call, bool `[B]`.

    Returns:
        Which texts have had a token after this call.

    Raises:
        InputError: Names the first text with padding behind a token.
    """
    real = ids != padding
    before = np.logical_or.accumulate(np.concatenate([begun[:, None], real], 1), 1)[:, :-1]
    wrong = np.flatnonzero((before & ~real).any(1))
    if wrong.size:
        raise InputError(f"text {wrong[0] + 1} has padding behind a token", expected="padding on the left alone")
    return begun | real.any(1)


def check_growth(states: Sequence[Any], sizes: Mapping[str, int], dims: Mapping[str, Any]) -> None:
    """Refuses a call after which a state would be longer than its axis may be.

    Args:
        states: States as a manifest lists them (shape, next_shape).
        sizes: Sizes of all free axes in this call.
        dims: Bounds of free axes by name (min, max, multiple).

    Raises:
        InputError: Names the axis and both sizes.
    """
    for state in states:
        for axis, grown in zip(state.shape, state.next_shape, strict=False):
            if not isinstance(axis, str) or axis not in dims or axis == grown:
                continue
            after, most = evaluate(grown, sizes), dim_of(axis, dims[axis]).max
            if most is not None and after > most:
                raise InputError(
                    f"state {state.name!r} has {axis} = {sizes[axis]} and would have {after} after this call",
                    expected=f"at most {most}",
                    fix="runner.reset(), or fewer at a time",
                )


def _fits(value: Any, port: Any) -> bool:
    """Whether an array has the dtype, the number of axes and the fixed sizes of a port."""
    if not isinstance(value, np.ndarray) or str(value.dtype) != port.dtype or value.ndim != len(port.shape):
        return False
    return all(isinstance(w, str) or w == size for w, size in zip(port.shape, value.shape, strict=True))


def _misfit(value: Any, port: Any, label: str) -> InputError:
    got = f"{list(value.shape)} {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    wanted = f"[{', '.join(map(str, port.shape))}] {port.dtype}"
    return InputError(f"{label} is {got}", expected=wanted, fix="reshape or cast it")


def dim_of(name: str, bounds: Any) -> Dim:
    """Returns a free axis by its bounds, which a manifest or a device has as attributes or by key."""
    get = bounds.get if isinstance(bounds, Mapping) else lambda key, default: getattr(bounds, key, default)
    # An empty batch is an answer, too: an empty one.
    return Dim(name, 0 if name == BATCH else get("min", 1), get("max", None), get("multiple", 1))


def stream_of(seed: int) -> np.random.Generator:
    """Returns the stream that random inputs are drawn from.

    Raises:
        InputError: If the seed is no whole number of 0 or more.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"seed is {seed!r}", expected="a whole number of 0 or more")
    return np.random.default_rng(seed)

"""Runs a user's own module as its user calls it: in its own library, from rest, whole or one step a call."""

from __future__ import annotations

import copy
import random
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from spikingjelly.activation_based import base
from torch import Tensor, nn

from neurokit.capture.attribute_parts import anew
from neurokit.capture.cells import REST, call_with_state, hands_on_state, library_of, output_and_state, states_handed
from neurokit.capture.hooks import foreign_hooks, private_hooks
from neurokit.capture.legacy import modernised
from neurokit.capture.ordinary import ordinary_copy
from neurokit.capture.resets import acting_on
from neurokit.capture.twin import flatten_outputs
from neurokit.errors import ModelLoadError

# What nn.Module and SpikingJelly's memories keep for themselves.
_INTERNAL = frozenset(vars(nn.Module())) | frozenset(vars(base.MemoryModule())) | {"v_seq", "training"}


@dataclass
class Run:
    """What one run gave.

    Attributes:
        outputs: The outputs; of one step a call, stacked.
        spikes: What each neuron that was asked for gave, `[T, B, ...]`, by module path.
        changed: Names of the attributes and buffers, other than neurons' memories, that running changed.
        written: Paths of the neurons whose memory the module's own code wrote.
        at_once: Path and shape of what neurons that take one step a call were given, first call each.
    """

    outputs: tuple[Tensor, ...]
    spikes: dict[str, Tensor] = field(default_factory=dict)
    changed: tuple[str, ...] = ()
    written: tuple[str, ...] = ()
    at_once: dict[str, tuple[int, ...]] = field(default_factory=dict)


def untouched(module: nn.Module) -> nn.Module:
    """Returns a copy of a user's module with its hooks, at rest, in evaluation mode, on the CPU.

    Raises:
        ModelLoadError: If it cannot be copied.
    """
    memo: dict[int, Any] = {}
    try:
        made = ordinary_copy(module, memo)
    except Exception as error:
        raise ModelLoadError(f"the module cannot be copied: {type(error).__name__}: {error}") from error
    private_hooks(made, memo)
    made = modernised(made).cpu().eval()
    for part in made.modules():
        if getattr(part, "backend", "torch") in ("cupy", "triton", "inductor"):
            part.backend = "torch"  # type: ignore[assignment]
    return rest(made)


def rest(module: nn.Module) -> nn.Module:
    """Brings every neuron of a module to rest, as its own library does."""
    for part in module.modules():
        for name, value in vars(part).get(REST, {}).items():  # a membrane by hand
            setattr(part, name, anew(value))
        home = library_of(part)  # also of classes derived from theirs
        if isinstance(part, base.MemoryModule) or (not home and callable(getattr(part, "reset", None))):
            part.reset()  # type: ignore[operator]
        elif home == "snntorch" and callable(getattr(part, "reset_mem", None)) and getattr(part, "init_hidden", False):
            part.reset_mem()  # type: ignore[operator]
    return module


def run(module: nn.Module, x: Tensor, *, stepwise: bool, paths: Sequence[str] = (), seed: int = 0) -> Run:
    """Runs a copy of a module from rest; the module itself stays as it is.

    Args:
        module: The module, from `untouched`.
        x: Its input, `[T, B, *shape]` or `[B, *shape]`.
        stepwise: Whether it is called once a step.
        paths: Module paths of the neurons whose spikes are kept.
        seed: What random numbers are drawn from during the run; the caller's generators stay as they are.
    """
    hooked = any(True for _ in foreign_hooks(module))  # a hook may write weights
    shared = {} if hooked else {id(weight): weight for weight in module.parameters()}
    return run_here(copy.deepcopy(module, shared), x, stepwise=stepwise, paths=paths, seed=seed)


def run_here(module: nn.Module, x: Tensor, *, stepwise: bool, paths: Sequence[str] = (), seed: int = 0) -> Run:
    """Runs a module itself, from the state it is in; arguments as for `run`."""
    before = snapshot(module)
    watch = _Watch(module, paths)
    try:
        with torch.no_grad(), own_random_numbers(seed), acting_on(module):
            outputs = _stepped(module, x) if stepwise else flatten_outputs(_at_once(module, x))
    finally:
        watch.remove()
    changed = tuple(name for name, value in _held(module) if not _same(before.get(name), value))
    return Run(outputs, watch.spikes(), changed, tuple(watch.written), watch.at_once)


def _at_once(module: nn.Module, x: Tensor) -> Any:
    """Calls a module with the whole input; the state that norse's return beside their answer is left out."""
    made = module(x)
    return output_and_state(made)[0] if hands_on_state(module) else made


def _stepped(module: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """Calls a module once a step; one that takes and returns its state is handed it every time."""
    hands_on = hands_on_state(module)
    state, steps = None, []
    for x_t in x:
        if hands_on:
            y, state = output_and_state(call_with_state(module, x_t, state), states_handed(module))
        else:
            y = module(x_t)
        steps.append(flatten_outputs(y))
    return tuple(torch.stack(values) for values in zip(*steps, strict=True))


class _Watch:
    """Keeps what neurons give, and notes where code outside of a neuron wrote its memory."""

    def __init__(self, module: nn.Module, paths: Sequence[str]) -> None:
        self.given: dict[str, list[Tensor]] = {}
        self.written: list[str] = []
        self.at_once: dict[str, tuple[int, ...]] = {}
        self._left: dict[str, dict[str, Any]] = {}
        self._handles: list[Any] = []
        for path, part in module.named_modules():
            if _takes_one_step(part):
                self._handles.append(part.register_forward_pre_hook(self._shape(path)))
            if isinstance(part, base.MemoryModule):
                self._left[path] = dict(part._memories)
                self._handles.append(part.register_forward_pre_hook(self._before(path)))
                self._handles.append(part.register_forward_hook(self._after(path, path in paths), prepend=True))

    def _shape(self, path: str) -> Any:
        def look(_part: Any, inputs: Any) -> None:
            if inputs and isinstance(inputs[0], Tensor):
                self.at_once.setdefault(path, tuple(inputs[0].shape))

        return look

    def _before(self, path: str) -> Any:
        def look(part: Any, _inputs: Any) -> None:
            self._compare(path, part)

        return look

    def _after(self, path: str, keep: bool) -> Any:
        def look(part: Any, _inputs: Any, output: Any) -> None:
            self._left[path] = dict(part._memories)
            leaves = flatten_outputs(output)
            if keep and leaves:
                self.given.setdefault(path, []).append(leaves[0].clone())  # `out += lif(x)` may write into it later

        return look

    def _compare(self, path: str, part: Any) -> None:
        left = self._left[path]
        if path not in self.written and any(part._memories[k] is not left.get(k) for k in part._memories):
            self.written.append(path)

    def spikes(self) -> dict[str, Tensor]:
        """Returns each neuron's spikes with the time axis first, where its calls can be put in that order."""
        alike = {p: values for p, values in self.given.items() if len({value.shape for value in values}) == 1}
        return {path: values[0] if len(values) == 1 else torch.stack(values) for path, values in alike.items()}

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()


def _takes_one_step(part: nn.Module) -> bool:
    home = library_of(part)
    if home == "snntorch":
        return callable(getattr(part, "reset_mem", None))
    if home == "norse":
        return type(part).__name__.endswith("Cell")
    return isinstance(part, base.MemoryModule) and getattr(part, "step_mode", "m") == "s" and not list(part.children())


@contextmanager
def own_random_numbers(seed: int) -> Iterator[None]:
    """Draws from a seed inside, and leaves the generators of torch, NumPy and Python as they were."""
    python, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        np.random.seed(seed)  # noqa: NPY002
        random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy_state)  # noqa: NPY002


def snapshot(module: nn.Module) -> dict[str, Any]:
    """Returns every plain attribute, parameter and buffer of a module's parts, but no neuron's memory."""
    return {name: value.clone() if isinstance(value, Tensor) else copy.copy(value) for name, value in _held(module)}


def _held(module: nn.Module) -> Iterator[tuple[str, Any]]:
    for path, part in module.named_modules():
        if library_of(part):
            continue
        mine = {key: value for key, value in vars(part).items() if key not in _INTERNAL}
        for key, value in {**mine, **part._buffers, **part._parameters}.items():
            if isinstance(value, Tensor):
                yield f"{path}.{key}".lstrip("."), value.detach()
            elif value is None or isinstance(value, bool | int | float | str | tuple | list):
                yield f"{path}.{key}".lstrip("."), value


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape or a.dtype != b.dtype:
            return False
        return torch.equal(a, b) or bool(((a == b) | ((a != a) & (b != b))).all())  # NaN is what it was, too
    if isinstance(a, Tensor) or isinstance(b, Tensor):
        return False
    try:
        return type(a) is type(b) and bool(a == b)
    except (RuntimeError, ValueError, TypeError):  # a list of tensors
        return len(a) == len(b) and all(_same(x, y) for x, y in zip(a, b, strict=True))

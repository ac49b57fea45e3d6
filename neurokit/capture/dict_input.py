"""Modules whose forward takes one dict, list or object of tensors: `forward(batch)` with `batch["events"]`."""

from __future__ import annotations

import copy
import inspect
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from neurokit.capture.asked_parts import Path, arranged, asked_parts
from neurokit.capture.time_input import quiet_copy
from neurokit.errors import InputError
from neurokit.spec import TensorSpec


class FromDict(nn.Module):
    """Base of a module that takes its inputs one after the other and hands them to its forward as a dict."""

    PLACES: ClassVar[tuple[Path, ...]] = ()

    def forward(self, *inputs: Tensor) -> Any:
        """Runs the module on the inputs where its forward looks for them."""
        return super().forward(arranged(self.PLACES, inputs))


def from_dict(module: nn.Module, keys: Sequence[str], places: Mapping[str, Path] | None = None) -> nn.Module:
    """Returns a copy of a module that takes its inputs by position, in the order of `keys`; its paths stay.

    Args:
        module: The module.
        keys: Names of the inputs.
        places: Where its forward looks for each (`asked_parts`); default is under its name, in a dict.
    """
    made = copy.deepcopy(module)
    kind = type(made)
    paths = tuple(((key, "dict"),) if places is None else places[key] for key in keys)
    made.__class__ = type(kind.__name__, (FromDict, kind), {"__module__": kind.__module__, "PLACES": paths})
    return made


def takes_parts(module: nn.Module, inputs: Sequence[TensorSpec], ref: str) -> nn.Module | None:
    """Returns a module whose forward finds the named inputs in its one argument, taking them by position, or None.

    Raises:
        InputError: If it runs without having asked for one of them.
    """
    if _one_argument(module) is None:
        return None
    places = asked_parts(module, inputs)
    if places is None:
        return None
    unread = [port.name for port in inputs if port.name not in places]
    if unread:
        read = ", ".join(places) or "nothing"
        raise InputError(
            f"the forward of {ref} reads {read} of what it is given, and not {', '.join(unread)}",
            expected="the inputs that it reads, by the names that it asks for",
            fix=f"leave {', '.join(unread)} away" if places else "check the names in --input-shape",
        )
    return from_dict(module, [port.name for port in inputs], places)


def takes_dict(module: nn.Module, inputs: Sequence[TensorSpec], named: bool, key: str | None) -> bool:
    """Returns whether a module's one argument is a dict of the named inputs.

    Args:
        module: The module, in evaluation mode.
        inputs: Its inputs.
        named: Whether their names were given.
        key: What the forward asks its one argument for first (`first_key`), where there is one input.
    """
    argument = _one_argument(module)
    if not named or argument is None:
        return False
    return len(inputs) > 1 or (inputs[0].name != argument and key == inputs[0].name)


def first_key(module: nn.Module) -> str | None:
    """Returns the name that a forward asks its one argument for first, or None where that is no dict."""
    if _one_argument(module) is None:
        return None
    asked = _Asked()
    shared = {id(tensor): tensor for tensor in (*module.parameters(), *module.buffers())}
    try:
        with torch.no_grad():
            quiet_copy(copy.deepcopy(module, shared))(asked)
    except Exception:  # there is nothing in it
        return asked.key
    return asked.key


def refuses_tensors(module: nn.Module, inputs: Sequence[TensorSpec]) -> bool:
    """Returns whether a forward of one input runs neither on a tensor `[B, *shape]` nor on `[T, B, *shape]`."""
    for lead in ((2,), (2, 2)):
        x = torch.ones((*lead, *inputs[0].numbers), dtype=getattr(torch, inputs[0].dtype))
        try:
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")  # torch's, of a name as an index
                quiet_copy(module)(x)
        except Exception:  # what it raises is for a dict
            continue
        return False
    return True


class _Asked(dict[Any, Any]):
    """An empty dict that notes what it is asked for first."""

    key: str | None = None

    def __missing__(self, key: Any) -> Any:
        if self.key is None and isinstance(key, str):
            self.key = key
        raise KeyError(key)


def _one_argument(module: nn.Module) -> str | None:
    """Returns the name of a forward's one needed argument, or None where it needs none or several."""
    try:
        parameters = inspect.signature(module.forward).parameters.values()
    except (TypeError, ValueError):  # of a scripted function nothing is known
        return None
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each.name for each in parameters if each.kind in positional and each.default is inspect.Parameter.empty]
    return needed[0] if len(needed) == 1 else None

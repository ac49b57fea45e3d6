"""What wraps, hides or sticks to a module's parts, undone in a copy: torch.compile, plain lists, results of a run."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

from torch import Tensor, nn


def graph_tensors(module: nn.Module) -> Iterator[Tensor]:
    """Yields tensors that deepcopy refuses: results that modules kept.

    Of an earlier forward pass, or weights that torch's weight_norm or prune computed when they were applied.
    """
    for part in uncompiled(module).modules():
        held = list(vars(part).values())
        while held:
            value = held.pop()
            if isinstance(value, Tensor) and value.grad_fn is not None:
                yield value
            elif isinstance(value, dict):
                held.extend(value.values())
            elif isinstance(value, list | tuple):
                held.extend(value)


def uncompiled(module: nn.Module) -> nn.Module:
    """Returns the module that torch.compile was given; the same numbers, and a trace can look into it."""
    inner = vars(module).get("_modules", {}).get("_orig_mod")
    return uncompiled(inner) if isinstance(inner, nn.Module) else module


def ordinary(module: nn.Module) -> nn.Module:
    """Returns a copied module without torch.compile, in which every part is one that torch knows.

    A list, a tuple or a dictionary of modules in a plain attribute becomes `nn.ModuleList` or `nn.ModuleDict`, so that
    its neurons are found and brought to rest. One that holds parts known under another name stays as it is.

    Args:
        module: A copy; its parts are changed in place.
    """
    module = uncompiled(module)
    known = set()
    for part in list(module.modules()):
        known.add(id(part))
        if vars(part).get("_compiled_call_impl") is not None:  # nn.Module.compile
            part._compiled_call_impl = None
        for name, child in list(part.named_children()):
            if (inner := uncompiled(child)) is not child:
                setattr(part, name, inner)
                known.update(id(each) for each in inner.modules())
    for part in list(module.modules()):
        for name, held in list(vars(part).items()):
            made = None if name.startswith("_") else _registered(held, known)
            if made is not None:
                delattr(part, name)
                setattr(part, name, ordinary(made))
    return module


def ordinary_copy(module: nn.Module, memo: dict[int, Any] | None = None) -> nn.Module:
    """Returns a copy of a user's module with what wraps or hides its parts undone.

    Args:
        module: The module; it stays as it is.
        memo: Of `copy.deepcopy`: what stands for its objects, by id. Results that are held come into it.
    """
    memo = {} if memo is None else memo
    for tensor in graph_tensors(module):
        memo.setdefault(id(tensor), tensor.detach())
    return ordinary(copy.deepcopy(uncompiled(module), memo))


def hides_parts(module: nn.Module) -> bool:
    """Returns whether a module keeps parts in a plain container, where torch does not see them."""
    known = {id(part) for part in module.modules()}
    held = ((name, value) for part in module.modules() for name, value in vars(part).items())
    return any(_registered(value, known) is not None for name, value in held if not name.startswith("_"))


def _registered(held: Any, known: set[int]) -> nn.Module | None:
    """Returns modules in a container as one that torch knows, or None where it holds anything else."""
    values = list(held.values()) if isinstance(held, dict) else list(held) if isinstance(held, list | tuple) else []
    if not values or not all(isinstance(value, nn.Module) and id(value) not in known for value in values):
        return None
    if not isinstance(held, dict):
        return nn.ModuleList(values)
    plain = all(isinstance(key, str) and key and "." not in key for key in held)
    return nn.ModuleDict(held) if plain else None


def follow(module: nn.Module, before: dict[str, nn.Module]) -> None:
    """Lets plain lists of a module hold what took the place of its parts.

    Args:
        module: The module, some of whose parts were replaced; changed in place.
        before: Its parts by path, before that.
    """
    after = dict(module.named_modules(remove_duplicate=False))
    new = {id(old): after[path] for path, old in before.items() if path in after and after[path] is not old}
    if not new:
        return
    for part in module.modules():
        for name, held in list(vars(part).items()):
            if name.startswith("_") or not isinstance(held, list | tuple | dict):
                continue
            values = held.values() if isinstance(held, dict) else held
            if not any(id(value) in new for value in values):
                continue
            if isinstance(held, dict):
                vars(part)[name] = {key: new.get(id(value), value) for key, value in held.items()}
            else:
                vars(part)[name] = [new.get(id(value), value) for value in held]

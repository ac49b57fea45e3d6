"""Holds what a checkpoint would restore against the training that takes it, before anything is restored."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
import torch

_MOST_COUNTED = 2**53
# What a schedule changes from step to step; everything else of optimiser and schedule is as the recipe says.
_MOVED = {"lr", "betas", "momentum"}
_COUNTED = {"last_epoch", "_step_count", "_last_lr", "_get_lr_called_within_step", "_is_initial"}


def fault_of_weights(saved: Any, own: Mapping[str, torch.Tensor]) -> str:
    """Returns what keeps a state dictionary from being loaded, or "".

    Args:
        saved: What the checkpoint has.
        own: The training's own.
    """
    return _unlike(saved, own, "state_dict")


def fault_of_training(saved: Mapping[str, Any], trainer: pl.Trainer) -> str:
    """Returns what keeps optimiser, schedule and loops from being restored, or "".

    Args:
        saved: The checkpoint.
        trainer: With a fresh optimiser and schedule.
    """
    optimisers, schedules = trainer.optimizers, [one.scheduler for one in trainer.lr_scheduler_configs]
    loops = {name: getattr(trainer, name).state_dict() for name in _LOOPS}
    epoch = saved.get("epoch")
    scaling = type(trainer.precision_plugin).__qualname__
    if type(epoch) is not int or not 0 <= epoch < _MOST_COUNTED:
        return f"epoch is {_short(epoch)}, a count was expected"
    return (
        _unlike(saved.get("loops"), loops, "loops")
        or _fault_of_epochs(saved["loops"]["fit_loop"]["epoch_progress"]["current"], epoch)
        or _listed(saved.get("optimizer_states"), len(optimisers), "optimizer_states")
        or next((found for n, one in enumerate(optimisers) if (found := _of_optimiser(saved, n, one))), "")
        or _listed(saved.get("lr_schedulers"), len(schedules), "lr_schedulers")
        or next((found for n, one in enumerate(schedules) if (found := _of_schedule(saved, n, one, trainer))), "")
        or (_unlike(saved[scaling], trainer.precision_plugin.state_dict(), scaling) if scaling in saved else "")
    )


_LOOPS = ("fit_loop", "validate_loop", "test_loop", "predict_loop")


def _fault_of_epochs(current: Mapping[str, int], epoch: int) -> str:
    """Returns whether epochs were counted otherwise than they are behind a whole one."""
    wanted = {"ready": epoch + 1, "started": epoch + 1, "processed": epoch + 1, "completed": epoch}
    odd = next((name for name, count in wanted.items() if current[name] != count), None)
    where = "loops.fit_loop.epoch_progress.current"
    return "" if odd is None else f"{where}.{odd} is {current[odd]}, {wanted[odd]} was expected"


def _of_optimiser(saved: Mapping[str, Any], at: int, optimiser: torch.optim.Optimizer) -> str:
    where, given, own = f"optimizer_states.{at}", saved["optimizer_states"][at], optimiser.state_dict()
    found = _unlike(_part(given, "param_groups"), own["param_groups"], f"{where}.param_groups")
    if found:
        return found
    for group, mine in zip(given["param_groups"], own["param_groups"], strict=True):
        for name, value in mine.items():
            if (group[name] != value) if name not in _MOVED else not _is_rate(group[name], name):
                return f"{where}.param_groups has {name} {_short(group[name])}"
    states, parts = _part(given, "state"), [part for group in optimiser.param_groups for part in group["params"]]
    if not isinstance(states, Mapping):
        return f"{where}.state is {_short(states)}, a dictionary was expected"
    wanted = ("step", "exp_avg", "exp_avg_sq") if isinstance(optimiser, torch.optim.AdamW) else ("momentum_buffer",)
    for index, state in states.items():
        if type(index) is not int or not 0 <= index < len(parts):
            return f"{where}.state has {_short(index)}, of which there is no parameter"
        mine = {name: torch.zeros(()) if name == "step" else parts[index].detach() for name in wanted}
        if isinstance(state, Mapping) and (not state or state == {"momentum_buffer": None}):
            continue  # a parameter that had no gradient yet, or SGD without momentum
        if found := _unlike(state, mine, f"{where}.state.{index}"):
            return found
        if "step" in state and not 0 <= float(state["step"]) < _MOST_COUNTED:
            return f"{where}.state.{index}.step is {float(state['step']):g}"
    return ""


def _is_rate(value: Any, name: str) -> bool:
    """Returns whether a learning rate, a momentum or betas are such that a step can be taken."""
    if name == "betas":
        return all(0 <= one < 1 for one in value)
    return math.isfinite(value) and value >= 0


def _of_schedule(saved: Mapping[str, Any], at: int, schedule: Any, trainer: pl.Trainer) -> str:
    where, given, own = f"lr_schedulers.{at}", saved["lr_schedulers"][at], schedule.state_dict()
    found = _unlike(given, own, where)
    if found:
        return found
    for name, value in own.items():
        if name not in _COUNTED and given[name] != value:
            return f"{where}.{name} is {_short(given[name])}, {_short(value)} was expected"
    done = saved["epoch"] + 1
    if "total_steps" in own:  # as many steps an epoch; it raises behind the last one
        done = own["total_steps"] * done // int(trainer.max_epochs or 1)
    count = given["last_epoch"]
    return "" if 0 <= count <= done else f"{where}.last_epoch is {count}, at most {done} was expected"


def _part(given: Any, name: str) -> Any:
    return given.get(name) if isinstance(given, Mapping) else None


def _listed(given: Any, count: int, where: str) -> str:
    fits = isinstance(given, list) and len(given) == count
    return "" if fits else f"{where} is {_short(given)}, a list of {count} was expected"


def _unlike(given: Any, own: Any, where: str) -> str:
    """Returns where something is of another form than what this training has: keys, lengths, types, shapes; or ""."""
    if isinstance(own, torch.Tensor):
        return _unlike_tensor(given, own, where)
    if isinstance(own, Mapping):
        if not isinstance(given, Mapping):
            return f"{where} is {_short(given)}, a dictionary was expected"
        for name in own:
            if name not in given:
                return f"{where} has no {name}"
        if left := [name for name in given if name not in own]:
            return f"{where} has {_short(left[0])}, which this training has not"
        return next((found for name in own if (found := _unlike(given[name], own[name], f"{where}.{name}"))), "")
    if isinstance(own, Sequence) and not isinstance(own, str):
        if type(given) is not type(own) or len(given) != len(own):
            return f"{where} is {_short(given)}, {len(own)} values were expected"
        pairs = enumerate(zip(given, own, strict=True))
        return next((found for n, pair in pairs if (found := _unlike(*pair, f"{where}.{n}"))), "")
    if type(own) in (int, float) and type(given) in (int, float):
        counts = type(own) is float or (type(given) is int and -1 <= given < _MOST_COUNTED)
        return "" if counts else f"{where} is {given}, a count was expected"
    return "" if type(given) is type(own) else f"{where} is {_short(given)}, {_short(own)} was expected"


def _unlike_tensor(given: Any, own: torch.Tensor, where: str) -> str:
    wanted = f"{own.dtype} {list(own.shape)} was expected".removeprefix("torch.")
    if not isinstance(given, torch.Tensor):
        return f"{where} is {_short(given)}, {wanted}"
    if given.layout != torch.strided or given.is_quantized or given.is_meta:
        kind = "a tensor without data" if given.is_meta else "no dense tensor"
        return f"{where} is {kind}, {wanted}"
    if given.shape != own.shape or given.dtype != own.dtype:
        return f"{where} is {given.dtype} {list(given.shape)}, {wanted}".replace("is torch.", "is ")
    return ""


def _short(value: Any) -> str:
    if isinstance(value, str | int | float | bool | None):
        said = repr(value)
        return said if len(said) <= 40 else f"{said[:37]}..."
    return f"a {type(value).__name__}" + (f" of {len(value)}" if isinstance(value, Mapping | list | tuple) else "")

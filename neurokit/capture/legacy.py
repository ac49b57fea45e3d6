"""Code written for SpikingJelly before 2.0: its packages by alias, its neurons' protocol, its surrogates' arguments."""

from __future__ import annotations

import importlib
import importlib.abc
import importlib.machinery
import inspect
import sys
import types
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from spikingjelly.activation_based import base, layer, neuron, surrogate
from torch import Tensor, nn

from neurokit.errors import MissingRuntimeError
from neurokit.neurons import dynamics

if not hasattr(base.MemoryModule, "multi_step_functional_forward"):  # explicit state came with 2.0
    raise MissingRuntimeError(
        "the SpikingJelly that is installed is older than 2.0",
        expected="SpikingJelly 2.0, which code for older ones runs on as it is",
        fix='pip install "spikingjelly==2.0.0"',
    )

_NEW = "spikingjelly.activation_based"
# Old packages, and what has their place. cext held CUDA versions of what clock_driven had.
_PACKAGES = {
    "spikingjelly.clock_driven": _NEW,
    "spikingjelly.cext": _NEW,
    "spikingjelly.event_driven": "spikingjelly.timing_based",
}
_PROTOCOL = ("neuronal_charge", "neuronal_adaptation", "neuronal_fire", "neuronal_reset")
# What SpikingJelly 2.0 runs of a neuron. It calls none of the protocol, but of neurons derived from SimpleBaseNode.
RUN = (
    "forward",
    "single_step_forward",
    "multi_step_forward",
    "single_step_functional_forward",
    "multi_step_functional_forward",
    "materialize_states",
)
_DROPPED = ("cupy_fp32_inference", "monitor_state", "monitor", "lava_s_cale", "backend")
_OPS: dict[type, str] = {neuron.IFNode: "if_", neuron.LIFNode: "lif", neuron.ParametricLIFNode: "plif"}


class _Aliases(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds the old packages while a user's file is imported."""

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        """Returns a spec for an old package or a module of one that has a counterpart."""
        old = next((package for package in _PACKAGES if name == package or name.startswith(f"{package}.")), None)
        return None if old is None else importlib.machinery.ModuleSpec(name, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        """Returns the module under its old name."""
        old = next(p for p in _PACKAGES if spec.name == p or spec.name.startswith(f"{p}."))
        tail = spec.name[len(old) :]
        known = {".neuron_kernel": ".neuron", ".cu_kernel_opt": ".neuron", ".accelerating": ".functional"}
        made = types.ModuleType(spec.name)
        try:
            real = importlib.import_module(_PACKAGES[old] + known.get(tail, tail))
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                f"{spec.name} of SpikingJelly before 2.0 has no counterpart in {_PACKAGES[old]}", name=spec.name
            ) from error
        found = _old_names(tail, made.__name__)

        def lookup(name: str) -> Any:
            if name in found:
                return found[name]
            if name.startswith("__"):
                raise AttributeError(name)
            value = getattr(real, name)
            inside = isinstance(value, types.ModuleType) and value.__name__.startswith(f"{real.__name__}.")
            return importlib.import_module(f"{made.__name__}.{name}") if inside else value

        made.__getattr__ = lookup  # type: ignore[method-assign]
        made.__all__ = [*found, *(n for n in getattr(real, "__all__", dir(real)) if not n.startswith("_"))]  # type: ignore[attr-defined]
        return made

    def exec_module(self, module: types.ModuleType) -> None:
        """Does nothing: the module answers from its counterpart."""


@contextmanager
def old_code() -> Iterator[None]:
    """Lets a user's code import SpikingJelly's old packages and build its old surrogates; leaves nothing behind."""
    finder = _Aliases()
    init = surrogate.SurrogateFunctionBase.__init__
    before = set(sys.modules)
    sys.meta_path.insert(0, finder)
    surrogate.SurrogateFunctionBase.__init__ = _surrogate_init(init)
    try:
        yield
    finally:
        surrogate.SurrogateFunctionBase.__init__ = init
        sys.meta_path.remove(finder)
        for name in set(sys.modules) - before:
            if name.startswith(tuple(_PACKAGES)):
                del sys.modules[name]
                parent, _, leaf = name.rpartition(".")
                vars(sys.modules[parent]).pop(leaf, None) if parent in sys.modules else None


def _surrogate_init(init: Any) -> Any:
    """Returns a constructor that takes `(alpha, spiking)` by position, as surrogates before 2.0 do."""

    def old_init(self: Any, *args: Any, **kwargs: Any) -> None:
        if args and not isinstance(args[0], bool):
            names = list(inspect.signature(type(self).spiking_function).parameters)[1:]
            flags = [value for value in args if isinstance(value, bool)]
            numbers = [value for value in args if not isinstance(value, bool)]
            if flags:
                kwargs["spiking"] = flags[0]
            init(self, **dict(zip(names or ["alpha"], numbers, strict=False)), **kwargs)
            self.alpha = numbers[0]
        else:
            init(self, *args, **kwargs)

    return old_init


def _old_names(tail: str, home: str) -> dict[str, Any]:
    """Returns what an old module has that the new one has under another name or with other arguments."""
    if tail == ".neuron":
        kinds = {name: kind for name, kind in vars(neuron).items() if inspect.isclass(kind) and name.endswith("Node")}
        kinds = {n: k for n, k in kinds.items() if issubclass(k, neuron.BaseNode) and k is not neuron.BaseNode}
        single = {name: _old_node(name, kind, "s", home) for name, kind in kinds.items()}
        multi = {f"MultiStep{name}": _old_node(f"MultiStep{name}", kind, "m", home) for name, kind in kinds.items()}
        return {**single, **multi}
    if tail == ".layer":
        return {
            "MultiStepDropout": _old_layer("MultiStepDropout", layer.Dropout),
            "MultiStepDropout2d": _old_layer("MultiStepDropout2d", layer.Dropout2d),
            "LowPassSynapse": layer.SynapseFilter,
            "AutoSparseLinear": nn.Linear,
            "SparseLinear": nn.Linear,
        }
    if tail == ".surrogate":
        return {"MultiArgsSurrogateFunctionBase": surrogate.SurrogateFunctionBase}
    return {}


def _old_node(name: str, kind: type, step_mode: str, home: str) -> type:
    """Returns a neuron class with the arguments of before 2.0; of a class derived from it the protocol is run."""

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        args, kwargs = _old_arguments(kind, args, kwargs)
        kind.__init__(self, *args, **kwargs)  # type: ignore[misc]
        self.step_mode = step_mode

    return type(name, (kind,), {"__init__": init, "__module__": home, "_alias_of": kind})


def _old_arguments(kind: type, args: Sequence[Any], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
    kept = {key: value for key, value in kwargs.items() if key not in _DROPPED}
    names = list(inspect.signature(kind.__init__).parameters)[1:]  # type: ignore[misc]
    if len(args) > 1 and "decay_input" in names and not isinstance(args[1], bool):
        names.remove("decay_input")  # versions before it had one
    named = {key: value for key, value in zip(names, args, strict=False) if key not in _DROPPED and key != "step_mode"}
    merged = {**named, **kept}
    for key in ("tau", "init_tau", "v_threshold", "v_reset"):
        if isinstance(merged.get(key), int) and not isinstance(merged[key], bool):
            merged[key] = float(merged[key])
    return (), merged


def _old_layer(name: str, kind: type) -> type:
    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        kind.__init__(self, *args, **kwargs)  # type: ignore[misc]
        self.step_mode = "m"

    return type(name, (kind,), {"__init__": init, "_alias_of": kind})


class Protocol:
    """Charge, fire and reset as a neuron of before 2.0 inherits them (SpikingJelly 0.0.0.0.14, `BaseNode`)."""

    v: Any

    def v_float_to_tensor(self, x: Tensor) -> None:
        """Gives a membrane that is still a number the shape of the input."""
        if isinstance(self.v, float):
            self.v = torch.full_like(x, self.v)

    def neuronal_charge(self, x: Tensor) -> None:
        """Adds the input to the membrane, as the neuron that the class is derived from does."""
        op = next((op for kind, op in _OPS.items() if isinstance(self, kind)), None)
        if op is None:
            raise NotImplementedError(f"{type(self).__name__} has no neuronal_charge")
        given = {key: getattr(self, key, None) for key in ("tau", "v_reset", "decay_input", "v_threshold")}
        if op == "plif":
            given["decay"] = self.w.sigmoid()  # type: ignore[attr-defined]
        self.v = dynamics.charge(op, self.v, x, given)

    def neuronal_fire(self) -> Tensor:
        """Returns the spikes."""
        return self.surrogate_function(self.v - self.v_threshold)  # type: ignore[attr-defined]

    def neuronal_reset(self, spike: Tensor) -> None:
        """Subtracts the threshold, or puts the membrane to the reset value; a spike adds to an adaptation current."""
        me: Any = self
        after = spike.detach() if me.detach_reset else spike
        me.v = me.v - after * me.v_threshold if me.v_reset is None else (1.0 - after) * me.v + spike * me.v_reset
        if isinstance(me, neuron.AdaptBaseNode):
            me.w = me.w + me.b * spike


def _step(self: Any, inputs: tuple[Tensor, ...], states: tuple[Any, ...], **kwargs: Any) -> Any:
    """One step as a function of input and state; the module's own memories are put back."""
    held = dict(self._memories)
    try:
        self._memories.update(zip(held, states, strict=True))
        self.neuronal_charge(*inputs)
        if hasattr(self, "neuronal_adaptation"):  # of 0.0.0.0.14, `AdaptBaseNode`
            self.neuronal_adaptation()
        spike = self.neuronal_fire()
        self.neuronal_reset(spike)
        return (spike,), tuple(self._memories.values())
    finally:
        self._memories.update(held)


def _materialize(self: Any, inputs: Any, states: Any, step_mode: str) -> tuple[Any, ...]:
    """Turns the number that a state starts from into a tensor of the input's shape."""
    x = inputs[0] if step_mode == "s" else inputs[0][0]
    return tuple(torch.full_like(x, value) if isinstance(value, float) else value for value in states)


# Of every class of the protocol; steps are taken one after the other, whatever its base has for a sequence.
_METHODS = {
    "single_step_functional_forward": _step,
    "multi_step_functional_forward": base.MemoryModule.multi_step_functional_forward,
    "materialize_states": _materialize,
}


def modernised(module: nn.Module) -> nn.Module:
    """Gives neurons of before 2.0 the class that runs them: SpikingJelly's own, or one that follows their protocol.

    Args:
        module: Any module; changed in place.
    """
    for part in module.modules():
        kind = type(part)
        if "_alias_of" in vars(kind):
            part.__class__ = kind._alias_of  # type: ignore[attr-defined]
        elif isinstance(part, neuron.BaseNode) and steps_of_its_own_code(kind) and not issubclass(kind, Protocol):
            steps = (
                {} if not _is_theirs(cls_of(kind, "multi_step_forward")) else {"multi_step_forward": _steps_in_a_row}
            )
            part.__class__ = type(kind.__name__, (kind, Protocol), {**steps, "__module__": kind.__module__})
        elif isinstance(part, neuron.BaseNode) and not steps_of_its_own_code(kind) and _follows_protocol(kind):
            part.__class__ = type(kind.__name__, (kind, Protocol), {**_METHODS, "__module__": kind.__module__})
        elif steps_of_its_own_code(kind) and cls_of(kind, "multi_step_forward") is base.MemoryModule:
            methods = {"multi_step_forward": _steps_in_a_row, "__module__": kind.__module__}
            part.__class__ = type(kind.__name__, (kind,), methods)
    return module


def steps_of_its_own_code(kind: type) -> bool:
    """Returns whether a class with memories says what one step is, and nothing else, as those of before 2.0 do."""
    if not issubclass(kind, base.MemoryModule) or _is_theirs(cls_of(kind, "single_step_forward")):
        return False
    return cls_of(kind, "single_step_functional_forward") in (base.MemoryModule, neuron.BaseNode)


def _steps_in_a_row(self: Any, x_seq: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Takes one step after the other, as SpikingJelly 0.0.0.0.14 does where a class has no sequence of its own."""
    return torch.stack([self.single_step_forward(x, *args, **kwargs) for x in x_seq])


def _follows_protocol(kind: type) -> bool:
    if issubclass(kind, Protocol):
        return False
    overridden = {name for cls in kind.__mro__ if not _is_theirs(cls) for name in _PROTOCOL if name in vars(cls)}
    step = next(cls for cls in kind.__mro__ if "single_step_functional_forward" in vars(cls))
    unknown_to_2 = step in (neuron.BaseNode, base.MemoryModule) and "neuronal_charge" in overridden
    of_old = any("_alias_of" in vars(cls) for cls in kind.__mro__)
    return unknown_to_2 or (of_old and bool(overridden))


def never_called(module: nn.Module) -> str:
    """Returns why the methods of the protocol that a neuron's class defines do not say what it computes, or ""."""
    kind = type(module)
    if not isinstance(module, neuron.BaseNode):
        return ""  # the other bases of SpikingJelly call them
    own = [name for cls in kind.__mro__ if not _is_theirs(cls) for name in _PROTOCOL if name in vars(cls)]
    if isinstance(module, Protocol):
        mine = [name for name in own if cls_of(kind, name) is not Protocol]
        charged = cls_of(kind, "neuronal_charge") is not Protocol or isinstance(module, tuple(_OPS))
        equations = f"it defines {', '.join(mine)}, and the other equations of its base are no methods"
        return "" if charged else equations
    if not own or not all(_is_theirs(cls_of(kind, name)) for name in RUN):
        return ""
    return f"it defines {', '.join(dict.fromkeys(own))}, which SpikingJelly 2.0 never calls: it runs as its base does"


def cls_of(kind: type, method: str) -> type:
    """Returns the class that defines a method for `kind`."""
    return next(cls for cls in kind.__mro__ if method in vars(cls))


def _is_theirs(kind: type) -> bool:
    return kind.__module__.startswith("spikingjelly.")

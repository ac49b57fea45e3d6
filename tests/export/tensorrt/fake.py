"""TensorRT 10 or 11 as far as neurokit drives it: it builds nothing, writes down what it was asked, and checks how.

Every call is held against the signature in the documentation that `tensorrt_rtx` carries: names and number of the
arguments, and their types. Attributes may be set only where the documented class has them. Plugins are made by the real
plugin package (see trt_native).
"""

from __future__ import annotations

import functools
import re
import types
from typing import Any

from . import native as trt_native


def signatures(function: Any, name: str) -> list[list[tuple[str, str, bool]]]:
    """Returns the overloads in a documented function: name, type and necessity of every argument but self."""
    found = []
    for text in re.findall(rf"^(?:\d+\. )?{name}\(self: [^,)]*(?:, (.*))?\) -> ", function.__doc__ or "", re.MULTILINE):
        parts = [part.partition(": ") for part in re.split(r", (?=\w+: )", text)] if text else []
        found.append([(n, kind.partition(" = ")[0], " = " not in kind) for n, _, kind in parts])
    return found


def fits(value: Any, kind: str) -> bool:
    """Whether a value is of a documented type."""
    name = kind.rpartition(".")[2]
    plain = {"str": str, "bool": bool, "SupportsInt": int, "tuple": tuple, "list": list, "Dims": tuple, "Buffer": bytes}
    if name in plain:
        return isinstance(value, plain[name]) and (name == "bool" or not isinstance(value, bool))
    return name in [base.__name__ for base in type(value).__mro__]


def documented(rtx: Any, made: type) -> type:
    """Makes every public method of a class check its arguments against the documented class of the same name."""
    real = getattr(rtx, made.__name__)
    for name, function in list(vars(made).items()):
        if isinstance(function, types.FunctionType) and (name == "__init__" or not name.startswith("_")):
            overloads = signatures(getattr(real, name), name)
            assert overloads, f"{made.__name__}.{name} is not documented"
            setattr(made, name, _checked(function, f"{made.__name__}.{name}", overloads))

    def set_attribute(self: Any, name: str, value: Any) -> None:
        assert name.startswith("_") or isinstance(getattr(real, name), property), f"{made.__name__} has no {name}"
        object.__setattr__(self, name, value)

    for name, held in vars(made).items():
        assert not isinstance(held, property) or isinstance(getattr(real, name), property), f"{made.__name__}.{name}"
    made.__setattr__ = set_attribute
    return made


def _checked(function: Any, label: str, overloads: list[list[tuple[str, str, bool]]]) -> Any:
    @functools.wraps(function)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        for overload in overloads:
            names = [name for name, _, _ in overload]
            given = {**dict(zip(names, args, strict=False)), **kwargs}
            needed = {name for name, _, necessary in overload if necessary}
            kinds = {name: kind for name, kind, _ in overload}
            known = len(args) <= len(names) and needed <= set(given) <= set(names)
            if known and all(fits(value, kinds[name]) for name, value in given.items()):
                return function(self, *args, **kwargs)
        raise AssertionError(f"{label}{args}{kwargs} is not documented: {overloads}")

    return call


def fake(rtx: Any, version: str) -> types.ModuleType:
    """Returns the module `tensorrt`; its `asked` lists what it was asked for."""
    trt = trt_native.native("tensorrt", version)
    asked: list[Any] = []

    class IHostMemory(bytes):
        pass

    class ITimingCache:
        def __init__(self, held: bytes) -> None:
            self._held = held

        def serialize(self):
            return IHostMemory(self._held + b"timed;")

    class IOptimizationProfile:
        def set_shape(self, input, min, opt, max):
            asked.append(("profile", input, min, opt, max))

    class IBuilderConfig:
        def set_flag(self, flag):
            asked.append(("flag", flag.name))

        def clear_flag(self, flag):
            asked.append(("no flag", flag.name))

        def add_optimization_profile(self, profile):
            return 0

        def create_timing_cache(self, serialized_timing_cache):
            return ITimingCache(serialized_timing_cache)

        def set_timing_cache(self, cache, ignore_mismatch):
            asked.append(("cache", cache._held, ignore_mismatch))
            self._cache = cache
            return b"another" not in cache._held

        def get_timing_cache(self):
            return self._cache

    class ILayer:
        def __init__(self, node):
            self._node = node
            self._outputs = [types.SimpleNamespace(dtype=rtx.DataType.FLOAT) for _ in node.output]

        name = property(lambda self: self._node.name)
        metadata = property(lambda self: f"[ONNX Layer: {self._node.name}]")
        num_outputs = property(lambda self: len(self._outputs))

        @property
        def type(self):
            return rtx.LayerType.PLUGIN_V3 if self._node.domain else rtx.LayerType.IDENTITY

        def get_output(self, index):
            return self._outputs[index]

    class INetworkDefinition:
        def __init__(self):
            self._layers, self._launches = [], []

        num_layers = property(lambda self: len(self._layers))

        def get_layer(self, index):
            return self._layers[index]

    class OnnxParser:
        def __init__(self, network, logger):
            self._network, self._errors = network, []

        num_errors = property(lambda self: len(self._errors))

        def supports_operator(self, op_name):
            return op_name != "FusedLIF"

        def get_error(self, index):
            return self._errors[index]

        def parse_from_file(self, model):
            import onnx

            proto = onnx.load(model)
            typed = {
                v.name: v.type.tensor_type for v in [*proto.graph.value_info, *proto.graph.input, *proto.graph.output]
            }
            for node in proto.graph.node:
                if node.domain == "neurokit" and node.op_type not in {f.name for f in proto.functions}:
                    x = typed[node.input[0]]
                    shape = [d.dim_param or d.dim_value for d in x.shape.dim]
                    inputs = [(trt_native.ONNX_TYPES[x.elem_type], shape), (trt.float32, shape[1:])]
                    self._network._launches.append(trt_native.Launch(trt, node, inputs))
                self._network._layers.append(ILayer(node))
            return True

    class Builder:
        def __init__(self, logger):
            pass

        def create_network(self, flags=0):
            asked.append(("network", flags))
            return INetworkDefinition()

        def create_builder_config(self):
            return IBuilderConfig()

        def create_optimization_profile(self):
            return IOptimizationProfile()

        def build_serialized_network(self, network, config):
            asked.append(("config", {k: v for k, v in vars(config).items() if not k.startswith("_")}))
            return IHostMemory(b"".join(launch.ptx for launch in network._launches) or b"engine")

    class ICudaEngine:
        def __init__(self, plan):
            self._plan = plan

        def create_execution_context(self):
            return object()

    class Runtime:
        def __init__(self, logger):
            pass

        def deserialize_cuda_engine(self, serialized_engine):
            return ICudaEngine(serialized_engine)

    class Refitter:
        def __init__(self, engine, logger):
            self._missing = []

        def refit_cuda_engine(self):
            return not self._missing

        def get_missing_weights(self):
            return self._missing

    class OnnxParserRefitter:
        def __init__(self, refitter, logger):
            self._refitter = refitter

        num_errors = property(lambda self: 0)

        def refit_from_file(self, model):
            asked.append(("refit", model))
            return True

    checked = (Builder, OnnxParser, IBuilderConfig, IOptimizationProfile, Refitter, OnnxParserRefitter)
    for made in checked:
        setattr(trt, made.__name__, documented(rtx, made))
    trt.Runtime = Runtime  # documented as taking a buffer or a file: only the buffer is used
    for name in (
        "ILogger",
        "BuilderFlag",
        "ProfilingVerbosity",
        "HardwareCompatibilityLevel",
        "LayerType",
        "NetworkDefinitionCreationFlag",
    ):
        setattr(trt, name, getattr(rtx, name))
    for made in (ITimingCache, INetworkDefinition, ILayer, ICudaEngine):  # made by the library, not by its users
        for name, function in vars(made).items():
            if isinstance(function, types.FunctionType) and not name.startswith("_"):
                assert signatures(getattr(getattr(rtx, made.__name__), name), name), name
    trt.asked = asked
    return trt

"""What TensorRT's plugin package (`tensorrt_bindings/plugin`, Python) asks of the native module, in plain Python.

The package itself is the real one: it comes with the wheel `tensorrt-cu13-bindings`, whose native module cannot be
loaded without TensorRT's libraries and is not touched here.
"""

from __future__ import annotations

import enum
import importlib
import sys
import types
from collections.abc import Mapping
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np


def plugin_package() -> Path | None:
    """Returns the folder of the wheel's `tensorrt_bindings`, or None if it is not installed."""
    spec = find_spec("tensorrt_bindings")
    folder = Path(next(iter(spec.submodule_search_locations))) if spec is not None else None
    return folder if folder is not None and (folder / "plugin" / "_lib.py").is_file() else None


class DataType(enum.Enum):
    FLOAT, HALF, INT8, INT32, INT64, BOOL, BF16, FP8, INT4 = range(9)


ONNX_TYPES = {1: DataType.FLOAT, 10: DataType.HALF, 6: DataType.INT32, 7: DataType.INT64}


class IDimensionExpr:
    """A size: a number, a symbol, or an operation on two sizes."""

    def __init__(self, value: int | str | None = None, op: Any = None, parts: tuple[IDimensionExpr, ...] = ()) -> None:
        self.value, self.op, self.parts = value, op, parts

    def is_constant(self) -> bool:
        return isinstance(self.value, int)

    def get_constant_value(self) -> int:
        assert self.is_constant()
        return self.value

    def at(self, sizes: Mapping[str, int]) -> int:
        """Returns the number that it is for sizes of the symbols."""
        if self.op is None:
            return sizes[self.value] if isinstance(self.value, str) else self.value
        a, b = (part.at(sizes) for part in self.parts)
        name = self.op.name
        known = {"SUM": a + b, "PROD": a * b, "SUB": a - b, "MAX": max(a, b), "MIN": min(a, b)}
        return known[name] if name in known else -(-a // b) if name == "CEIL_DIV" else {"FLOOR_DIV": a // b}[name]


class IExprBuilder:
    def constant(self, value: int) -> IDimensionExpr:
        assert isinstance(value, int)
        return IDimensionExpr(value)

    def operation(self, op: Any, first: IDimensionExpr, second: IDimensionExpr) -> IDimensionExpr:
        made = IDimensionExpr(None, op, (first, second))
        return IDimensionExpr(made.at({})) if first.is_constant() and second.is_constant() else made


class PluginField:
    def __init__(self, name: str, data: Any, type: Any) -> None:
        self.name, self.data, self.type = name, data, type


class Registry:
    def __init__(self) -> None:
        self.creators: dict[tuple[str, str, str], Any] = {}

    def register_creator(self, creator: Any, namespace: str) -> bool:
        self.creators[creator.name, creator.plugin_version, namespace] = creator
        return True

    def get_creator(self, name: str, version: str, namespace: str) -> Any:
        return self.creators.get((name, version, namespace))


class Sizes(list):
    """`Dims` and `DimsExprs`: made of a length, or of sizes."""

    MAX_DIMS = 8

    def __init__(self, given: Any) -> None:
        super().__init__([None] * given if isinstance(given, int) else given)


class PluginTensorDesc:
    dims = type = format = scale = None


class DynamicPluginTensorDesc:
    def __init__(self) -> None:
        self.desc, self.min, self.opt, self.max = PluginTensorDesc(), None, None, None


def enumeration(name: str, members: str) -> Any:
    return enum.Enum(name, members.split())


def native(name: str = "tensorrt", version: str = "11.4.0.106") -> types.ModuleType:
    """Returns the stand-in, without a plugin package."""
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    module.__version__ = version
    plain = (
        "IPluginCreatorV3Quick IPluginV3 IPluginV3QuickCore IPluginV3QuickBuild IPluginV3QuickRuntime "
        "IPluginV3QuickAOTBuild ISymExpr ITensor"
    )
    for base in plain.split():
        setattr(module, base, type(base, (), {}))
    registry = Registry()
    module.Logger = type("Logger", (), {"WARNING": 2, "log": lambda self, severity, message: None})
    vars(module).update(
        {
            "DataType": DataType,
            "float32": DataType.FLOAT,
            "float16": DataType.HALF,
            "int32": DataType.INT32,
            "DimensionOperation": enumeration(
                "DimensionOperation", "SUM PROD MAX MIN SUB EQUAL LESS FLOOR_DIV CEIL_DIV"
            ),
            "PluginFieldType": enumeration(
                "PluginFieldType", "FLOAT16 FLOAT32 FLOAT64 INT8 INT16 INT32 CHAR DIMS UNKNOWN BF16 INT64 FP8"
            ),
            "PluginArgType": enumeration("PluginArgType", "INT"),
            "PluginArgDataType": enumeration("PluginArgDataType", "INT8 INT16 INT32"),
            "TensorFormat": enumeration("TensorFormat", "LINEAR CHW32 HWC"),
            "TensorRTPhase": enumeration("TensorRTPhase", "BUILD RUNTIME"),
            "QuickPluginCreationRequest": enumeration(
                "QuickPluginCreationRequest", "UNKNOWN PREFER_JIT PREFER_AOT STRICT_JIT STRICT_AOT"
            ),
            "IDimensionExpr": IDimensionExpr,
            "Dims": Sizes,
            "DimsExprs": Sizes,
            "PluginField": PluginField,
            "PluginFieldCollection": list,
            "PluginTensorDesc": PluginTensorDesc,
            "DynamicPluginTensorDesc": DynamicPluginTensorDesc,
            "get_plugin_registry": lambda: registry,
        }
    )
    return module


def install(monkeypatch: Any, trt: types.ModuleType) -> types.ModuleType:
    """Makes `import tensorrt` the stand-in with the installed wheel's plugin package; returns the latter."""
    folder = plugin_package()
    assert folder is not None
    for name in [name for name in sys.modules if name.partition(".")[0] in ("tensorrt", "tensorrt_bindings")]:
        monkeypatch.delitem(sys.modules, name)
    package = types.ModuleType("tensorrt_bindings")
    package.__path__ = [str(folder)]
    for name, module in (("tensorrt", trt), ("tensorrt_bindings", package)):
        monkeypatch.setitem(sys.modules, name, module)
    plugins = importlib.import_module("tensorrt_bindings.plugin")
    for name in [name for name in sys.modules if name.startswith("tensorrt_bindings.")]:
        monkeypatch.setitem(sys.modules, name, sys.modules[name])  # so that it goes with the rest
    monkeypatch.setitem(sys.modules, "tensorrt.plugin", plugins)
    return plugins


class Launch:
    """What TensorRT keeps of a plugin that was compiled ahead of time.

    Attributes:
        entry, ptx: Name of the kernel and its text.
        params: `KernelLaunchParams` as expressions.
        scalars: The expressions between pointers to inputs and pointers to outputs.
        types: Types of the outputs.
        shapes: Shapes of the outputs, as expressions.
    """

    def __init__(self, trt: types.ModuleType, node: Any, inputs: list[tuple[DataType, list[int | str]]]) -> None:
        self.builder = IExprBuilder()
        plugin = create(trt, node)
        count = len(inputs)
        dims = [Sizes([IDimensionExpr(size) for size in shape]) for _, shape in inputs]
        self.types = plugin.get_output_data_types([dtype for dtype, _ in inputs], [len(shape) for _, shape in inputs])
        self.shapes = plugin.get_output_shapes(dims, [], self.builder)
        shapes = [*dims, *self.shapes]
        described = [
            self._described(trt, dtype, shape)
            for dtype, shape in zip([*(dtype for dtype, _ in inputs), *self.types], shapes, strict=True)
        ]
        combination = plugin.get_supported_format_combinations(described, count)
        assert [c.type for c in combination] == [d.desc.type for d in described]
        plugin.configure_plugin(described[:count], described[count:])
        assert plugin.get_valid_tactics() == []
        plugin.set_tactic(0)
        self.params, setter = types.SimpleNamespace(), _SymExprs()
        plugin = plugin.clone()
        plugin.get_launch_params(dims, described, count, self.params, setter, self.builder)
        plain = [d.desc for d in described]
        self.entry, self.ptx = plugin.get_kernel(plain[:count], plain[count:])
        assert setter.nbSymExprs == len(setter.held)
        self.scalars = [setter.held[index] for index in range(len(setter.held))]
        assert all(s.dtype is trt.PluginArgDataType.INT32 for s in self.scalars)

    def _described(self, trt: types.ModuleType, dtype: DataType, shape: Sizes) -> DynamicPluginTensorDesc:
        made = DynamicPluginTensorDesc()
        made.desc.dims = Sizes([size.value if size.is_constant() else -1 for size in shape])
        made.desc.type, made.desc.format, made.desc.scale = dtype, trt.TensorFormat.LINEAR, 0.0
        return made

    def at(self, sizes: Mapping[str, int]) -> dict[str, Any]:
        """Returns grid, block, shared memory, scalars and shapes of the outputs for sizes of the symbols."""
        number = lambda name: getattr(self.params, name).expr.at(sizes)  # noqa: E731
        return {
            "grid": tuple(number(f"grid_{axis}") for axis in "xyz"),
            "shared": number("shared_mem"),
            "block": tuple(number(f"block_{axis}") for axis in "xyz"),
            "scalars": [scalar.expr.at(sizes) for scalar in self.scalars],
            "shapes": [[size.at(sizes) for size in shape] for shape in self.shapes],
        }


class _SymExprs:
    def __init__(self) -> None:
        self.nbSymExprs, self.held = 0, {}

    def __setitem__(self, index: int, value: Any) -> None:
        assert index < self.nbSymExprs
        self.held[index] = value


def create(trt: types.ModuleType, node: Any) -> Any:
    """Returns a node's plugin as the ONNX parser makes it: fields of a creator by the type of the node's attributes.

    (onnx-tensorrt, `loadFields` and `createPlugin`: FLOATS become FLOAT32 and INTS become INT32 fields; an attribute
    `aot` of 1 asks for code compiled ahead of time and for nothing else.)
    """
    import onnx

    given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
    kinds = {a.name: a.type for a in node.attribute}
    namespace, version = (given[name].decode() for name in ("plugin_namespace", "plugin_version"))
    creator = trt.get_plugin_registry().get_creator(node.op_type, version, namespace)
    assert creator is not None, f"no plugin {namespace}::{node.op_type}"
    fields = []
    for field in creator.field_names:
        kind, dtype = {
            onnx.AttributeProto.FLOATS: ("FLOAT32", np.float32),
            onnx.AttributeProto.INTS: ("INT32", np.int32),
        }[kinds[field.name]]
        assert field.type is trt.PluginFieldType[kind], field.name
        fields.append(PluginField(field.name, np.array(given[field.name], dtype), field.type))
    request = trt.QuickPluginCreationRequest.STRICT_AOT if given.get("aot") else trt.QuickPluginCreationRequest.UNKNOWN
    plugin = creator.create_plugin(node.op_type, namespace, list(fields), trt.TensorRTPhase.BUILD, request)
    assert isinstance(plugin, trt.IPluginV3QuickAOTBuild)
    return plugin

"""How neurokit drives TensorRT 10 and 11, which cannot be loaded without their libraries: names, arguments, order."""

from __future__ import annotations

import ast
import importlib.util
import json
from pathlib import Path

import pytest
import torch

import neurokit as nk
from neurokit.errors import ArtifactError, InputError, MissingRuntimeError, UnsupportedError
from neurokit.export.tensorrt import library as trt_library
from neurokit.export.tensorrt import plugin as trt_plugin
from neurokit.export.tensorrt.build import build, settings_of
from neurokit.target import LowerOptions

from ..nets import conv_net, dyadic, inputs
from . import native as trt_native

onnx = pytest.importorskip("onnx")
rtx = pytest.importorskip("tensorrt_rtx")
from . import fake as trt_fake  # noqa: E402 - after the skips

X = inputs(4, 2, 2, 8, 8)
needs_package = pytest.mark.skipif(
    trt_native.plugin_package() is None, reason="tensorrt_bindings (wheel tensorrt-cu13-bindings) is not installed"
)
pytestmark = pytest.mark.filterwarnings("ignore:invalid escape sequence")


@pytest.fixture
def trt(request, monkeypatch):
    """TensorRT 11, or the version that a test names."""
    module = trt_fake.fake(rtx, getattr(request, "param", "11.4.0.106"))
    trt_native.install(monkeypatch, module)
    monkeypatch.setattr(trt_library, "device_capability", lambda: "8.6")
    trt_library.logger.cache_clear()
    yield module
    trt_library.logger.cache_clear()


@pytest.fixture(scope="module")
def captured():
    torch.manual_seed(0)
    return nk.capture(dyadic(conv_net()), torch.from_numpy(X))


def lower(captured, out, **options):
    return nk.lower(captured, "tensorrt", out, library="tensorrt", **options)


@needs_package
@pytest.mark.parametrize(("trt", "precision"), [("10.16.1.11", "fp32"), ("11.4.0.106", "fp16")], indirect=["trt"])
def test_the_whole_road_with_plugins(precision, trt, captured, tmp_path):
    pytest.importorskip("triton")
    artifact = lower(captured, tmp_path / "t", lif_plugin=True, precision=precision)
    info = artifact.manifest.target_info
    assert info["library_version"] == trt.__version__
    assert info["lif_plugin"] == {"plugin": "neurokit::FusedLIF", "neurons": 3}
    assert info["layer_types"]["plugin_v3"] == 3
    assert info["compute_capabilities"] == ["8.6"]
    # Of model.onnx, whose neurons are plain operators.
    assert artifact.manifest.parity["meaning"].startswith("every spike and every bit of the output equal")
    assert "plain operators" in info["verified"]
    assert any("not the plugin" in note for note in artifact.manifest.parity["notes"])
    assert (tmp_path / "t" / "model.engine").read_bytes().count(b".visible .entry") == 3
    layers = json.loads((tmp_path / "t" / "layers.json").read_text())
    assert [layer["name"] for layer in layers if layer["type"] == "plugin_v3"] == ["2", "5", "8"]
    assert {node.op_type for node in onnx.load(tmp_path / "t" / "model.plugin.onnx").graph.node if node.domain} == {
        "FusedLIF"
    }
    assert trt.asked[0][0] == "network"
    assert trt.asked[0][1] == 1 << int(rtx.NetworkDefinitionCreationFlag.STRONGLY_TYPED)


def one_cache(trt, path, held=None) -> str:
    """Builds an empty network with a timing cache; returns what is said of it."""
    if held is not None:
        path.write_bytes(held)
    network = path.with_name("empty.onnx")
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([], "g", [], [])), network)
    return build(trt, network, settings_of(LowerOptions(extra={"timing_cache": str(path)})), {}).said["timing_cache"]


@needs_package
@pytest.mark.parametrize("trt", ["10.16.1.11"], indirect=True)
def test_flags_and_timing_cache(trt, captured, tmp_path):
    cache = tmp_path / "cache.bin"
    options = {"refit": True, "version_compatible": True, "hardware_compatible": True, "timing_cache": str(cache)}
    artifact = lower(captured, tmp_path / "t", optimization_level=5, verified=False, **options)
    info = artifact.manifest.target_info
    assert {value for kind, value, *_ in trt.asked if kind == "flag"} == {"REFIT", "VERSION_COMPATIBLE"}
    assert ("no flag", "TF32") in trt.asked
    asked = next(value for kind, value in (a for a in trt.asked if len(a) == 2) if kind == "config")
    assert asked["builder_optimization_level"] == 5
    assert asked["hardware_compatibility_level"] == rtx.HardwareCompatibilityLevel.AMPERE_PLUS
    assert info["compute_capabilities"] == list(trt_library.AMPERE_PLUS)
    assert (info["timing_cache"], info["refit"], info["version_compatible"]) == ("begun", True, True)
    assert ("cache", b"", False) in trt.asked
    assert cache.read_bytes() == b"timed;"
    said = [one_cache(trt, cache), one_cache(trt, cache, b"another GPU")]
    assert said == ["used", "begun anew: the file was of another GPU or library version"]
    assert ("cache", b"timed;", False) in trt.asked  # the second build begins with what the first one left
    assert cache.read_bytes() == b"timed;"
    assert [p.name for p in tmp_path.glob("*.tmp")] == []


@needs_package
def test_weights_are_exchanged(trt, captured, tmp_path, monkeypatch):
    """The calls only: what an engine computes with other weights is not known here."""
    torch.manual_seed(1)
    other = nk.capture(dyadic(conv_net()), torch.from_numpy(X))
    lower(captured, tmp_path / "mine", verified=False, refit=True, lif_plugin=True)
    lower(other, tmp_path / "new", verified=False, lif_plugin=True)
    lower(other, tmp_path / "plain", verified=False)
    with nk.open(tmp_path / "mine") as runner:
        runner.refit(tmp_path / "new")
        assert trt.asked[-1] == ("refit", str(tmp_path / "new" / "model.plugin.onnx"))
        with pytest.raises(InputError, match="its lif_plugin differs"):
            runner.refit(tmp_path / "plain")
        monkeypatch.setattr(trt.Refitter, "get_missing_weights", lambda self: ["net.0.weight"])
        with pytest.raises(ArtifactError, match=r"1 are missing, net\.0\.weight among them"):
            runner.refit(tmp_path / "new")
    with nk.open(tmp_path / "new") as runner, pytest.raises(InputError, match=r"cannot be exchanged.*refit=true"):
        runner.refit(tmp_path / "mine")


def test_tensorrt_rtx_takes_no_plugin(captured, tmp_path):
    with pytest.raises(UnsupportedError, match=r"takes no plugins.*--option library=tensorrt"):
        nk.lower(captured, "tensorrt", tmp_path / "t", library="tensorrt_rtx", lif_plugin=True)
    assert not (tmp_path / "t").exists()


@needs_package
def test_what_else_takes_no_plugin(trt, captured, tmp_path, monkeypatch):
    with pytest.raises(UnsupportedError, match="no neurons"):
        lower(nk.capture(torch.nn.Linear(4, 3), torch.rand(2, 4)), tmp_path / "t", lif_plugin=True)
    with pytest.raises(InputError, match="lif_plugin is 1"):
        lower(captured, tmp_path / "t", lif_plugin=1)
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == "triton" else found(name, *a))
    with pytest.raises(MissingRuntimeError, match=r"needs [Tt]riton"):
        lower(captured, tmp_path / "t", lif_plugin=True)
    monkeypatch.undo()
    del trt.QuickPluginCreationRequest
    assert "10.9" in trt_plugin.obstacle(trt)


OWNERS = {
    "trt": "",
    "builder": "Builder",
    "network": "INetworkDefinition",
    "parser": "OnnxParser OnnxParserRefitter",
    "config": "IBuilderConfig",
    "profile": "IOptimizationProfile",
    "cache": "ITimingCache",
    "layer": "ILayer",
    "runtime": "Runtime",
    "engine": "ICudaEngine",
    "context": "IExecutionContext",
    "inspector": "EngineInspector",
    "refitter": "Refitter",
}
OURS = {"__name__", "__version__", "bound"}  # the last is of a layer of test vectors


def taken():
    """Yields what the sources take from TensorRT's objects: the object, the names behind it, and the call or None."""
    for file in Path(trt_library.__file__).parent.glob("*.py"):
        tree = ast.parse(file.read_text())
        calls = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
        for node in ast.walk(tree):
            names, inner = [], node
            while isinstance(inner, ast.Attribute):
                names.append(inner.attr)
                inner = inner.value
            names.append(inner.id if isinstance(inner, ast.Name) else "")
            owners = [index for index, name in enumerate(names) if name.strip("_") in OWNERS]
            if owners and owners[0]:
                yield names[owners[0]].strip("_"), names[: owners[0]][::-1], calls.get(id(node))


@needs_package
def test_the_native_module_has_every_name():
    """In the bytes of the wheel's binding: names of classes, methods and members are zero-terminated strings there."""
    package = trt_native.plugin_package()
    held = (package / "tensorrt.so").read_bytes() + (package / "__init__.py").read_bytes().replace(b"(", b"\0")
    names = {name for _, chain, _ in taken() for name in chain} - OURS
    assert {"parse_from_file", "create_timing_cache", "REFIT", "AMPERE_PLUS", "execute_async_v3"} <= names
    missing = {name for name in names if name.encode() + b"\0" not in held}
    only_rtx = {"ComputeCapability", "num_compute_capabilities", "set_compute_capability"}
    assert missing == only_rtx
    assert b"no_such_name_in_it\0" not in held


def accepts(overload, call: ast.Call) -> bool:
    """Whether a call in the sources has as many arguments, and of such names, as an overload takes."""
    if any(isinstance(argument, ast.Starred) for argument in call.args):
        return True
    given = {name for name, _, _ in overload[: len(call.args)]} | {keyword.arg for keyword in call.keywords}
    needed = {name for name, _, necessary in overload if necessary}
    return len(call.args) <= len(overload) and needed <= given <= {name for name, _, _ in overload}


def test_every_call_has_documented_arguments():
    """Those on a GPU too, which nothing here runs: number and names of arguments, by tensorrt_rtx's documentation."""
    checked = set()
    for owner, (name, *rest), call in taken():
        if call is None or rest or (owner == "trt" and not isinstance(getattr(rtx, name, None), type)):
            continue
        kinds = [name] if owner == "trt" else OWNERS[owner].split()
        method = "__init__" if owner == "trt" else name
        overloads = [o for k in kinds for o in trt_fake.signatures(getattr(getattr(rtx, k), method, None), method)]
        assert any(accepts(overload, call) for overload in overloads), (
            f"{owner}.{name}: {ast.unparse(call)}: {overloads}"
        )
        checked.add(f"{owner}.{name}")
    assert {
        "context.set_tensor_address",
        "engine.create_engine_inspector",
        "trt.Refitter",
        "config.set_timing_cache",
        "runtime.deserialize_cuda_engine",
    } <= checked
    assert len(checked) > 25

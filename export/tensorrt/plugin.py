"""The fused LIF as a plugin of TensorRT 10.9 and later (`tensorrt.plugin`), compiled ahead of time into the engine.

Every annotation below is an object, not a string: TensorRT reads them when a function is registered.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np

from neurokit.export.tensorrt import library as trt_library
from neurokit.neurons.device_code import NEURON_CODE, DeviceCode, NeuronCall

# Not the name of a local function: the ONNX parser would take the function for it.
NAMESPACE, NAME = "neurokit", "FusedLIF"
# Arrays throughout: TensorRT 10 turns a field into a number by a conversion that NumPy 2.4 no longer has, and strings
# come with the zero byte that the ONNX parser appends.
Floats = np.ndarray[tuple[Any, ...], np.dtype[np.float32]]
Ints = np.ndarray[tuple[Any, ...], np.dtype[np.int32]]
OPS = ("if_", "lif", "plif")


def obstacle(trt: Any) -> str:
    """Returns why this library takes no plugin, or ""."""
    if trt_library.is_rtx(trt):
        return "TensorRT for RTX takes no plugins: it has no add_plugin, and tensorrt_rtx.plugin cannot be imported"
    if not hasattr(trt, "QuickPluginCreationRequest"):
        return f"tensorrt {trt.__version__} has no plugins that are compiled ahead of time; 10.9 was the first"
    return ""


def attributes(call: NeuronCall) -> dict[str, list[int] | list[float]]:
    """Returns the attributes of a plugin's node for a neuron, in the order in which the plugin is registered."""
    return {
        "neuron": [OPS.index(call.op)],
        "leak": [call.leak],
        "v_threshold": [call.v_threshold],
        "v_reset": [call.v_reset or 0.0],
        "hard_reset": [int(call.v_reset is not None)],
        "decay_input": [int(call.decay_input)],
        "half_spikes": [int(call.half_spikes)],
    }


def register(trt: Any) -> None:
    """Registers `neurokit::FusedLIF` with TensorRT; a second call does nothing.

    Inputs are the current `[T, ...]` in float32 or float16 and the membrane `[...]` in float32; outputs are spikes
    `[T, ...]` and the membrane after the last step. Attributes are those of `attributes`.
    """
    plugins = importlib.import_module(f"{trt.__name__}.plugin")
    if hasattr(getattr(plugins.op, NAMESPACE, None), NAME):
        return
    plugins.register(f"{NAMESPACE}::{NAME}")(_description(trt, plugins.TensorDesc))
    plugins.aot_impl(f"{NAMESPACE}::{NAME}")(_implementation(trt, plugins, NEURON_CODE.get("lif")))


def _description(trt: Any, desc: type) -> Callable[..., Any]:
    def describe(
        x: desc,
        v0: desc,
        neuron: Ints,
        leak: Floats,
        v_threshold: Floats,
        v_reset: Floats,
        hard_reset: Ints,
        decay_input: Ints,
        half_spikes: Ints,
    ) -> tuple[desc, desc]:
        spikes = x.like()
        spikes.dtype = trt.float16 if half_spikes[0] else trt.float32
        return spikes, v0.like()

    return describe


def _implementation(trt: Any, plugins: Any, code_of: Callable[[NeuronCall], DeviceCode]) -> Callable[..., Any]:
    desc = plugins.TensorDesc

    # TensorRT hands over every attribute, in the order of registration, whichever of them a signature names.
    def implement(
        x: desc,
        v0: desc,
        neuron: Ints,
        leak: Floats,
        v_threshold: Floats,
        v_reset: Floats,
        hard_reset: Ints,
        decay_input: Ints,
        half_spikes: Ints,
        outputs: tuple[desc, desc],
        tactic: int,
    ) -> tuple[str, str, plugins.KernelLaunchParams, plugins.SymIntExprs]:
        if x.dtype not in (trt.float32, trt.float16) or v0.dtype != trt.float32:
            raise ValueError(f"neurokit::FusedLIF takes no current of {x.dtype} with a membrane of {v0.dtype}")
        steps, *size = x.shape
        code = code_of(
            NeuronCall(
                OPS[int(neuron[0])],
                float(leak[0]),
                float(v_threshold[0]),
                float(v_reset[0]) if hard_reset[0] else None,
                decay_input=bool(decay_input[0]),
                half_input=x.dtype == trt.float16,
                half_spikes=bool(half_spikes[0]),
                steps=int(steps) if steps > 0 else None,
                aligned=int(np.prod([int(n) for n in size if n > 0], dtype=np.int64)) % 16 == 0,
            )
        )
        neurons = v0.shape_expr.numel()
        launch = plugins.KernelLaunchParams()
        launch.grid_x = plugins.cdiv(neurons, code.neurons)
        launch.block_x = code.threads
        scalars = plugins.SymIntExprs(2)
        scalars[0] = plugins.SymInt32(x.shape_expr[0])
        scalars[1] = plugins.SymInt32(neurons)
        return code.entry, code.ptx, launch, scalars

    return implement

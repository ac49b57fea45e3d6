"""The neuron of `lif` as PTX for runtimes other than PyTorch; see `neurokit.neurons.device_code`."""

from __future__ import annotations

import functools
from typing import Any

from neurokit.kernels.ahead import ptx_of
from neurokit.kernels.common.neuron import divisor, leak_arguments, reset_kind
from neurokit.neurons.device_code import NEURON_CODE, DeviceCode, NeuronCall

BLOCK, WARPS = 1024, 8  # four neurons a thread: one vector of float32, so that no layout has to be changed
_FREE_CHUNK = 4  # steps whose loads are in flight together where T is free


@functools.cache
def lif_code(call: NeuronCall) -> DeviceCode:
    """Compiles `lif_sequence_kernel` for one neuron.

    Raises:
        MissingRuntimeError: If Triton is not installed or runs as an interpreter.
    """
    x, spikes = (f"*fp{16 if half else 32}" for half in (call.half_input, call.half_spikes))
    types = {"x": x, "v0": "*fp32", "steps": "i32", "limit": "i32", "spikes": spikes, "v_last": "*fp32"}
    # Whole vectors all the way, or single numbers: a mixture would exchange them between threads, in shared memory.
    aligned = set(types) - {"steps"} if call.aligned else set()
    entry, ptx = ptx_of("neurokit.kernels.lif.triton:lif_sequence_kernel", types, constants_of(call), aligned, WARPS)
    return DeviceCode(entry, ptx, threads=32 * WARPS, neurons=BLOCK)


def constants_of(call: NeuronCall) -> dict[str, Any]:
    """Returns the constants of `lif_sequence_kernel` for one neuron."""
    leak, factor = leak_arguments(call.leak if call.op == "lif" else None, call.op == "plif")
    return {
        "factor": call.leak if call.op == "plif" else factor,
        "threshold": call.v_threshold,
        "v_reset": call.v_reset or 0.0,
        "CHUNK": divisor(call.steps, 8) if call.steps else _FREE_CHUNK,
        "EVEN": call.steps is not None,
        "LEAK": leak,
        "DECAY_INPUT": call.decay_input,
        "HARD": reset_kind(call.v_reset),
        "BLOCK": BLOCK,
    }


NEURON_CODE.add("lif", lif_code)

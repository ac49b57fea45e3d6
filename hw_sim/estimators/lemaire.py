"""The estimate of Lemaire et al. 2022: memory, operations and addressing of an SNN accelerator at 45 nm."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from neurokit.hw_sim.estimators._base import LayerView, layers_of, option, register_estimator, report
from neurokit.hw_sim.graph.counts import Workload
from neurokit.reports.energy import EstimatorReport

# M. Horowitz, ISSCC 2014, 45 nm, int32, in joules.
E_ADD, E_MUL = 0.1e-12, 3.1e-12
BITS = 32

# SRAM sizes in bytes and joules of a 64-bit access (same source), for the piecewise form.
_SRAM = ((0, 0.0), (8 << 10, 10e-12), (32 << 10, 20e-12), (1 << 20, 100e-12))

SOURCE = "E. Lemaire et al., An Analytical Estimation of Spiking Neural Networks Energy Efficiency, arXiv:2210.13107"


def ram_regression(words: int) -> float:
    """Returns the energy of one access to a memory of `words` words, as the authors' own code fits it.

    `1.09e-5 pJ x words x bits + 13.2 pJ`, a line through Horowitz's three SRAM sizes (LEAT qualia-plugin-snn).
    """
    return (1.09e-5 * words * BITS + 13.2) * 1e-12


def ram_piecewise(words: int) -> float:
    """Returns the energy of one access by interpolation between Horowitz's SRAM sizes, per 64-bit access."""
    size = words * BITS / 8
    for (low, at_low), (high, at_high) in itertools.pairwise(_SRAM):
        if size <= high:
            return (at_low + (at_high - at_low) * (size - low) / (high - low)) * BITS / 64
    return _SRAM[-1][1] * BITS / 64 * size / _SRAM[-1][0]


@register_estimator("lemaire2022", "memory + operations + addressing at 45 nm (Lemaire et al. 2022)")
def lemaire2022(workload: Workload, argument: str = "") -> EstimatorReport:
    """Estimates `E = E_mem + E_ops + E_addr` by the paper's equations, in the form of the authors' code.

    Args:
        workload: What was run.
        argument: Memory model: "regression" (default, the authors') or "piecewise".
    """
    model = option("lemaire2022", argument, "regression", ("regression", "piecewise"))
    ram = ram_regression if model == "regression" else ram_piecewise
    parts = {"memory": 0.0, "operations": 0.0, "addressing": 0.0}
    for layer in layers_of(workload):
        found = spiking_layer(layer, workload.time_steps, ram) if layer.binary else dense_layer(layer, ram)
        factor = 1 if layer.binary else workload.time_steps
        parts = {name: joules + factor * found[name] for name, joules in parts.items()}
    return report(
        "lemaire2022" if not argument else f"lemaire2022:{model}",
        f"Lemaire et al. 2022, 45 nm int32, SRAM by {model}",
        parts,
        f"{SOURCE}; equation forms from the authors' qualia-plugin-snn",
        (
            "Eq. 2.4 as the authors' code corrects it (theta x N_out, with the reset term), not as printed",
            "addressing by the printed Eq. 16.3 and 17.2 (theta x C_out x K^2, theta x N_out); the code drops a factor",
            "events of a convolution by the paper's rule theta x ceil(K/S)^2 x C_out: too many at borders",
            "queues of size 0, so an input or output access costs the memory's smallest energy",
            "a layer whose input is not spikes is charged as a dense layer in every step; biases are taken as merged",
        ),
    )


def spiking_layer(layer: LayerView, steps: int, ram: Callable[[int], float]) -> dict[str, float]:
    """Returns the three parts of a spiking layer (Eq. 5, 7f/8f, 9-10, 13-15, 1.3-1.4/2.3-2.4, 16-17)."""
    reached = layer.out_features // layer.groups
    touched = layer.theta_in * reached * layer.kernel
    potentials = touched + layer.outputs * steps
    memory = (
        (layer.theta_in + layer.theta_out) * ram(0) + touched * ram(layer.weights) + 2 * potentials * ram(layer.outputs)
    )
    adds = layer.theta_in * layer.stride_taps * reached + layer.outputs * steps + layer.theta_out
    leaks = steps * layer.outputs if layer.leaky else 0
    operations = leaks * (E_MUL + E_ADD) + adds * E_ADD
    products = 2 * layer.theta_in if layer.kind == "conv" else 0
    addressing = products * (E_MUL + E_ADD) + touched * E_ADD
    return {"memory": memory, "operations": operations, "addressing": addressing}


def dense_layer(layer: LayerView, ram: Callable[[int], float]) -> dict[str, float]:
    """Returns the three parts of a layer without spikes, for one pass (Eq. 1.1-1.2, 3-4, 6, 11-12).

    Addressing is C_in H_in W_in + C_out H_out W_out + C_out K^2 additions for a convolution.
    """
    reads = layer.macs if layer.kind == "conv" else layer.inputs
    memory = reads * ram(layer.inputs) + layer.macs * ram(layer.weights) + layer.outputs * ram(layer.outputs)
    operations = layer.macs * (E_MUL + E_ADD) + layer.outputs * E_ADD
    index = layer.inputs + layer.outputs + layer.out_features * layer.kernel if layer.kind == "conv" else 0
    return {"memory": memory, "operations": operations, "addressing": index * E_ADD}

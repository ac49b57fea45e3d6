"""Measured devices: their own networks come out as measured, and what a file lacks is said."""

import dataclasses
import json

import numpy as np
import pytest

from neurokit.errors import InputError, UnknownNameError
from neurokit.hw_sim.devices import device_names, load_comparator, load_device
from neurokit.hw_sim.devices.file import DEVICE_FOLDER
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.hw_sim.pricing.verdict import comparators_of, compare
from neurokit.quantity import Quantity
from neurokit.reports import LatencyReport
from neurokit.reports.energy import ChipReport, ComparatorReport

# MLPerf Tiny v1.1 raw logs, microjoules an inference (median of five windows), read by hand.
MEASURED = {
    ("stm32u575", 264_192): 121.446,
    ("stm32u575", 12_501_632): 3383.822,
    ("stm32l4r5", 2_656_768): 2833.138,
    ("stm32h7a3", 7_489_664): 3699.351,
    ("ndp9120", 2_656_768): 31.537,
}


def conv(out: int, kernel: int, inputs: int, outputs: int) -> int:
    return out * out * kernel * kernel * inputs * outputs


def test_the_reference_models_macs_follow_from_their_layers():
    resnet = conv(32, 3, 3, 16) + 2 * conv(32, 3, 16, 16) + conv(16, 3, 16, 32) + conv(16, 3, 32, 32)
    resnet += conv(16, 1, 16, 32) + conv(8, 3, 32, 64) + conv(8, 3, 64, 64) + conv(8, 1, 32, 64) + 64 * 10
    autoencoder = 2 * 640 * 128 + 6 * 128 * 128 + 2 * 128 * 8
    ds_cnn = 25 * 5 * 64 * (10 * 4) + 4 * 25 * 5 * (64 * 9 + 64 * 64) + 64 * 12
    points = {point.macs for point in load_device("stm32u575").points}
    assert {resnet, autoencoder, ds_cnn} < points


@pytest.mark.parametrize(("name", "macs"), MEASURED)
def test_a_network_that_was_measured_comes_out_as_measured(name, macs):
    device = load_device(name)
    found = device.energy(macs)
    assert found.value == pytest.approx(MEASURED[name, macs] * 1e-6)
    assert found.low <= found.value <= found.high
    assert found.kind == "analytic"
    assert device.energy(macs / 1e4).kind == "assumed"  # far smaller than anything measured


SEARCHED = {"cortex-m55-ethos-u55", "phone-npu"}


def test_a_device_without_a_readable_figure_says_where_it_was_looked_for():
    assert {name for name in device_names() if not load_device(name).points} == SEARCHED
    for name in SEARCHED:
        assert "arXiv" in load_device(name).searched
        with pytest.raises(InputError, match="no measured energy could be read") as caught:
            load_comparator(name)
        assert "stm32u575" in caught.value.expected


def test_a_vendors_figures_are_bounds_and_never_a_measurement():
    """Of MobileNetV1: 1 pJ a multiply-add at the vendor's peak, its 2 W over the 2.51 ms that were measured."""
    macs = 112**2 * 27 * 32 + 1024 * 1000
    side = 112
    channels = [32, 64, 128, 128, 256, 256, 512, 512, 512, 512, 512, 512, 1024, 1024]
    strides = [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]
    for inputs, outputs, stride in zip(channels, channels[1:], strides, strict=False):
        side //= stride
        macs += side**2 * inputs * (9 + outputs)
    energy = load_device("coral-edgetpu").energy(macs)
    assert energy.kind == "assumed"
    assert energy.value == pytest.approx((macs * 1e-12 * 2.0 * 2.51e-3) ** 0.5, rel=0.01)
    assert energy.low <= macs * 1e-12 * 1.01
    assert energy.high >= 2.0 * 2.51e-3


def test_max78000_is_11_pj_a_multiply_add():
    """117 MAC a cycle over 1.4 ms at 50 MHz, 0.09 mJ: the paper's abstract and the clock of the vendor's code."""
    low, high = load_device("max78000").joules_per_mac()
    assert low < 0.09e-3 / (117 * 50e6 * 1.4e-3) < high
    assert (low, high) == pytest.approx((10e-12, 12e-12), rel=0.02)


@pytest.mark.parametrize("name", [name for name in device_names() if name not in SEARCHED])
def test_every_device_has_a_source_and_grows_with_the_network(name):
    device = load_device(name)
    assert len(device.source) > 20
    sizes = [10.0**power for power in range(3, 9)]
    values = [device.energy(size).value for size in sizes]
    assert values == sorted(values)


def chip(low: float, value: float, high: float, status: str = "priced") -> ChipReport:
    empty = {field.name: () for field in dataclasses.fields(ChipReport)}
    total = Quantity(value, low, high, "J", "simulated", "made up")
    named = {"chip": "c", "title": "Chip", "status": status, "fits": True, "total": total}
    return ChipReport(**{**empty, **named})


@pytest.mark.parametrize(
    ("ends", "status", "words"),
    [
        ((10e-6, 18e-6, 20e-6), "priced", "takes 18 µJ: 2.5 to 10 times as much"),
        ((10e-6, 18e-6, 20e-6), "lower-bound", "takes at least 10 µJ: at least 2.5 times as much"),
        ((1e-7, 2e-7, 4e-7), "priced", "5 to 40 times less"),
        ((1e-7, 2e-7, 4e-7), "lower-bound", "a lower bound does not tell which is less"),
        ((3e-6, 3e-6, 3e-6), "priced", "the intervals overlap (0.75 to 1.5 times as much)"),
    ],
)
def test_the_verdict_names_what_it_compares_with_and_by_how_much(ends, status, words):
    other = ComparatorReport("d", "STM32", Quantity(3e-6, 2e-6, 4e-6, "J", "analytic", "logs"), "int8", "")
    (line,) = compare([chip(*ends, status)], [other])
    assert line.startswith("on STM32 the int8 network would take 2 µJ to 4 µJ; on Chip this one takes ")
    assert words in line


def test_bad_devices_are_one_line(tmp_path):
    with pytest.raises(UnknownNameError, match="stm32u57"):
        load_device("stm32u57")
    with pytest.raises(InputError, match="cannot read"):
        load_device(tmp_path / "none.toml")
    text = (DEVICE_FOLDER / "ndp9120.toml").read_text()
    unsourced = tmp_path / "d.toml"
    unsourced.write_text("\n".join(line for line in text.splitlines() if not line.startswith("source")))
    with pytest.raises(InputError, match="source"):
        load_device(unsourced)
    damaged = tmp_path / "b.json"
    damaged.write_text(json.dumps({"kind": "latency"}))
    with pytest.raises(InputError):
        load_comparator(damaged)


def test_a_run_without_a_meter_is_refused(tmp_path):
    run = LatencyReport.judged("tiny", "onnx", "sequence", [0.1, 0.2, 0.15])
    path = tmp_path / "bench.json"
    path.write_text(json.dumps({"report": "bench", "reports": [run.to_json()]}))
    with pytest.raises(InputError, match="no measured energy"):
        load_comparator(path)
    measured = dataclasses.replace(run, energy=Quantity.exact(2e-6, "J", "measured", "meter"))
    path.write_text(json.dumps(measured.to_json()))
    (row,) = comparators_of([load_comparator(path)], _workload())
    assert row.total.value == 2e-6
    assert "your own measurement" in row.title


def _workload():
    populations = (Population("x", (4,), "input"), Population("n", (2,), model=NeuronModel("if")))
    network = Network("n", populations, (Projection.linear("fc", "x", "n", (4,), 2),))
    return Workload(network, {"x": SpikeRaster.pack(np.ones((2, 4))), "n": SpikeRaster.pack(np.zeros((2, 2)))})

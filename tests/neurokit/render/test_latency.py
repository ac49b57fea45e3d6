"""The benchmark's table in a narrow terminal."""

import io

from rich.console import Console

from neurokit.bench.run import BenchRun
from neurokit.quantity import Quantity
from neurokit.render.latency import bench
from neurokit.reports import LatencyReport


def shown(*reports, width=80):
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(bench(BenchRun(reports)))
    return out.getvalue()


def report(numerics="float", steps=4, model="tiny", **more):
    return LatencyReport.judged(
        model, "onnx", "single", [0.01] * 2000, numerics=numerics, time_steps=steps, elapsed_s=20.0, **more
    )


def test_rows_that_differ_in_numerics_or_t_can_be_told_apart():
    lines = shown(report(), report("exact 8 bits"), report("exact 4 bits"), report(steps=8), width=120).splitlines()
    names = [line.split("single")[0].strip() for line in lines if "single" in line]
    assert names == ["onnx T=4", "onnx exact 8 bits T=4", "onnx exact 4 bits T=4", "onnx T=8"]


def test_eighty_columns_hold_it_and_a_model_is_named_once():
    text = shown(report(), report("exact 8 bits"))
    assert max(map(len, text.splitlines())) <= 80
    assert text.count("tiny") == 1
    assert "energy" not in text.splitlines()[1]  # a column of nothing
    assert shown(report(), report(model="other")).count("tiny") == 1


def test_measured_energy_has_its_column_and_reasons_their_numbers():
    joules = Quantity.exact(2.0, "J", "measured", "a meter")
    text = shown(report(energy=joules), report(reasons=["competing load"]))
    assert "2 J" in text
    assert "(1) competing load" in text


def test_where_nothing_was_measured_there_is_the_reason_and_no_empty_table():
    failure = {
        "subject": "kernels of tiny",
        "variant": "",
        "scenario": "single",
        "reason": "no GPU",
        "fix": "buy",
    }
    out = io.StringIO()
    Console(file=out, width=80, highlight=False).print(bench(BenchRun((), (failure,))))
    assert out.getvalue() == "not measured: kernels of tiny single: no GPU (fix: buy)\n"

"""Reports survive JSON, refuse what is no report, and their statistics agree with scipy."""

import dataclasses
import getpass
import json
import math
import socket
import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurokit import provenance
from neurokit.errors import InputError
from neurokit.reports import LatencyReport, LayerParity, ParityReport

LAYER = LayerParity("layer1.0.sn1", "LIFNode", 4096, 2, 3e-7, 1e-6, 2e-7, (1, 77), 5, 0.2)


def parity(**changes):
    base = {
        "model": "tiny",
        "target": "onnx",
        "form": "sequence",
        "verdict": "benign rounding",
        "layers": (LAYER,),
        "output_error_free": 1e-7,
        "output_tolerance": 1e-5,
        "top1_agreement": 1.0,
        "spikes_compared": 4096,
        "spikes_flipped": 2,
        "notes": ("one",),
        "provenance": {"time": "now"},
    }
    return ParityReport(**{**base, **changes})


def through_json(report):
    return type(report).from_json(json.loads(json.dumps(report.to_json(), allow_nan=False)))


def test_parity_survives_json():
    report = parity()
    assert through_json(report) == report
    assert report.to_json()["passed"] is True
    assert report.to_json()["layers"][0]["first_divergence"] == [1, 77]


def test_numbers_that_are_not_finite_survive_json():
    report = parity(output_error_free=math.inf, layers=(dataclasses.replace(LAYER, worst_margin=math.nan),))
    back = through_json(report)
    assert back.output_error_free == math.inf
    assert math.isnan(back.layers[0].worst_margin)


@pytest.mark.parametrize(
    ("verdict", "passed"),
    [("exact", True), ("benign rounding", True), ("within tolerance", True), ("failed", False)],
)
def test_only_failed_does_not_pass(verdict, passed):
    assert parity(verdict=verdict).passed is passed


@pytest.mark.parametrize(
    ("flips", "margin", "explained"), [(0, 0.0, True), (3, 1e-6, True), (3, 1.1e-6, False), (3, math.nan, False)]
)
def test_a_flip_outside_its_bound_is_not_explained(flips, margin, explained):
    assert dataclasses.replace(LAYER, flips_forced=flips, worst_margin=margin).explained is explained


def test_first_divergence_is_the_earliest_in_time_then_in_depth():
    layers = [
        dataclasses.replace(LAYER, layer=name, first_divergence=first)
        for name, first in [("a", None), ("b", (2, 0)), ("c", (1, 9)), ("d", (1, 3))]
    ]
    assert parity(layers=tuple(layers)).first_divergence == (1, "c", 9)
    assert parity(layers=()).first_divergence is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"report": "latency"}, "'latency' report"),
        ({"schema_version": 7}, "schema 7"),
        ({"verdict": "great"}, "invalid at verdict"),
        ({"layers": [{"layer": "a"}]}, "invalid at layers.0"),
        ({"model": None}, "invalid at model"),
    ],
)
def test_what_is_no_such_report_is_refused(change, message):
    with pytest.raises(InputError, match=message):
        ParityReport.from_json({**parity().to_json(), **change})


def test_a_missing_field_is_refused():
    data = parity().to_json()
    del data["verdict"]
    with pytest.raises(InputError, match="verdict"):
        ParityReport.from_json(data)


def latency(samples, **more):
    return LatencyReport.judged("tiny", "onnx", "sequence", samples, **more)


def test_latency_survives_json():
    report = latency([0.1, 0.2, 0.15], batch=2, reasons=["busy machine"], environment={"threads": 1})
    assert through_json(report) == report
    assert report.to_json()["summary"]["p50"] == report.p50.to_json()
    assert report.to_json()["summary"]["p99"] is None


@pytest.mark.parametrize(
    ("samples", "verdict", "reason"),
    [
        ([0.1] * 101, "VALID", None),
        ([0.2] * 99, "INVALID", "99 samples"),
        ([0.05] * 150, "INVALID", "7.5 s of measurement"),
        ([0.1, 0.2] * 100, "INVALID", "coefficient of variation"),
    ],
)
def test_latency_verdict(samples, verdict, reason):
    report = latency(samples)
    assert report.verdict == verdict
    assert [entry.startswith(reason) for entry in report.reasons] == ([True] if reason else [])


def test_a_reason_from_outside_makes_a_run_invalid():
    assert latency([0.1] * 200, reasons=["clock drift"]).verdict == "INVALID"


@pytest.mark.parametrize("samples", [[], [math.nan], [-1.0], [math.inf], [1e-3, 1e308]])
def test_samples_that_are_no_times_are_refused(samples):
    with pytest.raises(InputError):
        latency(samples)


@pytest.mark.parametrize("percent", [50, 90])
@pytest.mark.parametrize("count", [100, 333, 1000])
def test_percentiles_agree_with_scipy(percent, count):
    from scipy.stats import quantile_test

    samples = np.random.default_rng(count).lognormal(-3, 0.2, count).tolist()
    found = latency(samples).percentile(percent)
    assert found.value == np.quantile(samples, percent / 100, method="inverted_cdf")
    interval = quantile_test(samples, q=found.value, p=percent / 100).confidence_interval(0.95)  # exact binomial
    ranks = np.searchsorted(np.sort(samples), [found.low, interval.low, found.high, interval.high])
    assert abs(ranks[0] - ranks[1]) <= 2
    assert abs(ranks[2] - ranks[3]) <= 2


def test_p99_needs_a_thousand_samples():
    assert latency([0.1] * 999).p99 is None
    samples = [i / 1000 for i in range(1, 1001)]
    assert latency(samples).p99.value == 0.99


@given(st.lists(st.floats(1e-9, 1e3), min_size=1, max_size=50))
def test_statistics_keep_their_order(samples):
    report = latency(samples)
    assert min(samples) <= report.p50.value <= report.p90.value <= max(samples)
    assert report.p50.unit == "s"
    assert report.p50.kind == "measured"
    assert report.mean.value == pytest.approx(np.mean(samples))


def test_provenance_says_enough_and_not_too_much():
    found = provenance.collect()
    text = json.dumps(found)
    assert found["versions"]["torch"].startswith("2.")
    assert found["machine"]["cpus"] >= 1
    assert found["machine"]["cpu"] not in ("", "unknown")
    assert str(Path.home()) + "/" not in text
    assert str(Path(__file__).parents[3]) not in text
    assert socket.gethostname() not in text
    if getpass.getuser() != "root":
        assert getpass.getuser() not in text


def test_provenance_names_the_commit():
    root = Path(__file__).parents[3]
    head = subprocess.run(["git", "-C", str(root), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert provenance.git_commit().startswith(head.stdout.strip() if head.returncode == 0 else "")

"""The page: what it says, and what a real browser makes of it."""

import base64
import json
import math
import re
from collections import Counter

import numpy as np
import pytest

from neurokit import cli
from neurokit.bench.run import BenchRun
from neurokit.errors import InputError
from neurokit.page import pareto, plots
from neurokit.page.build import render
from neurokit.page.chips import sections as chip_sections
from neurokit.page.chips import with_energy
from neurokit.page.metrics import Metric
from neurokit.page.row import Row
from neurokit.page.rows import Content, _latency_row, _unmetered, gather
from neurokit.quantity import Quantity
from neurokit.reports import LatencyReport
from neurokit.tasks.intervals import wilson

from .reports import energy


def test_it_says_what_is_to_be_said(page):
    text = page.read_text()
    assert "allow-mismatch" in text
    assert re.search(r"<strong>Not verified", text)
    for word in (
        "measured",
        "simulated",
        "assumed",
        "RAPL package-0",
        "Test CPU",
        "480 of 500 of digits.npz",
        "at least",
        "refused: no price",
        "does not fit",
        "0.5 \u00d7",
        "no GPU &lt;here&gt;",
        "lower bound",
    ):
        assert word in text, word


def test_it_needs_nothing_else(page):
    text = page.read_text()
    assert not re.search(r"(src|href)=[\"'](?!#|data:)", text)
    assert "@import" not in text
    assert "url(" not in text


def test_wilson_agrees_with_scipy():
    from scipy.stats import binomtest

    for correct, total in ((480, 500), (0, 7), (7, 7), (1, 2)):
        found = wilson(correct, total, "d")
        expected = binomtest(correct, total).proportion_ci(method="wilson")
        assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_the_front_is_what_nothing_beats():
    """Oracle: every pair of points, one by one."""
    rng = np.random.default_rng(0)
    rows = [
        Row(
            "m",
            str(i),
            figures={"p50": Quantity.exact(a, "s", "measured", ""), "accuracy": Quantity.exact(b, "", "measured", "")},
        )
        for i, (a, b) in enumerate(zip(rng.uniform(1, 9, 30), rng.uniform(0, 1, 30), strict=True))
    ]
    points = [(row.figures["p50"].value, row.figures["accuracy"].value) for row in rows]
    best = [p for p in points if not any(q[0] <= p[0] and q[1] >= p[1] and q != p for q in points)]
    drawn = pareto.pareto(rows, "p50", "accuracy", {"p50": ("latency", "s"), "accuracy": ("accuracy", "%")})
    path = re.search(r'<path d="([^"]*)" class="front"', drawn).group(1)
    assert path.count("V") == len(best) - 1
    assert drawn.count('class="mark"') == 30


def test_only_whole_inferences_are_in_the_plots():
    """A time step of a stream is no inference: it would beat every one of them."""
    single, stream = (
        LatencyReport.judged(
            "tiny",
            "onnx-step",
            scenario,
            [seconds] * 200,
            time_steps=4,
            elapsed_s=12.0,
            accuracy={"correct": 9, "total": 10, "data": "d"},
        )
        for scenario, seconds in (("single", 4e-3), ("stream", 1e-3))
    )
    content = Content([_latency_row(single), _latency_row(stream)])
    text = render(content)
    assert "stream, each step" in text
    drawn = re.search(r'<svg[^>]*aria-label="accuracy against latency.*?</svg>', text, re.S).group(0)
    assert drawn.count('class="mark"') == 1


def test_a_network_has_one_line_over_time_and_one_look():
    figures = {"p50": Quantity.exact(1.0, "s", "measured", ""), "accuracy": Quantity.exact(0.9, "", "measured", "")}
    rows = [Row("m", target, time_steps=steps, figures=figures) for target in ("a", "b") for steps in (8, 2, 4)]
    drawn = pareto.pareto(rows, "p50", "accuracy", {"p50": ("latency", "s"), "accuracy": ("accuracy", "%")})
    assert drawn.count("<polyline") == 2
    assert len(pareto.looks(rows)) == 2
    assert [int(number) for number in re.findall(r'class="number">(\d+)<', drawn)] == [8, 2, 4, 8, 2, 4]


def test_chips_stand_beside_the_network_without_spikes_at_every_t():
    """Oracle: the ratios by hand."""
    first, second = (json.loads(json.dumps(energy().to_json())) for _ in range(2))
    second["time_steps"] = 8
    second["chips"][0]["total"] |= {"value": 4e-5, "high": 5e-5}
    (section,) = chip_sections([second, first])
    assert section["precisions"] == ["int8", "fp32"]
    found = [(row["title"], row["steps"], row["ratios"][0]) for row in section["rows"]]
    assert found == [
        ("Alpha", 4, "0.5 \u00d7"),
        ("Alpha", 8, "2 \u00d7"),
        ("Beta", 4, "at least 0.15 \u00d7"),
        ("Beta", 8, "at least 0.15 \u00d7"),
        ("Gamma", 4, "-"),
        ("Gamma", 8, "-"),
    ]
    assert len(section["baselines"]) == 2  # the same at both T, so said once


def test_a_network_without_spikes_has_the_energy_of_its_rule_beside_its_latency():
    """Oracle: the report's own figures, by the precision of each row."""
    plain = json.loads(json.dumps(energy().to_json())) | {"neurons": 0, "chips": []}
    rows = [Row("tiny", "onnx", numerics=numerics) for numerics in ("float", "int8", "exact")]
    found = [with_energy(row, [plain]).figures.get("energy") for row in (*rows, Row("other", "onnx"))]
    assert [quantity and (quantity.value, quantity.kind) for quantity in found] == [
        (9e-5, "analytic"),
        (2e-5, "analytic"),
        None,
        None,
    ]
    known = Quantity.exact(1.0, "J", "measured", "meter")
    assert with_energy(Row("tiny", "onnx", figures={"energy": known}), [plain]).figures["energy"] is known
    assert "energy" not in with_energy(rows[0], [energy().to_json()]).figures  # it spikes: that is another network
    rule = plain["estimators"][0] | {"name": "synops", "title": "spikes by rule"}
    spiking = plain | {"network": "spiking", "estimators": [*plain["estimators"], rule]}
    text = render(Content(rows=rows, energies=[plain, spiking]))
    assert "Chips: tiny" not in text
    assert "Chips: spiking" in text  # no chip was asked for, and the rules stay
    assert "<td>spiking</td>" not in text
    assert re.search(r"<td>tiny</td><td class=\"figure\">20 µJ</td><td class=\"figure\">90 µJ</td>", text)


def test_what_all_rows_share_is_said_once():
    reports = [
        LatencyReport.judged(
            "tiny", target, "single", [0.1] * 200, variant="1 thread", energy_note="absent: no", output_error=error
        )
        for target, error in (("a", 0.18), ("b", 1e-6))
    ]
    text = render(Content([_latency_row(report) for report in reports], unmetered=Counter(_unmetered(reports))))
    assert text.count("1 thread<") == 0
    assert "Everything was measured with: 1 thread." in text
    assert text.count("absent: no") == 1
    assert "energy of 2 measured rows absent: no" in text
    assert text.count("its output differs by 18%") == 1  # and not of the other


@pytest.mark.parametrize("values", [(1e-3, 2e-3), (1e-6, 1.0), (1e-3, 1.05e-3), (1e-3,)])
@pytest.mark.parametrize("log", [True, False])
def test_axes_hold_their_values_and_have_ticks(values, log):
    axis = plots.axis(values, 0, 100, log=log)
    places = [axis.at(value) for value in values]
    assert all(0 < place < 100 for place in places)
    assert places == sorted(places)
    assert 1 <= len(axis.ticks()) <= 8
    assert all(0 <= axis.at(tick) <= 100 or math.isclose(axis.at(tick), 0) for tick in axis.ticks())


def test_accuracies_come_from_a_file_too(tmp_path):
    bare = LatencyReport.judged("tiny", "onnx", "single", [0.1] * 200, time_steps=4)
    BenchRun((bare,)).save(tmp_path / "r.json")
    entry = {"model": "tiny", "time_steps": 4, "correct": 9, "total": 10, "data": "d"}
    (tmp_path / "a.json").write_text(json.dumps({"report": "accuracy", "entries": [entry]}))
    (row,) = gather([tmp_path / "r.json", tmp_path / "a.json"]).rows
    assert row.figures["accuracy"].value == 0.9
    entry["time_steps"] = 2
    (tmp_path / "a.json").write_text(json.dumps({"report": "accuracy", "entries": [entry]}))
    (row,) = gather([tmp_path / "r.json", tmp_path / "a.json"]).rows
    assert "accuracy" not in row.figures
    (tmp_path / "a.json").write_text(json.dumps({"report": "accuracy", "entries": [{**entry, "correct": 11}]}))
    with pytest.raises(InputError, match="11 correct of 10"):
        gather([tmp_path / "r.json", tmp_path / "a.json"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"report": "bench"}',
        '{"chips": [{}], "network": "n"}',
        '{"report": "bench", "schema_version": 99, "reports": []}',
    ],
)
def test_files_that_are_no_reports(tmp_path, text, capsys):
    (tmp_path / "x.json").write_text(text)
    page = tmp_path / "page.html"
    assert cli.main(["report", str(tmp_path / "x.json"), "--html", str(page)]) == 2
    assert "expected:" in capsys.readouterr().err
    assert not page.exists()


def test_an_artifact_alone_has_a_row(tmp_path, capsys):
    assert cli.main(["report", str(tmp_path / "nothing"), "--html", str(tmp_path / "p.html")]) == 2
    assert "does not exist" in capsys.readouterr().err


def test_metrics_of_several_tasks_share_one_column_and_empty_columns_are_left_out():
    def row(name, metric, value, steps=None):
        figures = {
            metric: Quantity.exact(value, "", "measured", "here"),
            "size": Quantity.exact(9.0, "B", "measured", ""),
        }
        return Row(name, "onnx", time_steps=steps, figures=figures, metric=Metric(metric))

    def headings(*rows):
        return re.findall(r'<th scope="col"><button type="button">([^<]*)<', render(Content(rows=list(rows))))

    first, second = row("a", "dice", 0.975), row("b", "eer", 0.02)
    assert headings(first, second) == ["#", "model", "target", "numerics", "metric", "size"]
    assert headings(first, row("b", "dice", 0.5, 4)) == ["#", "model", "target", "numerics", "T", "dice", "size"]
    text = render(Content(rows=[first, second]))
    assert re.findall(r'data-label="metric" data-value="([^"]*)"[^>]*><span>([^<]*)', text) == [
        ("0.975", "dice 97.5%"),
        ("0.02", "eer 2.0%"),
    ]
    csv = base64.b64decode(re.search(r'href="data:text/csv;charset=utf-8;base64,([^"]*)"', text).group(1)).decode()
    assert "dice (value),dice (low),dice (high),eer (value)" in csv  # there each has columns of its own

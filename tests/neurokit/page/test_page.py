"""The page: what it says, and what a real browser makes of it."""

import importlib.util
import json
import math
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from neurokit import cli
from neurokit.bench.history import append
from neurokit.bench.run import BenchRun
from neurokit.errors import InputError
from neurokit.page import pareto, plots
from neurokit.page.build import build, render
from neurokit.page.chips import sections as chip_sections
from neurokit.page.row import Row
from neurokit.page.rows import Content, _latency_row, _unmetered, gather
from neurokit.quantity import Quantity
from neurokit.reports import LatencyReport
from neurokit.reports import energy as chips
from neurokit.tasks.intervals import wilson

CASES = (  # target, numerics, parity, median in seconds, right answers of 500, T
    ("onnx", "float", "benign rounding", 1.0e-3, 480, 4),
    ("onnx", "exact", "exact", 1.3e-3, 481, 4),
    ("onnx-step", "float", "benign rounding", 2.0e-3, 479, 4),
    ("onnx-int8", "int8", "failed", 0.5e-3, 440, 4),
    ("onnx", "float", "exact", 0.6e-3, 455, 2),
    ("torch-eager", "float", "", 12e-3, 480, 4),
)
MACHINE = {
    "machine": {"cpu": "Test CPU", "governor": "performance"},
    "versions": {"onnxruntime": "1.2.3"},
    "time": "2030-01-01T00:00:00+00:00",
    "during": {"competing_cpus": 0.01},
}


def latency(number, target, numerics, parity, median, correct, steps):
    times = (median * np.random.default_rng(number).lognormal(0, 0.05, 3000)).tolist()
    joules = Quantity.exact(10 * median, "J", "measured", "RAPL package-0") if number != 5 else None
    return LatencyReport.judged(
        "tiny",
        target,
        "single",
        times,
        environment=MACHINE,
        numerics=numerics,
        time_steps=steps,
        elapsed_s=12.0,
        variant="1 thread",
        bytes_on_disk=150_000,
        memory={"cpu_added": 3.2e7},
        load_s=0.1,
        first_s=0.01,
        parity=parity,
        parity_overridden=parity == "failed",
        energy=joules,
        energy_note="" if joules else "absent: no",
        accuracy={"correct": correct, "total": 500, "data": "digits.npz"},
    )


def chip(name, total, status="priced", fits=True):
    timing = chips.LatencyReport((1e-3,), Quantity(4e-3, 3e-3, 5e-3, "s", "simulated", "x"), 1e-3, 1e-3, ("clock",), ())
    return chips.ChipReport(
        chip=name,
        title=name.title(),
        status=status,
        fits=fits,
        violations=(),
        strategy="annealed",
        chips=1,
        cores=4,
        core_energy=(),
        total=total,
        components={},
        layers={},
        steps=(),
        core_map=(),
        links=(),
        latency=timing if fits else None,
        counts={},
        unpriced=("leak",) if status != "priced" else (),
        assumptions=(),
        warnings=(),
        sources=("synapse 23.6 pJ: table 2",),
    )


def energy():
    """A report as hw_sim writes it."""
    found = [
        chip("alpha", Quantity(1e-5, 8e-6, 1.5e-5, "J", "simulated", "engine")),
        chip("beta", Quantity(3e-6, 2e-6, 5e-6, "J", "simulated", "engine"), "lower-bound", False),
        chip("gamma", None, "refused"),
    ]
    ann = [
        chips.EstimatorReport(f"ann-{p}", f"{p} ANN", Quantity(j, j, j, "J", "analytic", "paper"), {}, "paper")
        for p, j in (("int8", 2e-5), ("fp32", 9e-5))
    ]
    return chips.EnergyReport(
        "tiny",
        "digits",
        1,
        4,
        10,
        20,
        30,
        {},
        (),
        tuple(found),
        tuple(ann),
        None,
        ("alpha: 0.5 x ann-int8",),
        {},
        ("borders clipped",),
        (),
        "neurokit",
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    folder = tmp_path_factory.mktemp("page")
    failure = {"subject": "tensorrt", "variant": "", "scenario": "single", "reason": "no GPU <here>", "fix": ""}
    run = BenchRun(tuple(latency(i, *case) for i, case in enumerate(CASES)), (failure,))
    run.save(folder / "run.json")
    energy().save_json(folder / "energy.json")
    for _ in range(3):
        append(folder / "h.jsonl", run)
    build([folder / "run.json", folder / "energy.json", folder / "h.jsonl"], folder / "page.html")
    return folder / "page.html"


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


@pytest.fixture(scope="module")
def browser(chromium, page, tmp_path_factory):
    """A real browser with the page in it."""
    spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(1400, 900)
        opened.open(page.as_uri())
        yield opened


COLUMN = """[...document.querySelectorAll('#figures tbody')].map(
    body => body.rows[0].cells[%d].getAttribute('data-value'))"""


def test_no_error_and_no_request(browser, page):
    assert browser.errors == []
    assert browser.requests == [page.as_uri()]


def test_the_plots_are_drawn(browser):
    """Every mark has an area and lies inside its picture."""
    found = browser.evaluate("""[...document.querySelectorAll('svg.plot')].map(svg => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('.mark')].map(mark => {
            const r = mark.getBoundingClientRect();
            return r.width > 0 && r.height > 0 && r.left >= frame.left && r.right <= frame.right
                && r.top >= frame.top && r.bottom <= frame.bottom;
        });
    })""")
    assert len(found) == 3 + 1 + len(CASES)  # three pairs of figures, the distributions, a history each
    assert all(marks and all(marks) for marks in found)
    assert len(found[0]) == len(CASES) + 2  # two of the chips have a latency
    assert browser.evaluate("document.querySelectorAll('.legend li').length") == 8  # 5 series and 3 chips


def test_words_stay_in_their_pictures(browser):
    outside = browser.evaluate("""[...document.querySelectorAll('svg.plot')].flatMap(svg => {
        const frame = svg.getBoundingClientRect();
        return [...svg.querySelectorAll('text')].filter(words => {
            const r = words.getBoundingClientRect();
            return r.left < frame.left - 1 || r.right > frame.right + 1 || r.bottom > frame.bottom + 1;
        }).map(words => words.textContent);
    })""")
    assert outside == []


def test_a_row_leads_to_its_sources(browser):
    """They are folded until somebody wants them, with the keyboard too."""
    closed = "document.getElementById('source-2').checkVisibility()"
    assert browser.evaluate(closed) is False
    browser.evaluate("document.querySelector('a[href=\"#source-2\"]').focus()")
    browser.press("Enter", 13)
    assert browser.evaluate(closed) is True
    browser.evaluate("document.querySelectorAll('details').forEach(part => part.open = false)")


def test_the_table_sorts_by_mouse_and_keys(browser):
    heads = browser.evaluate("[...document.querySelectorAll('#figures th')].map(head => head.innerText.trim())")
    column = heads.index("p50")
    browser.evaluate(f"document.querySelectorAll('#figures th button')[{column}].click()")
    values = [float(value) if value else math.inf for value in browser.evaluate(COLUMN % column)]
    assert values == sorted(values)
    assert values[0] == pytest.approx(0.5e-3, rel=0.01)
    browser.evaluate(f"document.querySelectorAll('#figures th button')[{column}].focus()")
    browser.press("Enter", 13)
    values = [float(value) for value in browser.evaluate(COLUMN % column) if value]
    assert values == sorted(values, reverse=True)
    assert browser.evaluate(f"document.querySelectorAll('#figures th')[{column}].ariaSort") == "descending"
    model = heads.index("target")
    browser.evaluate(f"document.querySelectorAll('#figures th button')[{model}].click()")
    names = browser.evaluate(COLUMN % model)
    assert names == sorted(names, key=str.lower)


def test_it_fits_a_phone_and_sorts_there(browser):
    browser.resize(390, 844, phone=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 390
    scale = browser.evaluate("(s => s.getBoundingClientRect().width / 380)(document.querySelector('svg.plot'))")
    assert scale * 11 >= 9.5  # pixels of the smallest words
    browser.evaluate("""(s => { s.value = [...s.options].find(o => o.text === 'p50').value;
        s.dispatchEvent(new Event('change')); })(document.getElementById('sorter'))""")
    heads = browser.evaluate("[...document.querySelectorAll('#sorter option')].map(o => o.text)")
    values = [float(value) if value else math.inf for value in browser.evaluate(COLUMN % heads.index("p50"))]
    assert values == sorted(values)
    browser.resize(1400, 900)


def test_it_prints(browser):
    data = browser.pdf()
    assert data.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", data)) >= 2
    assert browser.errors == []

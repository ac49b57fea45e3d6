"""The page of a deployment in a real browser: the answer on the first screen, at two widths, dark and on paper."""

import csv
import importlib.util
import io
from pathlib import Path
from urllib.request import urlopen

import pytest

from neurokit.page.deploy import save_html
from neurokit.quantity import Quantity
from neurokit.reports.deploy import HERE, DeployReport, DeployRow, Metric


def quantities(accuracy, p50, size=None, energy=None, kind="measured"):
    ends = {
        "accuracy": (accuracy, "", 0.98, 1.01),
        "p50": (p50, "s", 0.9, 1.1),
        "size": (size, "B", 1, 1),
        "energy": (energy, "J", 0.5, 2),
    }
    return {
        name: Quantity(value, value * low, value * high, unit, kind, "test")
        for name, (value, unit, low, high) in ends.items()
        if value is not None
    }


INT8, FLOAT, HOME = quantities(0.924, 4e-3, 12e3), quantities(0.926, 12e-3, 48e3), quantities(0.926, 1e-3, 48e3)
STEP = quantities(0.926, 2e-3, 48e3)
ROWS = (
    DeployRow("onnx-int8", "onnx-int8", "int8", "pi", "ok", figures=INT8, parity="within tolerance"),
    DeployRow("onnx", "onnx", "float", "pi", "ok", figures=FLOAT, parity="exact"),
    DeployRow("onnx", "onnx", "float", HERE, "ok", figures=HOME, parity="exact"),
    DeployRow(
        "onnx-step", "onnx-step", "float", HERE, "invalid", "0.2 s of measurement <here>", quantities(0.926, 2e-3, 48e3)
    ),
    DeployRow("nir", "nir", "float", HERE, "failed", "NIR has no ReLU"),
    DeployRow(
        *("spiking", "loihi1", "", "Intel Loihi", "lower-bound", "no price for graded events"),
        figures=quantities(0.92, 9e-3, energy=2e-4, kind="simulated"),
        simulated=True,
        time_steps=32,
    ),
    DeployRow(
        *("spiking", "tiny", "", "Tiny chip", "invalid", "it does not fit: 9 cores of 1"),
        figures={"energy": Quantity.exact(1e-6, "J", "simulated", "test")},
        simulated=True,
    ),
)
ANSWER = (
    "onnx-int8: 92.4 %, 4 ms on pi, 12 kB",
    "onnx is 0.2 points better and 3 times slower",
    "as a spiking network on Intel Loihi it would take at least 200 µJ",
)


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    report = DeployReport(
        *("net & co", "60 samples in 60 files", 60, Metric("accuracy"), Quantity.exact(0.926, "", "measured", "torch")),
        *(ROWS, 0, ANSWER),
        budget="p99<10ms",
        notes=("how it was chosen",),
    )
    place = tmp_path_factory.mktemp("page") / "page.html"
    save_html(report, place)
    spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(1280, 900)
        opened.open(place.as_uri())
        yield opened


def test_nothing_fails_and_nothing_is_fetched(browser):
    assert browser.errors == []
    assert all(url.startswith(("file:", "data:")) for url in browser.requests)


@pytest.mark.parametrize("width", [1280, 390])
def test_the_first_screen_answers(browser, width):
    browser.resize(width, 844, width < 700)
    lines = browser.evaluate("[...document.querySelectorAll('#answer p')].map(line => line.textContent)")
    assert lines == [*ANSWER, "Budget: p99<10ms."]
    assert browser.evaluate("document.getElementById('answer').getBoundingClientRect().bottom") < 844
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    small = """[...document.querySelectorAll('svg.plot text')].filter(words => words.textContent)
        .map(words => words.getBoundingClientRect().height).filter(height => height < 9)"""
    assert browser.evaluate(small) == []  # what a phone cannot show is no label
    marks = """[...document.querySelectorAll('svg.plot')].map(svg => svg.querySelectorAll('.mark').length)"""
    counts = browser.evaluate(marks)
    assert counts[0] == 5  # devices and the chip on one axis; the chip that it does not fit has no mark
    browser.resize(1280, 900)


def test_rows_that_do_not_count_are_folded_with_their_reason(browser):
    shown = browser.evaluate("[...document.querySelectorAll('#figures tbody tr')].map(row => row.cells[0].textContent)")
    assert len(shown) == 4
    assert browser.evaluate("document.querySelector('#folded ul').checkVisibility()") is False
    browser.evaluate("document.querySelector('#folded').open = true")
    folded = browser.evaluate("document.querySelector('#folded').innerText")
    assert "0.2 s of measurement <here>" in folded
    assert "NIR has no ReLU" in folded
    assert "it does not fit: 9 cores of 1" in folded
    assert "3 rows do not count" in folded


def test_filters_and_sorting(browser):
    visible = """[...document.querySelectorAll('#figures tbody tr')].filter(row => row.checkVisibility())
        .map(row => row.cells[1].textContent)"""
    choose = """(name, value) => { const select = [...document.querySelectorAll('.filters label')]
        .find(label => label.innerText.startsWith(name)).querySelector('select');
        select.value = value; select.dispatchEvent(new Event('change')); }"""
    browser.evaluate(f"({choose})('device', 'pi')")
    assert browser.evaluate(visible) == ["pi", "pi"]
    browser.evaluate(f"({choose})('device', '')")
    assert len(browser.evaluate(visible)) == 4
    heads = browser.evaluate("[...document.querySelectorAll('#figures th')].map(head => head.innerText.trim())")
    browser.evaluate(f"document.querySelectorAll('#figures th button')[{heads.index('p50')}].click()")
    assert browser.evaluate(visible) == [HERE, "pi", "Intel Loihi", "pi"]


def test_what_can_be_taken_away(browser):
    links = dict(
        browser.evaluate("[...document.querySelectorAll('a[download]')].map(link => [link.download, link.href])")
    )
    with urlopen(links["net-co.csv"]) as file:
        table = list(csv.DictReader(io.StringIO(file.read().decode())))
    assert len(table) == len(ROWS)
    assert float(table[0]["p50 (value)"]) == 4e-3
    assert table[4]["reason"] == "NIR has no ReLU"
    with urlopen(links["net-co.tex"]) as file:
        latex = file.read().decode()
    assert latex.count(r"\\") == 1 + 6
    assert "92.4\\%" in latex
    drawing = next(link for name, link in links.items() if name.endswith(".svg"))
    with urlopen(drawing) as file:
        assert file.read().startswith(b'<svg xmlns="http://www.w3.org/2000/svg"')
    browser.evaluate("document.querySelector('a.png').click()")
    for _ in range(50):
        taken = browser.evaluate("document.documentElement.getAttribute('data-taken')")
        if taken:
            break
    assert taken.startswith("net-co-accuracy-p50.png 1140x")


def test_dark_and_paper(browser):
    background = "getComputedStyle(document.body).backgroundColor"
    light = browser.evaluate(background)
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.evaluate(background) != light
    ink = browser.evaluate("getComputedStyle(document.querySelector('svg.plot text')).fill")
    assert ink == browser.evaluate("getComputedStyle(document.body).color")  # words of a plot are seen in the dark
    browser.call("Emulation.setEmulatedMedia", features=[])
    assert browser.pdf().count(b"/Type /Page\n") <= 4

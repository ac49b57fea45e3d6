"""The page in a real browser: drawn, sorted, on a phone and on paper."""

import importlib.util
import math
import re
from pathlib import Path

import pytest

from neurokit.page.build import render
from neurokit.page.metrics import Metric
from neurokit.page.row import Row
from neurokit.page.rows import Content
from neurokit.quantity import Quantity

from .reports import CASES


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


def test_a_table_of_several_tasks_fits_a_laptop(browser, page, tmp_path):
    """With metrics of three tasks, T and p99; a smaller screen has one card a row."""
    q = [Quantity(v, 0.9 * v, 1.1 * v, unit, "measured", "") for v, unit in ((0.123456, "s"), (2e6, "B"), (0.9123, ""))]
    figures = {**dict.fromkeys(("p50", "p99"), q[0]), **dict.fromkeys(("memory", "size"), q[1])}
    figures |= {"throughput": Quantity.exact(1234.5, "1/s", "measured", "")}
    figures |= {"energy": Quantity.exact(1.23e-4, "J", "analytic", "")}
    rows = [
        Row(
            f"{name}_small",
            "onnx",
            "",
            "float",
            4,
            "single",
            "within tolerance",
            {**figures, m: q[2]},
            metric=Metric(m),
        )
        for name, m in (("ecapa_tdnn_stream", "eer"), ("dsa_decoder", "dice"), ("oat", "sequence_score"))
    ]
    (tmp_path / "tasks.html").write_text(render(Content(rows=rows)))
    browser.open((tmp_path / "tasks.html").as_uri())
    for width in (1280, 1100):
        browser.resize(width, 900)
        hidden = "[...document.querySelectorAll('.scroll')].map(part => part.scrollWidth - part.clientWidth)"
        assert set(browser.evaluate(hidden)) == {0}, width
    browser.resize(1400, 900)
    browser.open(page.as_uri())


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

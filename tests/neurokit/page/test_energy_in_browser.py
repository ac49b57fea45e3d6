"""The energy page in a real browser: whole on a phone, readable in the dark and on paper."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from neurokit.hw_sim import simulate_workload
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.page.energy import save_html


@pytest.fixture(scope="module")
def browser(chromium, tmp_path_factory):
    """A browser with the page of one network on four chips, with and without prices and latencies."""
    rule = Projection.conv(
        "layer1.0.downsample.conv", "input", "layer1.0.downsample.neuron", (2, 9, 9), 8, (3, 3), 1, 1
    )
    hidden = Population(rule.target, rule.target_shape, model=NeuronModel("if"))
    network = Network("a_network_of_a_long_name", (Population("input", (2, 9, 9), "input"), hidden), (rule,))
    rng = np.random.default_rng(0)
    rasters = {p.name: SpikeRaster.pack(rng.random((12, p.size)) < 0.2) for p in network.populations}
    report = simulate_workload(Workload(network, rasters), ["loihi1", "speck2f", "truenorth", "akida"])
    page = tmp_path_factory.mktemp("page") / "energy.html"
    save_html(report, page)
    spec = importlib.util.spec_from_file_location("browser", Path(__file__).with_name("browser.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    with module.Browser(chromium, tmp_path_factory.mktemp("profile")) as opened:
        opened.resize(390, 844, phone=True)
        opened.open(page.as_uri())
        yield opened


BEYOND = """[...document.querySelectorAll('body *')].filter(part => {
    const box = part.getBoundingClientRect();
    return box.width > 0 && box.right > document.documentElement.clientWidth + 1;
}).map(part => part.tagName + ' ' + part.textContent.slice(0, 30))"""


@pytest.mark.parametrize("width", [360, 390])
def test_nothing_is_cut_off_on_a_phone(browser, width):
    """No part of a table or a chart lies beyond the screen, not even in a part that scrolls."""
    browser.resize(width, 844, phone=True)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(BEYOND) == []


def test_words_and_paper_differ_in_the_dark(browser):
    luminance = """(name => {
        const found = getComputedStyle(document.body)[name].match(/[0-9]+/g).slice(0, 3);
        return found.map(Number).reduce((sum, part, i) => sum + part * [0.2126, 0.7152, 0.0722][i], 0);
    })"""
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    assert browser.evaluate(f"{luminance}('color')") - browser.evaluate(f"{luminance}('backgroundColor')") > 150
    browser.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": "light"}])
    assert browser.evaluate(f"{luminance}('backgroundColor')") - browser.evaluate(f"{luminance}('color')") > 150


def report_of(layers, chips):
    """Returns the report of a chain of convolutions on some chips."""
    source, shape = "input", (2, 9, 9)
    populations, rules = [Population(source, shape, "input")], []
    for number in range(layers):
        name = f"stages.{number // 10}.blocks.{number}"
        rules.append(Projection.conv(f"{name}.conv", source, f"{name}.neuron", shape, 8, (3, 3), 1, 1))
        source, shape = rules[-1].target, rules[-1].target_shape
        populations.append(Population(source, shape, model=NeuronModel("if")))
    network = Network("a_network_of_many_layers", tuple(populations), tuple(rules))
    rng = np.random.default_rng(0)
    rasters = {p.name: SpikeRaster.pack(rng.random((4, p.size)) < 0.2) for p in network.populations}
    return simulate_workload(Workload(network, rasters), chips)


@pytest.mark.parametrize("layers", [1, 40])
def test_it_prints_on_four_sheets(layers, browser, tmp_path):
    """Also a network of many layers on four chips, three of which it does not fit."""
    shown = browser.evaluate("location.href")
    save_html(report_of(layers, ["loihi1", "speck2f", "truenorth", "akida"]), tmp_path / "page.html")
    browser.open((tmp_path / "page.html").as_uri())
    assert 1 <= browser.pdf().count(b"/Type /Page\n") <= 4
    browser.open(shown)


def test_nothing_is_cut_off_on_paper(browser):
    assert 1 <= browser.pdf().count(b"/Type /Page\n") <= 4
    browser.call("Emulation.setEmulatedMedia", media="print")
    browser.resize(794, 1123)  # A4 at 96 dots an inch
    assert browser.evaluate(BEYOND) == []
    browser.call("Emulation.setEmulatedMedia", media="screen")


def test_drawings_and_tables_can_be_taken_away(browser):
    """Every drawing as SVG and PNG, and the tables as CSV whose numbers are those of the report."""
    import base64
    import csv
    import io

    links = browser.evaluate("[...document.querySelectorAll('a[download]')].map(a => [a.download, a.href])")
    files = {name: base64.b64decode(link.partition("base64,")[2]).decode() for name, link in links}
    names = [name for name, _ in links]
    assert len(set(names)) == len(names)
    drawings = browser.evaluate("document.querySelectorAll('figure').length")
    assert drawings == browser.evaluate("document.querySelectorAll('figure a.png').length") > 3
    assert all(text.startswith("<svg") and "xmlns" in text for name, text in files.items() if name.endswith(".svg"))
    layers = list(csv.DictReader(io.StringIO(files["a-network-of-a-long-name-layers.csv"])))
    events = sum(int(row["synaptic operations (ACs)"]) for row in layers)
    assert events == browser.evaluate(
        "Number([...document.querySelectorAll('tr')].find(r => r.cells[0].textContent === 'synaptic events')"
        ".cells[1].textContent.replace(/,/g, ''))"
    )
    assert files["a-network-of-a-long-name-chips.tex"].startswith("\\begin{tabular}")
    browser.evaluate("document.querySelector('figure a.png').click()")
    assert ".png 1140x" in browser.wait_for("document.documentElement.dataset.taken", 10)


def test_nothing_goes_wrong(browser):
    assert browser.errors == []

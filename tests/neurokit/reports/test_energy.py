"""The report: JSON there and back, the table, the page (looked at in a browser), several samples, bad input."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import re
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from neurokit.errors import InputError, OutputError, UnknownNameError
from neurokit.hw_sim import DEFAULT_ESTIMATORS, simulate_workload, simulate_workloads
from neurokit.hw_sim.chips.file import load_chip
from neurokit.hw_sim.graph.counts import Workload
from neurokit.hw_sim.graph.network import Network, NeuronModel, Population, Uncounted
from neurokit.hw_sim.graph.projection import Projection
from neurokit.hw_sim.graph.raster import SpikeRaster
from neurokit.page.energy import render_html, save_html
from neurokit.render.energy import energy as rendered
from neurokit.reports.energy import EnergyReport
from neurokit.spec import ModelSpec, TensorSpec

CHIPS = ("loihi1", "truenorth", "dynapcnn", "speck2f", "cmos45")


def network() -> Network:
    conv = Projection.conv("conv<1>", "in", "a&b", (2, 12, 12), 8, (3, 3), 2, 1)
    fc = Projection.linear("fc", "a&b", "out", (288,), 10)
    populations = (
        Population("in", (2, 12, 12), "input"),
        Population("a&b", (8, 6, 6), model=NeuronModel("lif", tau=2.0)),
        Population("out", (10,), model=NeuronModel("if")),
    )
    return Network("toy <net>", populations, (conv, fc), outputs=("out",))


def workload(net: Network, seed: int = 0, steps: int = 6) -> Workload:
    rng = np.random.default_rng(seed)
    rasters = {p.name: SpikeRaster.pack(rng.random((steps, p.size)) < 0.2) for p in net.populations}
    return Workload(net, rasters, f"random {seed}")


def render_text(report: EnergyReport) -> str:
    console = Console(file=io.StringIO(), width=160, record=True)
    console.print(rendered(report))
    return console.export_text()


@pytest.fixture(scope="module")
def report() -> EnergyReport:
    return simulate_workload(workload(network()), CHIPS)


def test_json_there_and_back(report, tmp_path):
    assert EnergyReport.from_json(json.dumps(report.to_json())) == report
    assert EnergyReport.from_json(report.save_json(tmp_path / "r.json").read_bytes()) == report
    assert EnergyReport.from_json(report.to_json()) == report


def test_damaged_json_names_the_field(report):
    data = report.to_json()
    data["chips"][0]["total"]["value"] = "much"
    with pytest.raises(InputError, match=r"chips\.0\.total\.value"):
        EnergyReport.from_json(data)


def test_every_figure_carries_kind_and_source(report):
    for chip in report.chips:
        if chip.total is None:
            continue
        assert chip.total.kind in ("measured", "simulated", "analytic", "assumed")
        assert all(part.source for part in chip.components.values())
        assert len(chip.sources) >= len(chip.components) - 1
    assert {e.name for e in report.estimators} == set(DEFAULT_ESTIMATORS)


class Checker(HTMLParser):
    """Collects what a page would fetch, and whether its tags close."""

    VOID = ("meta", "br", "link", "img")

    def __init__(self) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.fetched: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.fetched += [value for name, value in attrs if name in ("src", "href") and not value.startswith("#")]
        if tag not in self.VOID and not self.get_starttag_text().endswith("/>"):
            self.stack.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag):
        assert self.stack.pop() == tag


def test_page_is_self_contained_and_escaped(report):
    page = render_html(report)
    checker = Checker()
    checker.feed(page)
    assert checker.stack == []
    assert [source for source in checker.fetched if not source.startswith("data:")] == []
    assert page.count("<script") <= 1  # its own, which draws a figure as PNG; it is in the page
    assert not re.search(r"url\(|@import", page)
    assert "toy &lt;net&gt;" in page
    assert "<net>" not in page
    assert len(page) < 1_000_000
    for heading in (
        "Firing rate over layers and time",
        "Core map with load",
        "Link heat map",
        "Time of each step",
        "Energy by layer and component",
        "Used and not priced",
        "Assumptions",
        "Sources of",
        "Against the same network without spikes",
        "Does not fit, because",
    ):
        assert heading in page, heading
    assert "spikes a synapse" in page


def test_nothing_that_costs_is_left_out_of_the_drawing(report):
    page = render_html(report)
    loihi = report.chip("loihi1")
    assert loihi.components["static"].value > 0
    assert "static: of no layer" in page
    assert "inferences a second" in page
    drawn = sum(sum(parts.values()) for parts in loihi.layers.values())
    drawn += sum(loihi.components[name].value for name in ("static", "host") if name in loihi.components)
    assert drawn == pytest.approx(loihi.total.value)
    assert any(chip.latency is None for chip in report.chips)
    assert "not published" in page


def test_a_row_of_an_image_does_not_outshine_the_neurons():
    from neurokit.page.charts import heat_map

    image, neurons = [1.0, 1.0], [0.02, 0.04]
    shades = [
        re.findall(r'fill="(#[0-9a-f]{6})"', heat_map([image, neurons], "ab", "step", "{:.0%}", top))
        for top in (None, 0.04)
    ]
    assert shades[0][3] != shades[0][0]
    assert shades[1][3] == shades[1][0] == "#103a6e"
    assert shades[1][2] != shades[1][3]


def test_page_in_a_browser(chromium, report, tmp_path):
    path = save_html(report, tmp_path / "energy.html")
    for width in (1000, 500):  # headless chromium lays out no narrower
        picture = tmp_path / f"{width}.png"
        common = [
            chromium,
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-background-networking",
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--window-size={width},1200",
        ]
        environment = {**os.environ, "HOME": str(tmp_path)}
        done = subprocess.run(
            [*common, f"--screenshot={picture}", path.as_uri()],
            capture_output=True,
            text=True,
            timeout=120,
            env=environment,
        )
        assert done.returncode == 0, done.stderr
        assert picture.stat().st_size > 20_000  # a blank page of this size packs to a few kilobytes
    dumped = subprocess.run(
        [*common, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120, env=environment
    )
    assert dumped.stdout.count("<svg") == path.read_text().count("<svg") >= 15
    assert "Intel Loihi" in dumped.stdout


def test_spread_over_samples():
    net = network()
    samples = [workload(net, seed) for seed in range(4)]
    several = simulate_workloads(samples, ["loihi1"])
    singles = [simulate_workload(sample, ["loihi1"]).chip("loihi1").total.value for sample in samples]
    spread = several.spread["loihi1"]
    assert several.samples == spread.samples == 4
    assert spread.mean == pytest.approx(np.mean(singles))
    assert spread.deviation == pytest.approx(np.std(singles, ddof=1))
    assert (spread.smallest, spread.largest) == (min(singles), max(singles))
    assert "Over 4 samples" in render_html(several)


def test_what_is_in_no_count_makes_every_total_a_lower_bound():
    net = dataclasses.replace(network(), uncounted=(Uncounted("odd", "tanh: no connection that can be counted"),))
    result = simulate_workload(workload(net), CHIPS)
    assert {chip.status for chip in result.chips if chip.total is not None} == {"lower-bound"}
    assert all(rule.at_least and rule.headline().startswith("at least ") for rule in result.estimators)
    assert result.verdict is None
    assert result.comparison == ("no comparison: part of the network is in no count, so every total is a lower bound",)
    text, page = render_text(result), render_html(result)
    assert text.count("at least") >= len(result.estimators) + sum(chip.total is not None for chip in result.chips)
    assert "no spiking neurons" not in page
    assert "every total is a lower bound" in page
    assert result.to_json()["estimators"][0]["at_least"] is True


def test_a_network_without_neurons_still_gets_its_dense_estimate():
    conv = Projection.conv("conv", "x", "y", (3, 8, 8), 4, (3, 3), 1, 1)
    populations = (
        Population("x", (3, 8, 8), "input", binary=False),
        Population("y", (4, 8, 8), "current", binary=False),
    )
    net = Network("plain", populations, (conv,))
    rasters = {"x": SpikeRaster.pack(np.ones((1, 192)))}
    result = simulate_workload(Workload(net, rasters), ["loihi1"], estimators=["ann-int8"])
    assert result.verdict is None
    assert result.estimators[0].total.value > 0
    assert any("no neurons" in note for note in result.assumptions)
    assert "no spiking neurons" in render_html(result)


def test_bad_input_is_told_before_any_work(tmp_path):
    work = workload(network())
    with pytest.raises(UnknownNameError, match="did you mean"):
        simulate_workload(work, ["loihi1", "loihi3"])
    with pytest.raises(UnknownNameError, match="estimator"):
        simulate_workload(work, ["loihi1"], estimators=["magic"])
    with pytest.raises(InputError, match="strategy"):
        simulate_workload(work, ["loihi1"], mapping="magic")
    with pytest.raises(InputError, match="no sample"):
        simulate_workloads([], ["loihi1"])
    with pytest.raises(InputError, match="different networks"):
        simulate_workloads([work, workload(network())], ["loihi1"])
    with pytest.raises(InputError, match="no chip"):
        simulate_workload(work, ["loihi1"]).chip("odin")


def test_nothing_half_written(report, tmp_path):
    with pytest.raises(OutputError):
        save_html(report, tmp_path / "none" / "x.html")
    with pytest.raises(OutputError):
        report.save_json(tmp_path / "none" / "x.json")
    assert list(tmp_path.iterdir()) == []


def cli():
    typer = pytest.importorskip("typer")
    from neurokit.cli.chips import chips
    from neurokit.cli.energy import energy

    app = typer.Typer()
    app.command("chips")(chips)
    app.command("energy")(energy)
    return app


def test_chips_command():
    listed = CliRunner().invoke(cli(), ["chips"], env={"COLUMNS": "120"})
    assert listed.exit_code == 0
    assert "loihi1-sanafe" in listed.output
    assert "refused" in listed.output
    card = CliRunner().invoke(cli(), ["chips", "odin", "--json"])
    assert json.loads(card.output)["prices"]["synaptic_event"]["value"] == 8.43e-12
    shown = CliRunner().invoke(cli(), ["chips", "odin"], env={"COLUMNS": "120"})
    assert "8.43 pJ" in shown.output
    assert "Frenkel" in shown.output
    assert isinstance(CliRunner().invoke(cli(), ["chips", "nosuch"]).exception, UnknownNameError)


def test_energy_command_hands_over_and_renders(report, tmp_path, monkeypatch):
    import neurokit.loading
    import neurokit.pipeline

    seen = {}

    def fake(captured, inputs, chips, *, estimators, mapping, step_seconds, pace, **more):
        seen.update(
            captured=captured,
            pace=pace or step_seconds,
            chips=[c.name for c in chips],
            estimators=tuple(estimators),
            mapping=mapping,
        )
        seen["price"] = chips[1].prices["synaptic_event"].value
        return report

    spec = ModelSpec("m", lambda: None, (TensorSpec("x", (1,)),), time_steps=6)
    monkeypatch.setattr(neurokit.loading, "load", lambda *a, **k: spec)
    monkeypatch.setattr(neurokit.pipeline, "capture", lambda spec, time_steps: ("captured", time_steps))
    monkeypatch.setattr(neurokit.pipeline, "simulate", fake)
    files = {kind: tmp_path / f"r.{kind}" for kind in ("json", "html")}
    arguments = [
        "energy",
        "m",
        "--chip",
        "loihi1",
        "--chip",
        "dynapcnn",
        "--price",
        "dynapcnn:synaptic_event=2e-11",
        "--step-seconds",
        "0.01",
        "--out",
        str(files["json"]),
        "--html",
        str(files["html"]),
    ]
    result = CliRunner().invoke(cli(), arguments, env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    assert seen["captured"] == ("captured", 6)
    assert seen["chips"] == ["loihi1", "dynapcnn"]
    assert seen["price"] == 2e-11
    assert seen["pace"] == 0.01
    assert "refused: no price" in result.output
    assert "not priced" in result.output
    assert EnergyReport.from_json(files["json"].read_text()) == report
    assert files["html"].read_text().startswith("<!doctype html>")
    plain = CliRunner().invoke(cli(), ["energy", "m", "--chip", "loihi1", "--chip", "odin", "--json"])
    assert EnergyReport.from_json(plain.stdout[plain.stdout.index("{") :]) == report


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--chip", "loihi9"], "unknown chip"),
        (["--chip", "loihi1", "--estimator", "magic"], "unknown estimator"),
        (["--chip", "loihi1", "--mapping", "magic"], "--mapping"),
        (["--chip", "loihi1", "--pace", "magic"], "--pace"),
        (["--chip", "loihi1", "--weight-bits", "half"], "weight bits"),
        (["--chip", "truenorth", "--voltage", "0.5"], "0.7 to 1.05 V"),
        (["--chip", "truenorth", "--voltage", "loihi1=0.8"], "--voltage"),
        (["--chip", "speck2f", "--voltage", "1.2"], "no range of supply voltages"),
        (["--chip", "loihi1", "--price", "loihi1=1"], "--price"),
        (["--chip", "loihi1", "--price", "odin:synaptic_event=1"], "--price"),
        (["--chip", "loihi1", "--price", "loihi1:synaptic_event=x"], "--price"),
        (["--chip", "loihi1", "--input", "/nowhere.npy"], "no data at /nowhere.npy"),
        (["--chip", "loihi1", "--html", "/nowhere/x.html"], "no folder"),
        (["--chip", "loihi1", "--compare", "stm32u5"], "unknown device"),
    ],
)
def test_energy_command_refuses_before_loading(arguments, message):
    result = CliRunner().invoke(cli(), ["energy", "a_model_that_is_never_loaded", *arguments])
    assert message in str(result.exception)


def test_a_price_list_of_ones_own_changes_the_report():
    work = workload(network())
    cheap = load_chip("dynapcnn").with_prices({"synaptic_event": 1e-12})
    dear = dataclasses.replace(cheap.with_prices({"synaptic_event": 2e-12}), name="dear")
    result = simulate_workload(work, [cheap, dear], estimators=[])
    assert result.chip("dear").total.value == pytest.approx(2 * result.chip("dynapcnn").total.value)
